from __future__ import annotations

import numpy as np
import pytest

from llmspell import IdBitmap, Index, IndexParams, errors
from llmspell.config import ElementType, Metric, Quantization
from llmspell.index import Neighbors
from tests.index.vectors import ALL_METRICS, TYPES, clustered, recall, scores_of

# Where rows are rounded, so are scores: half a step of the type, summed over unit vectors.
TOLERANCE: dict[ElementType, float] = {
    "float32": 1e-5,
    "float16": 2e-3,
    "bfloat16": 4e-3,
    "int8": 2e-2,
}


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("metric", ALL_METRICS)
@pytest.mark.parametrize("dim", [1, 3, 17, 64])
def test_small_index_answers_exactly(metric: Metric, dtype: ElementType, dim: int) -> None:
    vectors, queries = clustered(300, dim, 1), clustered(5, dim, 2)
    index = Index(dim=dim, metric=metric, dtype=dtype)
    index.add(np.arange(300), vectors)
    held = index.get(np.arange(300))
    ids, scores = index.search(queries, 10)
    assert index.stats().graph_nodes == 0
    exact = scores_of(metric, queries, held)
    best = -np.sort(-exact, axis=1)[:, :10]
    np.testing.assert_allclose(scores, best, atol=TOLERANCE[dtype])
    np.testing.assert_allclose(
        np.take_along_axis(exact, ids, axis=1), scores, atol=TOLERANCE[dtype]
    )


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("metric", ALL_METRICS)
def test_graph_finds_nearly_all_of_the_nearest(metric: Metric, dtype: ElementType) -> None:
    vectors, queries = clustered(4_000, 48, 1), clustered(100, 48, 2)
    index = Index(dim=48, metric=metric, dtype=dtype, params=IndexParams(m=12))
    index.add(np.arange(4_000), vectors)
    assert index.stats().graph_nodes == 4_000
    found = index.search(queries, 10, ef_search=100).ids
    held = index.get(np.arange(4_000))
    # Rows held under cosine were normalised before they were rounded, and are not once more.
    exact = scores_of("ip" if metric == "cosine" else metric, queries, held)
    # int8 rows meet an int8 query, so near ties may come in another order than NumPy's.
    assert recall(found, exact, 10) > (0.9 if dtype == "int8" else 0.99)


def test_wider_beam_finds_no_less() -> None:
    vectors, queries = clustered(4_000, 48, 1), clustered(100, 48, 2)
    index = Index(dim=48, metric="ip", params=IndexParams(m=4, ef_construction=20))
    index.add(np.arange(4_000), vectors)
    exact = scores_of("ip", queries, vectors)
    found = [recall(index.search(queries, 10, ef_search=ef).ids, exact, 10) for ef in (10, 40, 400)]
    assert found == sorted(found)
    assert found[0] < found[-1]


def test_ids_and_scores_come_best_first_as_int64_and_float32() -> None:
    index = Index(dim=2, metric="ip")
    index.add([7, 8, 9], [[1.0, 0.0], [3.0, 0.0], [2.0, 0.0]])
    found = index.search([1.0, 0.0], 2)
    assert isinstance(found, Neighbors)
    ids, scores = found
    assert ids.dtype == np.int64
    assert scores.dtype == np.float32
    assert ids.tolist() == found.ids.tolist() == [8, 9]
    assert scores.tolist() == found.scores.tolist() == [3.0, 2.0]


@pytest.mark.parametrize(
    ("metric", "score", "distance"),
    [("ip", 6.0, -5.0), ("cosine", 1.0, 0.0), ("l2", -1.0, 1.0), ("l1", -1.0, 1.0)],
)
def test_score_and_distance_of_each_metric(metric: Metric, score: float, distance: float) -> None:
    index = Index(dim=2, metric=metric)
    index.add([1], [[3.0, 0.0]])
    found = index.search([2.0, 0.0])
    assert found.scores.tolist() == pytest.approx([score])
    assert found.distances.tolist() == pytest.approx([distance], abs=1e-6)


def test_equal_vector_has_distance_zero_without_a_sign() -> None:
    index = Index(dim=3, metric="l2")
    index.add([1], [[1.0, 2.0, 3.0]])
    found = index.search([1.0, 2.0, 3.0])
    assert str(found.scores[0]) == "0.0"
    assert found.distances[0] == 0.0


def test_one_query_gets_as_many_results_as_there_are() -> None:
    index = Index(dim=2, metric="l2")
    index.add([1, 2], np.eye(2))
    assert index.search([0.0, 0.0], 10).ids.shape == (2,)
    assert index.search([0.0, 0.0], 2**62).ids.shape == (2,)


def test_batch_is_padded_to_k() -> None:
    index = Index(dim=2, metric="l2")
    index.add([1, 2], np.eye(2))
    ids, scores = index.search(np.zeros((3, 2)), 4)
    assert ids.shape == scores.shape == (3, 4)
    assert np.sort(ids, axis=1).tolist() == [[-1, -1, 1, 2]] * 3
    assert (ids[:, 2:] == -1).all()
    assert (scores[:, 2:] == -np.inf).all()


