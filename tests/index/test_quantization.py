"""An index that walks by codes: the same answers, near enough, under every kind of change."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from llmspell import Index, IndexParams, errors
from llmspell.config import ElementType, Metric
from tests.index.vectors import METRICS, TYPES, clustered, recall, scores_of

PLAIN = IndexParams(m=8, ef_construction=80, graph_threshold=0)
KINDS: dict[str, IndexParams] = {
    "pq": replace(PLAIN, quantization="pq"),
    "sq4": replace(PLAIN, quantization="sq4"),
}

# Rows are rounded after they are normalised, and not normalised once more.
TOLERANCE: dict[ElementType, float] = {
    "float32": 1e-3,
    "float16": 1e-3,
    "bfloat16": 4e-3,
    "int8": 0.02,
}


@pytest.fixture(params=KINDS)
def coded(request: pytest.FixtureRequest) -> IndexParams:
    return KINDS[request.param]


@pytest.mark.parametrize("dim", [48, 130])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("metric", METRICS)
def test_recall_is_near_that_of_a_plain_graph(
    metric: Metric, dtype: ElementType, dim: int, coded: IndexParams
) -> None:
    vectors, queries = clustered(4_000, dim, 1), clustered(200, dim, 2)
    recalls = []
    for params in (PLAIN, coded):
        index = Index(dim=dim, metric=metric, dtype=dtype, params=params)
        index.add(np.arange(4_000), vectors, threads=2)
        found = index.search(queries, 10, ef_search=150)
        exact = scores_of(metric, queries, index.get(np.arange(4_000)))
        recalls.append(recall(found.ids, exact, 10))
        # What the codes estimate is not what is returned.
        expected = np.take_along_axis(exact, found.ids, axis=1)
        np.testing.assert_allclose(found.scores, expected, atol=TOLERANCE[dtype])
    assert recalls[1] > recalls[0] - 0.03


def test_codes_are_refused_for_a_metric_they_do_not_estimate(coded: IndexParams) -> None:
    kind = coded.quantization
    with pytest.raises(errors.ConfigError, match=rf"'{kind}' is for metric .*, not 'l1'"):
        Index(dim=8, metric="l1", params=coded)


def test_recall_stays_when_all_is_replaced_again_and_again(coded: IndexParams) -> None:
    random = np.random.default_rng(0)
    queries = clustered(100, 64, 2)
    worn = Index(dim=64, metric="ip", params=coded)
    worn.add(np.arange(2_000), clustered(2_000, 64, 1))
    for round_ in range(6):
        ids = random.permutation(2_000)
        worn.delete(ids[:1_000])
        worn.upsert(ids[:1_000], clustered(1_000, 64, 10 + round_))
    held = worn.get(np.arange(2_000))
    fresh = Index(dim=64, metric="ip", params=coded)
    fresh.add(np.arange(2_000), held)
    exact = scores_of("ip", queries, held)
    of_worn, of_fresh = (
        recall(index.search(queries, 10, ef_search=100).ids, exact, 10) for index in (worn, fresh)
    )
    assert of_worn > of_fresh - 0.02


def test_deleted_vectors_are_not_found(coded: IndexParams) -> None:
    vectors = clustered(3_000, 32, 1)
    index = Index(dim=32, metric="cosine", params=coded)
    index.add(np.arange(3_000), vectors)
    for doomed in np.array_split(np.random.default_rng(0).permutation(3_000)[:2_600], 40):
        index.delete(doomed)
        found = index.search(vectors[doomed], 5).ids
        assert not np.isin(found, doomed).any()
        assert (found >= 0).all()
    left = np.array([id for id in range(3_000) if id in index])
    found = index.search(vectors[left], 400).ids
    assert (np.sort(found, axis=1) == left).all()


def test_a_loaded_index_answers_as_the_saved_one(tmp_path: Path, coded: IndexParams) -> None:
    index = Index(dim=70, metric="l2", dtype="float16", params=coded)
    index.add(np.arange(2_500), clustered(2_500, 70, 1))
    index.delete(np.arange(0, 2_500, 3))
    index.save(tmp_path / "index")
    loaded = Index.load(tmp_path / "index")
    assert loaded.params.quantization == coded.quantization
    queries = clustered(300, 70, 2)
    before, after = index.search(queries, 10), loaded.search(queries, 10)
    # The codes are made anew, about the mean of what is there now.
    same = [set(a) & set(b) for a, b in zip(before.ids.tolist(), after.ids.tolist(), strict=True)]
    assert sum(map(len, same)) > 0.97 * before.ids.size
    loaded.add([10_000], clustered(1, 70, 5))
    assert loaded.search(clustered(1, 70, 5)[0], 1).ids.tolist() == [10_000]


def test_searches_beside_changes_find_what_stays(coded: IndexParams) -> None:
    vectors = clustered(6_000, 32, 1)
    index = Index(dim=32, metric="ip", params=coded)
    index.add(np.arange(2_000), vectors[:2_000])
    stop = threading.Event()
    missed: list[int] = []

    def search() -> None:
        while not stop.is_set():
            for id in range(0, 500, 7):
                if index.search(vectors[id], 1).scores[0] < 1 - 1e-3:
                    missed.append(id)

    searchers = [threading.Thread(target=search) for _ in range(2)]
    for thread in searchers:
        thread.start()
    for at in range(2_000, 6_000, 200):
        index.add(np.arange(at, at + 200), vectors[at : at + 200], threads=2)
        index.delete(np.arange(at - 1_000, at - 900))
    stop.set()
    for thread in searchers:
        thread.join()
    assert not missed


def test_vectors_too_close_together_for_codes_are_found_all_the_same(coded: IndexParams) -> None:
    random = np.random.default_rng(0)
    places = random.normal(size=(60, 32)) * 1_000

    def crowd(n: int) -> NDArray[np.float32]:
        offsets = random.normal(size=(n, 32))
        return (places[random.integers(60, size=n)] + offsets).astype(np.float32)

    vectors, queries = crowd(6_000), crowd(100)
    recalls = []
    for params in (PLAIN, coded):
        index = Index(dim=32, metric="l2", params=params)
        index.add(np.arange(6_000), vectors)
        exact = scores_of("l2", queries, vectors)
        recalls.append(recall(index.search(queries, 10, ef_search=100).ids, exact, 10))
    assert recalls[1] > recalls[0] - 0.02


def test_four_bit_rows_that_tell_nothing_are_left_out() -> None:
    # One component so large that all others are rounded to the same step.
    vectors = clustered(4_000, 32, 1)
    vectors[:, 0] = 1_000
    queries = clustered(100, 32, 2)
    queries[:, 0] = 1_000
    index = Index(dim=32, metric="l2", params=KINDS["sq4"])
    index.add(np.arange(4_000), vectors)
    assert index.stats().memory.refined_codes == 0
    exact = scores_of("l2", queries, vectors)
    assert recall(index.search(queries, 10, ef_search=100).ids, exact, 10) > 0.95
    index.add([4_000], queries[:1])
    assert index.search(queries[0], 1).ids.tolist() == [4_000]


def test_an_unknown_quantization_is_refused() -> None:
    with pytest.raises(errors.ConfigError, match="quantization must be 'none', 'pq' or 'sq4'"):
        IndexParams(quantization="rabitq")  # type: ignore[arg-type]
