from __future__ import annotations

import numpy as np
import pytest

from llmspell import Index, IndexParams, errors
from llmspell.config import ElementType, Metric
from tests.index.vectors import ALL_METRICS, clustered

FLAT_AND_GRAPH = pytest.mark.parametrize("threshold", [0, 10_000], ids=["graph", "flat"])


def _index(threshold: int, n: int = 0, dim: int = 16, metric: Metric = "ip") -> Index:
    params = IndexParams(m=6, ef_construction=60, graph_threshold=threshold)
    index = Index(dim=dim, metric=metric, params=params)
    if n:
        index.add(np.arange(n), clustered(n, dim, 1))
    return index


@FLAT_AND_GRAPH
def test_added_vector_is_there_and_found(threshold: int) -> None:
    index = _index(threshold, 200)
    assert len(index) == 200
    assert 199 in index
    assert 200 not in index
    vectors = clustered(200, 16, 1)
    assert index.search(vectors, 1).ids[:, 0].tolist() == list(range(200))


@FLAT_AND_GRAPH
def test_one_vector_may_come_without_a_batch_axis(threshold: int) -> None:
    index = _index(threshold)
    index.add(5, clustered(1, 16)[0])
    index.upsert([6], clustered(2, 16)[1])
    assert len(index) == 2


@FLAT_AND_GRAPH
def test_deleted_vector_is_never_returned(threshold: int) -> None:
    vectors = clustered(500, 16, 1)
    index = _index(threshold, 500)
    random = np.random.default_rng(0)
    live = set(range(500))
    for _ in range(9):
        gone = random.choice(sorted(live), 50, replace=False)
        assert index.delete(gone) == 50
        live -= set(gone.tolist())
        found = index.search(vectors, 10).ids
        assert set(found.ravel().tolist()) <= live
        assert len(index) == len(live)
    assert set(index.search(vectors[0], 500).ids.tolist()) == live


@FLAT_AND_GRAPH
def test_delete_counts_what_was_there(threshold: int) -> None:
    index = _index(threshold, 100)
    assert index.delete([3, 3, 10**9, 4]) == 2
    assert index.delete([3]) == 0
    assert index.delete([]) == 0
    assert index.delete(5) == 1
    assert len(index) == 97


@FLAT_AND_GRAPH
@pytest.mark.parametrize("n", [1, 20, 40, 100, 300])
def test_emptied_index_is_empty_and_usable(threshold: int, n: int) -> None:
    index = _index(threshold, n)
    assert index.delete(np.arange(n)) == n
    assert len(index) == 0
    query = clustered(1, 16)[0]
    assert index.search(query, 5).ids.size == 0
    assert index.search(query, 5, filter=np.arange(n)).ids.size == 0
    index.add(np.arange(n), clustered(n, 16, 1))
    assert index.search(clustered(n, 16, 1), 1).ids[:, 0].tolist() == list(range(n))


@FLAT_AND_GRAPH
def test_upsert_replaces_and_adds(threshold: int) -> None:
    index = _index(threshold, 200)
    fresh = clustered(200, 16, 9)
    index.upsert(np.arange(100, 300), fresh)
    assert len(index) == 300
    np.testing.assert_array_equal(index.get(np.arange(100, 300)), fresh)
    assert index.search(fresh, 1).ids[:, 0].tolist() == list(range(100, 300))
    np.testing.assert_array_equal(index.get(np.arange(100)), clustered(200, 16, 1)[:100])


@FLAT_AND_GRAPH
def test_upsert_of_everything_ten_times_over_keeps_all_findable(threshold: int) -> None:
    index = _index(threshold, 300)
    for seed in range(10):
        vectors = clustered(300, 16, 20 + seed)
        index.upsert(np.arange(300), vectors)
        assert index.search(vectors, 1).ids[:, 0].tolist() == list(range(300))
    assert len(index) == 300


@FLAT_AND_GRAPH
def test_duplicate_id_is_refused_and_nothing_is_added(threshold: int) -> None:
    index = _index(threshold, 100)
    with pytest.raises(errors.DuplicateId, match="id 50 is in the index"):
        index.add([100, 50], clustered(2, 16))
    with pytest.raises(errors.DuplicateId, match="id 100 stands twice"):
        index.add([100, 101, 100], clustered(3, 16))
    with pytest.raises(errors.DuplicateId, match="id 7 stands twice"):
        index.upsert([7, 7], clustered(2, 16))
    assert len(index) == 100
    np.testing.assert_array_equal(index.get([7]), clustered(100, 16, 1)[7:8])