def test_batch_equals_its_queries_one_by_one() -> None:
    vectors, queries = clustered(3_000, 24, 1), clustered(40, 24, 2)
    index = Index(dim=24, params=IndexParams(m=8))
    index.add(np.arange(3_000), vectors)
    single = [index.search(query, 7) for query in queries]
    for threads in (1, 3):
        batch = index.search(queries, 7, threads=threads)
        np.testing.assert_array_equal(batch.ids, [found.ids for found in single])
        np.testing.assert_array_equal(batch.scores, [found.scores for found in single])


def test_empty_batch_and_empty_index_give_empty_results() -> None:
    index = Index(dim=2, metric="l2")
    assert index.search([1.0, 2.0], 3).ids.shape == (0,)
    assert index.search(np.zeros((2, 2)), 3).ids.tolist() == [[-1] * 3] * 2
    index.add([1], [[1.0, 2.0]])
    assert index.search(np.zeros((0, 2)), 3).ids.shape == (0, 3)


@pytest.mark.parametrize("threshold", [0, 1])
def test_k_of_all_gives_all_in_order(threshold: int) -> None:
    vectors = clustered(500, 16, 1)
    index = Index(dim=16, metric="ip", params=IndexParams(m=4, graph_threshold=threshold))
    index.add(np.arange(500), vectors)
    ids, scores = index.search(vectors[3], 500)
    assert sorted(ids.tolist()) == list(range(500))
    assert (np.diff(scores) <= 0).all()


@pytest.mark.parametrize("quantization", ["none", "pq", "sq4"])
@pytest.mark.parametrize("k", [600, 1_024, 1_025, 2_999])
def test_many_are_the_true_nearest_in_order(k: int, quantization: Quantization) -> None:
    vectors = clustered(3_000, 32, 1)
    params = IndexParams(m=4, graph_threshold=0, quantization=quantization)
    index = Index(dim=32, metric="ip", params=params)
    index.add(np.arange(3_000), vectors)
    scores = scores_of("ip", vectors[:1], vectors)
    found = index.search(vectors[0], k)
    np.testing.assert_allclose(found.scores, -np.sort(-scores[0])[:k], atol=1e-5)
    allowed = np.arange(0, 3_000, 2)
    found = index.search(vectors[0], k, filter=allowed)
    best = -np.sort(-scores[0, allowed])[:k]
    assert len(found.ids) == len(set(found.ids.tolist())) == len(best)
    np.testing.assert_allclose(found.scores, best, atol=1e-5)


def test_arrays_that_begin_at_any_byte_are_taken() -> None:
    vectors, ids = clustered(50, 8, 1), np.arange(50)
    index = Index(dim=8)
    odd = np.frombuffer(b"\0" + vectors.tobytes(), np.float32, offset=1).reshape(50, 8)
    odd_ids = np.frombuffer(b"\0" + ids.tobytes(), np.int64, offset=1)
    assert not odd.flags.aligned and not odd_ids.flags.aligned
    index.add(odd_ids, odd)
    assert index.search(odd[4], 1, filter=odd_ids).ids.tolist() == [4]
    assert index.search(odd[4], 1).ids.tolist() == [4]
    assert index.search(odd, 1).ids[:, 0].tolist() == ids.tolist()


def test_query_of_any_float_type_and_layout_is_taken() -> None:
    vectors = clustered(50, 8, 1)
    index = Index(dim=8)
    index.add(np.arange(50), vectors)
    plain = index.search(vectors[4], 3).ids.tolist()
    wide = np.zeros((8, 2), np.float32)
    wide[:, 0] = vectors[4]
    big_endian = vectors[4].astype(">f4")
    for query in (vectors[4].astype(np.float64), vectors[4].tolist(), wide[:, 0], big_endian):
        assert index.search(query, 3).ids.tolist() == plain


@pytest.mark.parametrize("threshold", [0, 10_000])
def test_threshold_keeps_scores_from_it_upward(threshold: int) -> None:
    vectors = clustered(600, 16, 1)
    index = Index(dim=16, metric="ip", params=IndexParams(m=8, graph_threshold=threshold))
    index.add(np.arange(600), vectors)
    scores = index.search(vectors[0], 100).scores
    limit = float(scores[30])
    ids, kept = index.search(vectors[0], 100, threshold=limit)
    assert len(ids) == 31
    assert (kept >= limit).all()
    assert index.search(vectors[0], 100, threshold=2.0).ids.size == 0
    assert index.search(vectors[0], 100, threshold=-2).ids.size == 100
    padded = index.search(vectors[:2], 100, threshold=limit).ids
    assert (padded[0, :31] >= 0).all()
    assert (padded[0, 31:] == -1).all()


