"""Vectors of bits under Hamming distance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llmspell import IdBitmap, Index, IndexParams, errors
from llmspell.config import ElementType, Metric
from tests.index.vectors import clustered, scores_of

GRAPH = IndexParams(m=8, ef_construction=80, graph_threshold=0)


def _signs(n: int, dim: int, seed: int) -> NDArray[np.bool_]:
    """Return (n, dim) bits that lie near each other as embeddings do: the signs of `clustered`."""
    rotation = np.random.default_rng(7).normal(size=(32, dim))
    return clustered(n, 32, seed) @ rotation > 0


def _index(params: IndexParams | None = None, dim: int = 64) -> Index:
    return Index(dim=dim, metric="hamming", dtype="binary", params=params)


@pytest.mark.parametrize("dim", [1, 5, 8, 13, 64, 384, 1_000])
def test_small_index_answers_exactly(dim: int) -> None:
    bits, queries = _signs(300, dim, 1), _signs(5, dim, 2)
    index = _index(dim=dim)
    index.add(np.arange(300), bits)
    ids, scores = index.search(queries, 10)
    exact = -(queries[:, None, :] ^ bits[None, :, :]).sum(axis=2)
    np.testing.assert_array_equal(scores, -np.sort(-exact, axis=1)[:, :10])
    np.testing.assert_array_equal(np.take_along_axis(exact, ids, axis=1), scores)


def test_graph_finds_nearly_all_of_the_nearest() -> None:
    packed, queries = (
        np.packbits(_signs(4_000, 256, 1), axis=1),
        np.packbits(_signs(100, 256, 2), 1),
    )
    index = _index(IndexParams(m=12), 256)
    index.add(np.arange(4_000), packed)
    assert index.stats().graph_nodes == 4_000
    exact = scores_of("hamming", queries, packed)
    found = index.search(queries, 10)
    np.testing.assert_array_equal(np.take_along_axis(exact, found.ids, axis=1), found.scores)
    # Of as many at the same distance as there may be, any ten are right.
    tenth = -np.sort(-exact, axis=1)[:, 9:10]
    assert (found.scores >= tenth).mean() > 0.99


@pytest.mark.parametrize("dim", [13, 64])
def test_bool_and_packed_bits_are_the_same_vectors(dim: int) -> None:
    bits = _signs(50, dim, 1)
    packed = np.packbits(bits, axis=1)
    of_bool, of_packed = _index(dim=dim), _index(dim=dim)
    of_bool.add(np.arange(50), bits)
    of_packed.add(np.arange(50), packed)
    for index in (of_bool, of_packed):
        held = index.get([4, 4, 49])
        assert held.dtype == np.uint8
        np.testing.assert_array_equal(held, packed[[4, 4, 49]])
        np.testing.assert_array_equal(np.unpackbits(held, axis=1, count=dim), bits[[4, 4, 49]])
    for query in (bits[7], packed[7], bits[:3], packed[:3], bits[7].tolist(), packed[::2]):
        a, b = of_bool.search(query, 5), of_packed.search(query, 5)
        np.testing.assert_array_equal(a.ids, b.ids)
    assert _index().get([]).shape == (0, 8)


def test_distances_are_numbers_of_bits() -> None:
    index = _index(dim=4)
    index.add([1, 2, 3], np.array([[0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]], bool))
    found = index.search(np.array([1, 0, 0, 0], bool), 3)
    assert found.ids.tolist() == [2, 1, 3]
    assert found.scores.tolist() == [0.0, -1.0, -3.0]
    assert found.distances.tolist() == [0.0, 1.0, 3.0]
    assert index.search(np.array([1, 0, 0, 0], bool), 3, threshold=-1).ids.tolist() == [2, 1]


def test_bits_of_the_largest_dimension_are_all_counted() -> None:
    index = _index(dim=16_384)
    index.add([1, 2], np.array([np.zeros(16_384), np.ones(16_384)], bool))
    assert index.search(np.ones(16_384, bool), 2).distances.tolist() == [0.0, 16_384.0]


@pytest.mark.parametrize("params", [None, GRAPH], ids=["flat", "graph"])
def test_filters_let_only_allowed_ids_through(params: IndexParams | None) -> None:
    bits = _signs(1_500, 64, 1)
    index = _index(params)
    index.add(np.arange(1_500), bits)
    allowed = np.random.default_rng(0).random(1_500) < 0.4
    exact = -(bits[3] ^ bits).sum(axis=1)
    best = -np.sort(-exact[allowed])[:10]
    bitmap = IdBitmap(np.packbits(allowed, bitorder="little"))
    for filter in (allowed, np.flatnonzero(allowed), bitmap):
        found = index.search(bits[3], 10, filter=filter)
        assert allowed[found.ids].all()
        np.testing.assert_array_equal(found.scores, best)


def test_every_vector_finds_itself_after_churn() -> None:
    random = np.random.default_rng(0)
    index = _index(GRAPH, 128)
    bits = _signs(2_000, 128, 1)
    live = np.zeros(2_000, bool)
    for round_ in range(8):
        some = random.choice(2_000, 600, replace=False)
        if round_ % 2 == 0:
            bits[some] = _signs(600, 128, 100 + round_)
            index.upsert(some, bits[some], threads=1)  # the same graph each time
        else:
            index.delete(some)
        live[some] = round_ % 2 == 0
        ids = np.flatnonzero(live)
        assert len(index) == len(ids)
        found = index.search(bits[ids], 1)
        assert live[found.ids].all()
        assert (found.scores == 0).all()
    np.testing.assert_array_equal(index.get(ids), np.packbits(bits[ids], axis=1))


def test_search_by_id_is_a_search_with_the_bits_that_are_held() -> None:
    index = _index(GRAPH)
    index.add(np.arange(500), _signs(500, 64, 1))
    ids = np.arange(0, 500, 25)
    wanted = index.search(index.get(ids), 6)
    found = index.search_by_id(ids, 6, include_self=True)
    np.testing.assert_array_equal(found.scores, wanted.scores)
    assert not (index.search_by_id(ids, 6).ids == ids[:, None]).any()


@pytest.mark.parametrize("threshold", [0, 10_000], ids=["graph", "flat"])
def test_loaded_index_answers_as_the_saved_one(tmp_path: Path, threshold: int) -> None:
    index = _index(IndexParams(m=5, ef_construction=40, graph_threshold=threshold), 44)
    bits = _signs(300, 44, 1)
    index.add(np.arange(300), bits)
    index.delete(np.arange(0, 300, 3))
    index.save(tmp_path / "index")
    loaded = Index.load(tmp_path / "index")
    assert (loaded.dim, loaded.metric, loaded.dtype) == (44, "hamming", "binary")
    before, after = index.search(bits[:20], 10), loaded.search(bits[:20], 10)
    np.testing.assert_array_equal(after.ids, before.ids)
    np.testing.assert_array_equal(after.scores, before.scores)
    loaded.upsert([1_000], bits[:1])
    assert loaded.search(bits[0], 1).scores.tolist() == [0.0]


@pytest.mark.parametrize(
    ("metric", "dtype"),
    [("l2", "binary"), ("cosine", "binary"), ("l1", "binary"), ("hamming", "float32"),
     ("hamming", "int8")],
)  # fmt: skip
def test_binary_and_hamming_go_together_only(metric: Metric, dtype: ElementType) -> None:
    with pytest.raises(errors.ConfigError, match=f"got dtype '{dtype}' and metric '{metric}'"):
        Index(dim=8, metric=metric, dtype=dtype)


def test_codes_are_refused_for_bits() -> None:
    with pytest.raises(errors.ConfigError, match="'pq' is for metric"):
        _index(IndexParams(quantization="pq"))


@pytest.mark.parametrize(
    "vectors",
    [np.zeros((2, 64), np.float32), np.zeros((2, 8), np.int8), np.zeros((2, 64), np.int64),
     [[0, 1] * 32], np.zeros((2, 8), np.uint16)],
)  # fmt: skip
def test_what_is_no_bits_is_refused(vectors: Any) -> None:
    index = _index()
    with pytest.raises(errors.DtypeError, match=r"expected (bits|binary vectors)"):
        index.add([1, 2], vectors)
    with pytest.raises(errors.DtypeError, match=r"expected (bits|binary vectors)"):
        index.search(vectors)


@pytest.mark.parametrize(
    ("vectors", "actual"),
    [(np.zeros((1, 63), bool), 63), (np.zeros((1, 7), np.uint8), 56),
     (np.zeros(64, np.uint8), 512)],
)  # fmt: skip
def test_wrong_number_of_bits_names_expected_and_actual(vectors: Any, actual: int) -> None:
    with pytest.raises(errors.DimensionMismatch, match="dimension 64,") as caught:
        _index().add([1], vectors)
    assert (caught.value.expected, caught.value.actual) == (64, actual)


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8])
def test_wrong_number_of_axes_is_named(dtype: Any) -> None:
    for vectors in (np.zeros((1, 1, 8), dtype), np.zeros((), dtype)):
        with pytest.raises(errors.ShapeError, match=f"got {vectors.ndim} axes"):
            _index(dim=8).add([1], vectors)


def test_bits_beyond_the_dimension_are_refused() -> None:
    index = _index(dim=12)
    index.add([1], np.array([[0xFF, 0xF0]], np.uint8))
    with pytest.raises(errors.InputError, match="vector 1 sets bits beyond its 12"):
        index.add([2, 3], np.array([[0, 0], [0, 0x08]], np.uint8))
    with pytest.raises(errors.InputError, match="vector 0 sets bits"):
        index.search(np.array([0, 1], np.uint8))
    assert len(index) == 1


def test_float_index_refuses_packed_bits() -> None:
    with pytest.raises(errors.DtypeError, match="expected float vectors, got an array of uint8"):
        Index(dim=8).add([1], np.zeros((1, 1), np.uint8))
