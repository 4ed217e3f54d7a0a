from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llmspell import Index, IndexParams, RangeNeighbors, SearchCounters, errors
from llmspell.config import ElementType, Metric
from tests.index.vectors import ALL_METRICS, TYPES, clustered, scores_of

N = 4_000
FLAT = IndexParams(graph_threshold=1 << 30)
GRAPH = IndexParams(m=8, graph_threshold=0)
CODED = IndexParams(m=8, graph_threshold=0, quantization="pq")
ROUNDED = IndexParams(m=8, graph_threshold=0, quantization="sq4")


def _index(params: IndexParams, metric: Metric = "ip", dtype: ElementType = "float32") -> Index:
    index = Index(dim=24, metric=metric, dtype=dtype, params=params)
    index.add(np.arange(N), clustered(N, 24, 1))
    return index


@pytest.fixture(scope="module")
def graph() -> Index:
    return _index(GRAPH)


def _rank_scores(queries: NDArray[np.float32], rank: int) -> list[float]:
    """For each query a threshold that `rank` vectors reach, halfway between two scores."""
    ordered = -np.sort(-scores_of("ip", queries, clustered(N, 24, 1)), axis=1)
    return [float(x) for x in (ordered[:, rank - 1] + ordered[:, rank]) / 2]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("metric", ALL_METRICS)
def test_small_index_gives_exactly_those_in_range(metric: Metric, dtype: ElementType) -> None:
    index = _index(FLAT, metric, dtype)
    for query in clustered(5, 24, 2):
        every = index.search(query, N)
        for rank in (0, 1, 57, N - 1):
            limit = float(every.scores[rank])
            found = index.range_search(query, limit)
            within = every.scores >= limit
            assert sorted(found.ids.tolist()) == sorted(every.ids[within].tolist())
            assert found.scores.tolist() == every.scores[within].tolist()


@pytest.mark.parametrize("rank", [1, 10, 100, 200])
def test_walk_finds_nearly_all_in_range_and_nothing_else(graph: Index, rank: int) -> None:
    queries = clustered(40, 24, 2)
    hits = 0
    for query, limit in zip(queries, _rank_scores(queries, rank), strict=True):
        counters = SearchCounters()
        found = graph.range_search(query, limit, counters=counters)
        assert counters.strategy == ("graph" if rank < 200 else counters.strategy)
        assert (found.scores >= np.float32(limit)).all()
        assert (np.diff(found.scores) <= 0).all()
        assert len(set(found.ids.tolist())) == len(found.ids) <= rank
        hits += len(found.ids)
    assert hits > 0.99 * rank * len(queries)