def test_huge_ef_search_is_exact() -> None:
    vectors = clustered(800, 16, 1)
    index = Index(dim=16, metric="ip", params=IndexParams(m=4, graph_threshold=0))
    index.add(np.arange(800), vectors)
    exact = scores_of("ip", vectors[:20], vectors)
    for filter in (None, np.arange(700)):
        allowed = exact if filter is None else exact[:, :700]
        found = index.search(vectors[:20], 10, ef_search=2**62, filter=filter)
        np.testing.assert_allclose(found.scores, -np.sort(-allowed, axis=1)[:, :10], atol=1e-5)


def test_int8_holds_whole_numbers_exactly() -> None:
    random = np.random.default_rng(1)
    vectors = random.integers(-127, 128, (50, 20)).astype(np.int8)
    index = Index(dim=20, metric="l2", dtype="int8")
    index.add(np.arange(50), vectors)
    np.testing.assert_array_equal(index.get(np.arange(50)), vectors)
    ids, scores = index.search(vectors[7], 50)
    exact = scores_of("l2", vectors[7:8].astype(np.float32), vectors.astype(np.float32))[0]
    np.testing.assert_array_equal(scores, exact[ids])


def test_vectors_of_extreme_length_are_compared_by_cosine() -> None:
    index = Index(dim=3, metric="cosine")
    index.add([1, 2], [[1e-44, 0.0, 0.0], [0.0, 3e38, 3e38]])
    ids, scores = index.search([0.0, 1e-40, 1e-40], 2)
    assert ids.tolist() == [2, 1]
    assert scores.tolist() == pytest.approx([1.0, 0.0], abs=1e-5)


def test_largest_id_comes_back() -> None:
    index = Index(dim=1, metric="l2")
    index.add([0, 2**63 - 1], [[0.0], [1.0]])
    assert index.search([1.0], 2).ids.tolist() == [2**63 - 1, 0]
    assert 2**63 - 1 in index


@pytest.mark.parametrize("k", [1, 10, 300])
def test_one_query_is_answered_alike_however_it_is_passed(k: int) -> None:
    vectors, queries = clustered(4_000, 32, 1), clustered(20, 32, 2)
    index = Index(dim=32, metric="l2", dtype="float16")
    index.add(np.arange(4_000), vectors)
    strided = np.repeat(queries, 2, axis=1)[:, ::2]
    for i, query in enumerate(queries):
        found = index.search(query, k, ef_search=50)
        assert isinstance(found, Neighbors)
        assert found.ids.dtype == np.int64
        assert found.scores.dtype == np.float32
        assert found.ids.shape == found.scores.shape == (k,)
        for same in (
            index.search(query.astype(np.float64), k, ef_search=50),
            index.search(query.tolist(), np.int64(k), ef_search=50),
            index.search(strided[i], k, ef_search=50),
            index.search(query, k, ef_search=50, threads=2),
            index.search(query, k, ef_search=50, timeout=60.0),
        ):
            np.testing.assert_array_equal(found.ids, same.ids)
            np.testing.assert_array_equal(found.scores, same.scores)
            np.testing.assert_array_equal(found.distances, same.distances)


def test_a_bitmap_and_a_recall_are_taken_alike_however_they_are_passed() -> None:
    vectors, queries = clustered(4_000, 32, 1), clustered(20, 32, 2)
    index = Index(dim=32, metric="ip", dtype="float16")
    index.add(np.arange(4_000), vectors)
    index.calibrate(10)
    mask = np.random.default_rng(1).random(4_000) < 0.5
    allowed = IdBitmap(np.packbits(mask, bitorder="little"))
    strided = IdBitmap(np.repeat(allowed.bits, 2)[::2])
    for query in queries:
        for given in ({"ef_search": 30}, {"recall": 0.9}, {"recall": 1.0}, {"recall": 1}):
            found = index.search(query, 10, filter=allowed, **given)
            assert mask[found.ids].all()
            for same in (
                index.search(query, 10, filter=mask, **given),
                index.search(query, 10, filter=np.flatnonzero(mask), **given),
                index.search(query, 10, filter=strided, **given),
                index.search(query[None], 10, filter=allowed, **given),
            ):
                np.testing.assert_array_equal(found.ids, same.ids.reshape(-1))
    for wrong in ({"recall": 0.0}, {"recall": float("nan")}, {"recall": 0.9, "ef_search": 5}):
        with pytest.raises(errors.InputError, match="recall"):
            index.search(queries[0], 10, filter=allowed, **wrong)


def test_results_are_writable_and_their_own() -> None:
    index = Index(dim=2, metric="ip")
    index.add([1, 2], np.eye(2, dtype=np.float32))
    first, second = (index.search(np.array([1, 0.5], np.float32), 2) for _ in range(2))
    first.ids[:] = 0
    np.testing.assert_array_equal(second.ids, [1, 2])
    assert first.ids.flags.owndata