@FLAT_AND_GRAPH
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("position", [0, 2])
def test_batch_with_one_bad_vector_changes_nothing(
    threshold: int, bad: float, position: int
) -> None:
    index = _index(threshold, 100)
    batch = clustered(3, 16, 5)
    batch[position, 11] = bad
    for change, ids in ((index.add, [100, 101, 102]), (index.upsert, [100, 1, 102])):
        with pytest.raises(errors.NonFiniteVector, match=f"vector {position} holds NaN or inf"):
            change(ids, batch)
    assert len(index) == 100
    np.testing.assert_array_equal(index.get(np.arange(100)), clustered(100, 16, 1))


@pytest.mark.parametrize("metric", ALL_METRICS)
def test_get_gives_what_is_held(metric: Metric) -> None:
    vectors = clustered(20, 16, 1) * 3
    index = Index(dim=16, metric=metric)
    index.add(np.arange(20), vectors)
    held = index.get([4, 4, 19])
    expected = vectors[[4, 4, 19]]
    if metric == "cosine":
        expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    assert held.dtype == np.float32
    np.testing.assert_allclose(held, expected, rtol=1e-6)
    assert index.get([]).shape == (0, 16)


@pytest.mark.parametrize(
    ("dtype", "step"), [("float16", 2**-11), ("bfloat16", 2**-8), ("int8", 1 / 254)]
)
def test_rounded_rows_are_within_half_a_step(dtype: ElementType, step: float) -> None:
    vectors = clustered(50, 33, 1)
    index = Index(dim=33, metric="ip", dtype=dtype)
    index.add(np.arange(50), vectors)
    error = np.abs(index.get(np.arange(50)) - vectors)
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    assert (error <= largest * step * 1.001).all()


def test_bfloat16_rows_are_rounded_to_the_nearest_and_ties_to_even() -> None:
    index = Index(dim=4, metric="l2", dtype="bfloat16")
    index.add([1], [[1.0, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20]])
    assert index.get([1]).tolist() == [[1.0, 1.0, 1 + 2**-6, 1 + 2**-7]]


def test_l1_of_whole_numbers_held_as_int8_is_exact() -> None:
    vectors = np.random.default_rng(3).integers(-127, 128, (200, 60)).astype(np.float32)
    index = Index(dim=60, metric="l1", dtype="int8")
    index.add(np.arange(200), vectors)
    found = index.search(vectors[7], 200)
    exact = np.abs(vectors - vectors[7]).sum(axis=1)
    np.testing.assert_array_equal(found.distances, np.sort(exact))
    np.testing.assert_array_equal(exact[found.ids], found.distances)


def test_get_of_an_unknown_id_names_it() -> None:
    index = _index(0, 10)
    with pytest.raises(errors.IdNotFound, match="id 77 is not in the index"):
        index.get([1, 77])


def test_anything_may_be_asked_for_with_in() -> None:
    index = _index(0, 10)
    for other in ("a", -1, 2**63, 2**80, 1.5, None):
        assert other not in index
    assert np.int64(3) in index


def test_graph_comes_at_the_threshold_and_goes_at_half_of_it() -> None:
    vectors = clustered(100, 16, 1)
    index = _index(100)
    index.add(np.arange(99), vectors[:99])
    assert index.stats().graph_nodes == 0
    index.add([99], vectors[99])
    assert index.stats().graph_nodes == 100
    index.delete(np.arange(50))
    assert index.stats().graph_nodes > 0
    index.delete([50])
    assert index.stats().graph_nodes == 0
    assert index.search(vectors[60], 1).ids.tolist() == [60]


@FLAT_AND_GRAPH
def test_memory_of_deleted_vectors_is_given_back(threshold: int) -> None:
    index = _index(threshold, 4_000, dim=64)
    full = index.stats()
    index.delete(np.arange(3_900))
    small = index.stats()
    assert small.slots == 100
    assert small.memory.vectors < full.memory.vectors / 10
    assert small.memory.bottom_layer <= full.memory.bottom_layer / 10
    assert index.search(clustered(4_000, 64, 1)[3_950], 1).ids.tolist() == [3_950]


@FLAT_AND_GRAPH
def test_slots_are_used_again(threshold: int) -> None:
    index = _index(threshold, 500)
    for round_ in range(30):
        index.upsert(np.arange(250), clustered(250, 16, round_))
    assert index.stats().slots <= 800


def test_ids_are_those_that_are_there() -> None:
    index = Index(dim=4)
    assert index.ids().tolist() == [] and index.ids().dtype == np.int64
    index.add([2**63 - 1, 5, 9], np.eye(4)[:3])
    index.delete([5])
    index.upsert([9, 1], np.eye(4)[:2])
    assert index.ids().tolist() == [1, 9, 2**63 - 1]