def test_wide_range_is_exact(graph: Index) -> None:
    queries = clustered(10, 24, 2)
    for query, limit in zip(queries, _rank_scores(queries, N // 2), strict=True):
        counters = SearchCounters()
        found = graph.range_search(query, limit, counters=counters)
        assert counters.strategy == "exact"
        assert len(found.ids) == N // 2


def test_walk_ends_early_where_nothing_is_in_range(graph: Index) -> None:
    counters = SearchCounters()
    assert graph.range_search(clustered(1, 24, 2)[0], 5.0, counters=counters).ids.size == 0
    assert counters.strategy == "graph"
    assert counters.distances < N // 2


@pytest.mark.parametrize(
    "params", [FLAT, GRAPH, CODED, ROUNDED], ids=["flat", "graph", "coded", "rounded"]
)
def test_infinite_thresholds_give_all_and_nothing(params: IndexParams) -> None:
    index = _index(params)
    query = clustered(1, 24, 2)[0]
    assert sorted(index.range_search(query, -np.inf).ids.tolist()) == list(range(N))
    assert index.range_search(query, np.inf).ids.size == 0


@pytest.mark.parametrize("kept", [0.9, 0.3, 0.01])
@pytest.mark.parametrize(
    "params", [FLAT, GRAPH, CODED, ROUNDED], ids=["flat", "graph", "coded", "rounded"]
)
def test_only_allowed_ones_come(params: IndexParams, kept: float) -> None:
    index = _index(params)
    mask = np.random.default_rng(3).random(N) < kept
    queries = clustered(20, 24, 2)
    exact = scores_of("ip", queries, clustered(N, 24, 1))
    expected = found = 0
    for query, scores, limit in zip(queries, exact, _rank_scores(queries, 150), strict=True):
        ids = index.range_search(query, limit, filter=mask).ids
        assert mask[ids].all()
        found += len(ids)
        expected += int((mask & (scores >= limit)).sum())
    assert expected > 0
    assert 0.99 * expected <= found <= expected


def test_deleted_vectors_are_not_in_range() -> None:
    index = _index(GRAPH)
    queries = clustered(20, 24, 2)
    gone = np.arange(0, 60)  # too few for a repair: they are in the graph still
    index.delete(gone)
    assert index.stats().deleted == 60
    for query, limit in zip(queries, _rank_scores(queries, 100), strict=True):
        assert not np.isin(index.range_search(query, limit).ids, gone).any()


@pytest.mark.parametrize("params", [FLAT, GRAPH], ids=["flat", "graph"])
def test_batch_holds_each_query_one_after_the_other(params: IndexParams) -> None:
    index = _index(params)
    queries = clustered(30, 24, 2)
    limit = float(np.median(_rank_scores(queries, 20)))
    alone = [index.range_search(query, limit) for query in queries]
    for threads in (1, 3):
        batch = index.range_search(queries, limit, threads=threads)
        assert isinstance(batch, RangeNeighbors)
        assert batch.offsets.dtype == batch.ids.dtype == np.int64
        assert batch.scores.dtype == np.float32
        assert len(batch) == 30
        assert batch.offsets.tolist() == np.cumsum([0, *(len(one.ids) for one in alone)]).tolist()
        for of_batch, one in zip(batch, alone, strict=True):
            np.testing.assert_array_equal(of_batch.ids, one.ids)
            np.testing.assert_array_equal(of_batch.scores, one.scores)
        np.testing.assert_array_equal(batch[-1].ids, alone[-1].ids)
    with pytest.raises(IndexError, match="query 30 of 30"):
        batch[30]


def test_distances_are_those_of_the_metric() -> None:
    index = Index(dim=2, metric="l2")
    index.add([1, 2, 3], [[1.0, 0.0], [3.0, 0.0], [9.0, 0.0]])
    found = index.range_search([0.0, 0.0], -9.0)
    assert found.ids.tolist() == [1, 2]
    assert found[0].distances.tolist() == [1.0, 9.0]


def test_empty_index_and_empty_batch_give_nothing() -> None:
    index = Index(dim=2, metric="l2")
    assert index.range_search([0.0, 0.0], -1.0).offsets.tolist() == [0, 0]
    assert index.range_search(np.zeros((2, 2)), -1.0).offsets.tolist() == [0, 0, 0]
    index.add([1], [[0.0, 0.0]])
    assert index.range_search(np.zeros((0, 2)), -1.0).offsets.tolist() == [0]
    assert index.range_search([0.0, 0.0], -1.0, filter=[7]).ids.size == 0


def test_results_are_frozen() -> None:
    index = Index(dim=2, metric="l2")
    found = index.range_search([0.0, 0.0], -1.0)
    with pytest.raises(AttributeError):
        found.ids = found.offsets  # type: ignore[misc]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"query": [0.0, 0.0], "threshold": np.nan}, errors.InputError),
        ({"query": [0.0, 0.0], "threshold": None}, errors.InputError),
        ({"query": [0.0, 0.0], "threshold": 0.0, "ef_search": 0}, errors.InputError),
        ({"query": [0.0, 0.0], "threshold": 0.0, "threads": 0}, errors.InputError),
        ({"query": [0.0], "threshold": 0.0}, errors.DimensionMismatch),
        ({"query": [0.0, np.nan], "threshold": 0.0}, errors.NonFiniteVector),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], error: type[Exception]) -> None:
    index = Index(dim=2, metric="l2")
    index.add([1, 2], np.eye(2))
    with pytest.raises(error):
        index.range_search(**arguments)


@pytest.mark.parametrize("params", [FLAT, GRAPH], ids=["flat", "graph"])
def test_bits_within_a_hamming_distance_come(params: IndexParams) -> None:
    bits = np.random.default_rng(1).random((2_500, 64)) < 0.5
    index = Index(dim=64, metric="hamming", dtype="binary", params=params)
    index.add(np.arange(2_500), bits)
    differ = (bits != bits[9]).sum(axis=1)
    found = index.range_search(bits[9], -20, ef_search=500)
    assert set(found.ids.tolist()) == set(np.flatnonzero(differ <= 20).tolist())
    assert found[0].distances.tolist() == differ[found.ids].tolist()
