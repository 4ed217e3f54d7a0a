"""What is done with a file of another library, whichever it is."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from llmspell import Index, IndexParams, errors
from llmspell.config import ElementType, Metric
from llmspell.index.migrate import ForeignFile, convert, read
from tests.index.migrate.writers import (
    contents,
    faiss,
    faiss_file,
    hnswlib_file,
    usearch_file,
)
from tests.index.vectors import ALL_METRICS, clustered, recall, scores_of

IDS = np.arange(300) * 7 + 3
VECTORS = clustered(300, 12, 1)


def _npy(folder: Path, vectors: NDArray[np.floating], metric: Metric = "l2") -> ForeignFile:
    np.save(folder / "x.npy", vectors)
    return read(folder / "x.npy", metric=metric)


def _every_format(folder: Path) -> dict[str, Path]:
    flat = faiss.IndexFlatL2(12)
    index = faiss.IndexIDMap2(flat)
    index.add_with_ids(VECTORS, IDS)
    np.save(folder / "x.npy", VECTORS)
    np.save(folder / "ids.npy", IDS)
    return {
        "hnswlib": hnswlib_file(folder / "h", IDS, VECTORS),
        "faiss": faiss_file(folder / "f", index),
        "usearch": usearch_file(folder / "u", IDS, VECTORS),
        "npy": folder / "x.npy",
    }


def test_format_is_found_out(tmp_path: Path) -> None:
    for name, path in _every_format(tmp_path).items():
        given = 12 if name == "hnswlib" else None
        assert read(path, dim=given, metric="l2").description.format == name


def test_index_of_every_format_answers_as_one_of_the_vectors(tmp_path: Path) -> None:
    expected = Index(dim=12, metric="l2")
    expected.add(IDS, VECTORS)
    queries = clustered(20, 12, 2)
    ids, scores = expected.search(queries, 5)
    for name, path in _every_format(tmp_path).items():
        of_ids = tmp_path / "ids.npy" if name == "npy" else None
        index = convert(path, dim=12, metric="l2", ids=of_ids)
        assert (index.dim, index.metric, index.dtype, len(index)) == (12, "l2", "float32", 300)
        found = index.search(queries, 5)
        np.testing.assert_array_equal(found.ids, ids)
        np.testing.assert_allclose(found.scores, scores, atol=1e-6)
        np.testing.assert_array_equal(index.get(IDS), VECTORS)


def test_file_of_another_kind_is_named(tmp_path: Path) -> None:
    for content in (b"", b"x", b"\0" * 500, b"not an index, but a long text\n" * 20):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(errors.UnsupportedFormat, match="hnswlib, FAISS, USearch or NumPy"):
            read(tmp_path / "file", dim=4, metric="l2")
    Index(dim=4).save(tmp_path / "file")
    with pytest.raises(errors.UnsupportedFormat, match=r"Index\.load opens it"):
        read(tmp_path / "file")


def test_what_is_no_file_is_a_storage_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "none", tmp_path, tmp_path / "pipe", "a\0b"):
        with pytest.raises(errors.StorageError):
            read(path)


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    paths = _every_format(tmp_path)
    with pytest.raises(errors.InputError, match="format must be"):
        read(paths["npy"], format="annoy", metric="l2")  # type: ignore[arg-type]
    with pytest.raises(errors.InputError, match="metric must be"):
        read(paths["npy"], metric="hamming")
    with pytest.raises(errors.InputError, match="metric must be"):
        read(paths["npy"], metric="canberra")  # type: ignore[arg-type]
    with pytest.raises(errors.InputError, match="dim must be"):
        read(paths["npy"], metric="l2", dim=0)
    with pytest.raises(errors.InputError, match="ids of its own"):
        read(paths["faiss"], ids=tmp_path / "ids.npy")
    with pytest.raises(errors.InputError, match="rows must be"):
        read(paths["faiss"]).batches(0)


def test_file_can_be_iterated_again_and_in_any_steps(tmp_path: Path) -> None:
    source = _npy(tmp_path, VECTORS)
    whole = contents(source)
    for rows in (1, 7, 300, 1_000):
        assert contents(source, rows).keys() == whole.keys()
    assert sum(len(ids) for ids, _ in source) == len(source) == 300
    assert "npy" in repr(source)


@pytest.mark.parametrize("name", ["hnswlib", "faiss", "usearch", "npy"])
def test_file_cut_short_while_it_is_read_is_corrupt(tmp_path: Path, name: str) -> None:
    path = _every_format(tmp_path)[name]
    batches = read(path, dim=12, metric="l2").batches(10)
    next(batches)
    os.truncate(path, 1_000)
    with pytest.raises(errors.CorruptFile, match="cut short"):
        list(batches)


def test_memory_is_bounded_by_the_batch(tmp_path: Path) -> None:
    vectors = np.ones((40_000, 64), np.float32)
    index = faiss.IndexFlatL2(64)
    index.add(vectors)
    source = read(faiss_file(tmp_path / "file", index))
    tracemalloc.start()
    try:
        for _ in source.batches(500):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < vectors.nbytes // 10


@pytest.mark.parametrize(
    ("dtype", "held"),
    [
        ("f64", "float32"),
        ("f32", "float32"),
        ("f16", "float16"),
        ("bf16", "bfloat16"),
        ("i8", "int8"),
    ],
)
def test_index_holds_vectors_as_the_file_does(
    tmp_path: Path, dtype: str, held: ElementType
) -> None:
    vectors = np.round(127 * VECTORS).astype(np.int8) if dtype == "i8" else VECTORS
    path = usearch_file(tmp_path / "file", IDS, vectors, dtype=dtype)
    assert convert(path).dtype == held
    assert convert(path, dtype="float32").dtype == "float32"


def test_parameters_are_those_given(tmp_path: Path) -> None:
    params = IndexParams(m=5, ef_construction=40, graph_threshold=0)
    source = _npy(tmp_path, VECTORS)
    index = source.rebuild(params=params, threads=1)
    assert index.params.m == 5
    assert index.stats().graph_nodes == 300
    with pytest.raises(errors.ConfigError):
        source.rebuild(dtype="float8")  # type: ignore[arg-type]


def test_progress_counts_the_vectors_that_are_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmspell.index.migrate.source.BATCH_BYTES", 4 * 12 * 100)
    seen: list[int] = []
    _npy(tmp_path, VECTORS).rebuild(progress=seen.append)
    assert seen == [100, 200, 300]


def test_vectors_that_can_not_be_compared_are_named(tmp_path: Path) -> None:
    broken = VECTORS.copy()
    broken[7, 3] = np.nan
    with pytest.raises(errors.NonFiniteVector, match=r"x\.npy"):
        _npy(tmp_path, broken).rebuild()
    broken[7] = 0
    with pytest.raises(errors.ZeroVector, match=r"x\.npy"):
        _npy(tmp_path, broken, "cosine").rebuild()
    with pytest.raises(errors.NonFiniteVector):
        _npy(tmp_path, VECTORS.astype(np.float64) * 1e300).rebuild()


@pytest.mark.parametrize("metric", ALL_METRICS)
def test_recall_is_the_share_of_the_nearest_others(tmp_path: Path, metric: Metric) -> None:
    vectors = clustered(1_500, 12, 3) * np.linspace(1, 3, 1_500, dtype=np.float32)[:, None]
    source = _npy(tmp_path, vectors, metric)
    params = IndexParams(m=4, ef_construction=10, ef_search=10, graph_threshold=0)
    index = source.rebuild(params=params, threads=1)
    found = index.search(vectors, 11).ids
    scores = scores_of(metric, vectors, vectors)
    np.fill_diagonal(scores, -np.inf)
    others = np.stack([[i for i in row if i != own][:10] for own, row in enumerate(found.tolist())])
    expected = recall(others, scores, 10)
    assert 0.3 < expected < 0.99
    assert source.recall(index, queries=1_500) == pytest.approx(expected, abs=1e-4)
    sampled = source.recall(index, queries=200)
    assert sampled is not None and abs(sampled - expected) < 0.1


def test_recall_of_an_exact_index_is_one(tmp_path: Path) -> None:
    source = _npy(tmp_path, VECTORS)
    assert source.recall(source.rebuild()) == 1.0
    assert source.recall(source.rebuild(), k=1_000) == 1.0


def test_equal_vectors_do_not_lower_recall(tmp_path: Path) -> None:
    source = _npy(tmp_path, np.repeat(VECTORS[:10], 30, axis=0))
    assert source.recall(source.rebuild()) == 1.0


def test_recall_of_an_index_of_other_vectors_is_low(tmp_path: Path) -> None:
    source = _npy(tmp_path, VECTORS)
    wrong = Index(dim=12, metric="l2")
    wrong.add(np.arange(300), VECTORS[::-1])
    low = source.recall(wrong)
    assert low is not None and low < 0.5
    half = Index(dim=12, metric="l2")
    half.add(np.arange(0, 300, 2), VECTORS[::2])
    low = source.recall(half)
    assert low is not None and low < 0.9


@pytest.mark.parametrize("n", [0, 1])
def test_recall_of_fewer_than_two_vectors_is_none(tmp_path: Path, n: int) -> None:
    source = _npy(tmp_path, VECTORS[:n])
    assert source.recall(source.rebuild()) is None


def test_recall_refuses_an_index_of_another_metric_or_dimension(tmp_path: Path) -> None:
    source = _npy(tmp_path, VECTORS)
    with pytest.raises(errors.InputError, match="metric is l2, the index's ip"):
        source.recall(Index(dim=12, metric="ip"))
    with pytest.raises(errors.DimensionMismatch):
        source.recall(Index(dim=13, metric="l2"))
    with pytest.raises(errors.InputError, match="k must be"):
        source.recall(source.rebuild(), k=0)
