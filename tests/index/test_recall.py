"""Recall as a parameter: what a search that asks for it reaches, and what is measured for it."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llmspell import Index, IndexParams, RecallCurve, RecallPoint, SearchCounters, errors
from llmspell.config import ElementType, Metric, Quantization
from tests.index.vectors import clustered

N, DIM, QUERIES = 8_000, 32, 1_500


def made(
    quantization: Quantization = "none", metric: Metric = "ip", dtype: ElementType = "float32"
) -> Index:
    params = IndexParams(m=8, ef_construction=60, graph_threshold=0, quantization=quantization)
    index = Index(dim=DIM, metric=metric, dtype=dtype, params=params)
    index.add(np.arange(N), clustered(N, DIM, 1), threads=1)
    return index


@pytest.fixture(scope="module", params=["none", "pq", "sq4"])
def index(request: pytest.FixtureRequest) -> Index:
    return made(request.param)


def achieved(index: Index, queries: NDArray[np.float32], k: int, recall: float) -> float:
    """Share of the exact k nearest that comes back; the queries aren't recorded beforehand."""
    found = index.search(queries, k, recall=recall).ids
    exact = index.search(queries, k, recall=1.0).ids
    return float(
        np.mean(
            [len(set(a) & set(b)) / k for a, b in zip(found.tolist(), exact.tolist(), strict=True)]
        )
    )


@pytest.mark.parametrize("k", [1, 10, 100])
@pytest.mark.parametrize("recall", [0.9, 0.95, 0.98, 0.99])
def test_a_recall_is_reached_within_a_point_on_queries_not_seen(
    index: Index, k: int, recall: float
) -> None:
    assert achieved(index, clustered(QUERIES, DIM, 2), k, recall) >= recall - 0.01


def test_a_lower_recall_costs_less(index: Index) -> None:
    queries = clustered(200, DIM, 3)
    counts = []
    for recall in (0.8, 0.95, 0.995, 1.0):
        counters = SearchCounters()
        index.search(queries, 10, recall=recall, counters=counters)
        counts.append(counters.distances)
    assert counts == sorted(counts)
    assert counts[0] < counts[-1] / 4


def test_recall_one_is_exact(index: Index) -> None:
    queries = clustered(20, DIM, 4)
    counters = SearchCounters()
    found = index.search(queries, 10, recall=1, counters=counters)
    assert counters.strategy == "exact"
    scores = queries @ index.get(np.arange(N)).T
    np.testing.assert_allclose(found.scores, -np.sort(-scores, axis=1)[:, :10], rtol=1e-5)


def test_a_recall_that_no_sample_can_show_is_exact(index: Index) -> None:
    counters = SearchCounters()
    index.search(clustered(1, DIM, 5)[0], 10, recall=0.99999, counters=counters)
    assert counters.strategy == "exact"


@pytest.mark.parametrize("kept", [0.5, 0.005])
def test_a_recall_is_reached_under_a_filter(index: Index, kept: float) -> None:
    allowed = np.random.default_rng(1).permutation(N)[: int(N * kept)]
    queries, counters = clustered(QUERIES // 3, DIM, 6), SearchCounters()
    found = index.search(queries, 10, recall=0.95, filter=allowed, counters=counters).ids
    exact = index.search(queries, 10, recall=1.0, filter=allowed).ids
    shares = [
        len(set(a) & set(b)) / 10 for a, b in zip(found.tolist(), exact.tolist(), strict=True)
    ]
    coded = index.params.quantization != "none"
    walks = {"filtered-quantized", "quantized-sweep"} if coded else {"filtered-graph"}
    assert counters.strategy in (walks if kept == 0.5 else {"exact"})
    assert np.isin(found, allowed).all()
    assert np.mean(shares) >= 0.94


def test_a_recall_is_reached_by_id(index: Index) -> None:
    ids = np.arange(0, N, 16)
    found = index.search_by_id(ids, 10, recall=0.95).ids
    exact = index.search_by_id(ids, 10, recall=1.0).ids
    shares = [
        len(set(a) & set(b)) / 10 for a, b in zip(found.tolist(), exact.tolist(), strict=True)
    ]
    assert np.mean(shares) >= 0.94


@pytest.mark.parametrize(
    ("metric", "dtype"),
    [("cosine", "float16"), ("l2", "int8"), ("l1", "float32"), ("hamming", "binary")],
)
def test_every_type_can_be_asked_for_recall(metric: Metric, dtype: ElementType) -> None:
    vectors = clustered(4_000, 64, 1)
    rows = np.packbits(vectors > 0, axis=1) if dtype == "binary" else vectors
    params = IndexParams(m=8, ef_construction=40, graph_threshold=0)
    index = Index(dim=64, metric=metric, dtype=dtype, params=params)
    index.add(np.arange(3_500), rows[:3_500], threads=1)
    found = index.search(rows[3_500:], 10, recall=0.9)
    exact = index.search(rows[3_500:], 10, recall=1.0)
    # By score: of bits many are equally near.
    assert np.mean(found.scores >= exact.scores[:, -1:] - 1e-6) >= 0.89
    assert [curve.k for curve in index.calibration()] == [10]


def test_without_a_graph_nothing_is_measured_and_all_is_exact() -> None:
    index = Index(dim=DIM, metric="ip")
    index.add(np.arange(500), clustered(500, DIM, 1))
    counters = SearchCounters()
    index.calibrate()
    index.search(clustered(1, DIM, 2)[0], recall=0.9, counters=counters)
    assert counters.strategy == "exact"
    assert index.calibration() == ()


def test_a_curve_says_what_it_was_measured_on(index: Index) -> None:
    fresh = made(index.params.quantization)
    assert fresh.calibration() == ()
    fresh.calibrate(7)
    (curve,) = fresh.calibration()
    assert (curve.k, curve.vectors, curve.changed) == (10, N, 0.0)
    assert curve.stored_queries > 0
    assert curve.asked_queries == 0
    widths = [point.ef_search for point in curve.points]
    assert widths == sorted(set(widths))
    assert curve.points[-1].recall >= 0.99
    assert curve.recall_at(widths[0]) == curve.points[0].recall
    between = curve.recall_at(widths[0] + 1)
    assert between is not None
    assert curve.points[0].recall <= between <= curve.points[1].recall
    width = curve.width_for(0.95)
    assert width is not None
    assert widths[0] < width < widths[-1]
    assert curve.width_for(1.0) is None
    fresh.add([N], clustered(1, DIM, 9))
    assert fresh.calibration()[0].changed == pytest.approx(1 / N)


def test_an_estimate_is_the_curves_at_the_width_of_the_search(index: Index) -> None:
    fresh = made(index.params.quantization)
    assert fresh.estimated_recall(10) is None
    fresh.calibrate(10)
    (curve,) = fresh.calibration()
    assert fresh.estimated_recall(7) == curve.recall_at(100) == fresh.estimated_recall(10)
    assert fresh.estimated_recall(10, ef_search=30) == curve.recall_at(30)
    assert fresh.estimated_recall(9, ef_search=1) == curve.recall_at(9)  # no walk is narrower
    assert fresh.estimated_recall(11) is None
    assert fresh.estimated_recall(N // 4 + 1) == 1.0  # a sweep


@pytest.mark.parametrize(("k", "ef_search"), [(1, 10), (10, 20), (10, 100)])
def test_an_estimate_holds_within_its_errors_or_is_lower(
    index: Index, k: int, ef_search: int
) -> None:
    index.calibrate(k)
    estimate = index.estimated_recall(k, ef_search=ef_search)
    # Searches under a filter may have a curve of their own.
    quantized = index.params.quantization != "none"
    curves = [c for c in index.calibration() if c.k == k and c.quantized == quantized]
    (curve,) = curves
    error = [point.error for point in curve.points if point.ef_search <= ef_search][-1]
    queries = clustered(QUERIES, DIM, 31)
    found = index.search(queries, k, ef_search=ef_search).ids
    exact = index.search(queries, k, recall=1.0).ids
    hits = [len(set(a) & set(b)) / k for a, b in zip(found.tolist(), exact.tolist(), strict=True)]
    assert estimate is not None
    # As many queries are asked as it was measured with, so that both are off by about an error.
    assert np.mean(hits) >= estimate - 3 * error


def test_without_a_graph_the_estimate_is_exact() -> None:
    index = Index(dim=DIM, metric="ip")
    assert index.estimated_recall() == 1.0
    index.add(np.arange(500), clustered(500, DIM, 1))
    assert index.estimated_recall(10, ef_search=10) == 1.0


def test_a_calibration_is_taken_over_by_an_index_of_the_same_content(
    index: Index, tmp_path: Path
) -> None:
    fresh = made(index.params.quantization)
    fresh.calibrate(10)
    fresh.calibrate(1)
    fresh.add([N], clustered(1, DIM, 9))
    fresh.save(tmp_path / "index")
    again = Index.load(tmp_path / "index")
    assert again.calibration() == ()
    again.adopt_calibration(fresh.calibration())
    assert again.calibration() == fresh.calibration()
    again.add([N + 1], clustered(1, DIM, 10))
    assert again.calibration()[0].changed == pytest.approx(2 / N)
    counts = []
    for one in (fresh, again):
        counters = SearchCounters()
        one.search(clustered(200, DIM, 11), 10, recall=0.9, counters=counters)
        counts.append(counters.distances)
    assert counts[1] == pytest.approx(counts[0], rel=0.02)
    # Not measured anew: that would have changed nothing since.
    assert again.calibration()[0].changed == pytest.approx(2 / N)
    flat = Index(dim=DIM, metric="ip")
    flat.adopt_calibration(fresh.calibration())
    assert flat.calibration() == ()


def test_an_adopted_curve_knows_that_no_walk_reaches_further() -> None:
    def sparse() -> Index:
        params = IndexParams(m=2, ef_construction=4, graph_threshold=0)
        index = Index(dim=DIM, metric="ip", params=params)
        index.add(np.arange(N), clustered(N, DIM, 1), threads=1)
        return index

    index = sparse()
    index.calibrate(10, recall=0.9)
    assert index.calibration()[0].points[-1].recall < 0.9
    again = sparse()
    again.adopt_calibration(index.calibration())
    again.add([N], clustered(1, DIM, 9))
    counters = SearchCounters()
    again.search(clustered(1, DIM, 5)[0], 10, recall=0.9, counters=counters)
    assert counters.strategy == "exact"
    assert again.calibration()[0].changed == pytest.approx(1 / N)


@pytest.mark.parametrize(
    "wrong",
    [
        {"k": 11},
        {"k": -1},
        {"vectors": 0},
        {"changed": 1.5},
        {"changed": float("nan")},
        {"points": (RecallPoint(10, 0.9, 0.01), RecallPoint(10, 0.95, 0.01))},
        {"points": (RecallPoint(10, 1.1, 0.01),)},
        {"points": (RecallPoint(10, 0.9, float("inf")),)},
    ],
)
def test_a_curve_that_nobody_can_measure_is_refused(wrong: dict[str, Any]) -> None:
    points = (RecallPoint(10, 0.9, 0.01),)
    curve = RecallCurve(
        k=10,
        quantized=False,
        vectors=N,
        changed=0.0,
        stored_queries=256,
        asked_queries=0,
        points=points,
    )
    index = Index(dim=DIM, metric="ip")
    index.adopt_calibration([curve])
    with pytest.raises(errors.InputError, match="curve"):
        index.adopt_calibration([replace(curve, **wrong)])


def test_measuring_again_gives_the_same_curve() -> None:
    curves = []
    for threads in (1, 3):
        index = made()
        index.calibrate(10, threads=threads)
        curves.append(index.calibration())
    assert curves[0] == curves[1]


def test_recent_queries_take_the_place_of_stored_vectors() -> None:
    index = made()
    queries = clustered(2_000, DIM, 7)
    index.search(queries, 10, recall=0.9)
    assert index.calibration()[0].asked_queries == 0
    assert index.stats().calibration == index.calibration()
    index.search(queries, 10, recall=0.9)
    (curve,) = index.calibration()
    assert curve.asked_queries >= 256
    assert curve.stored_queries == 0
    assert achieved(index, clustered(QUERIES, DIM, 8), 10, 0.95) >= 0.94


def test_after_half_of_the_content_became_another_the_recall_holds() -> None:
    def another(n: int, seed: int) -> NDArray[np.float32]:
        return clustered(n, DIM, seed, world=2) + 0.3 * clustered(n, DIM, seed + 1, world=3)

    index = made()
    index.calibrate(10)
    before = index.calibration()[0]
    index.upsert(np.arange(N // 2), another(N // 2, 20), threads=1)
    queries = np.concatenate([another(QUERIES // 2, 22), clustered(QUERIES // 2, DIM, 24)])
    assert achieved(index, queries, 10, 0.95) >= 0.94
    assert index.calibration()[0].changed < 0.1
    assert index.calibration()[0] != before
    # Where searches go to a part alone, that they do must be seen first.
    index.search(another(4_000, 26), 10, recall=0.95)
    index.calibrate(10)
    assert index.calibration()[0].asked_queries > 900
    assert achieved(index, another(QUERIES, 28), 10, 0.95) >= 0.94


def test_a_search_in_a_hurry_goes_on_by_what_is_known() -> None:
    index = made()
    index.calibrate(10)
    index.add(np.arange(N, N + N // 5), clustered(N // 5, DIM, 15), threads=1)
    index.search(clustered(2, DIM, 16), 10, recall=0.9, timeout=3600)
    assert index.calibration()[0].changed == pytest.approx(0.2)
    index.search(clustered(2, DIM, 16), 10, recall=0.9)
    assert index.calibration()[0].changed == 0.0


def test_a_search_in_a_hurry_is_exact_where_nothing_is_known() -> None:
    index, counters = made(), SearchCounters()
    index.search(clustered(2, DIM, 16), 10, recall=0.9, timeout=3600, counters=counters)
    assert counters.strategy == "exact" and counters.ef_search == 0
    assert index.calibration() == ()


def test_searches_in_a_hurry_go_on_when_all_has_become_another() -> None:
    index, counters = made(), SearchCounters()
    index.calibrate(10)
    index.upsert(np.arange(N), clustered(N, DIM, 40, world=2))
    found = index.search(clustered(50, DIM, 41, world=2), 10, recall=0.9, timeout=3600).ids
    exact = index.search(clustered(50, DIM, 41, world=2), 10, recall=1.0).ids
    assert np.mean([np.isin(a, b).mean() for a, b in zip(found, exact, strict=True)]) >= 0.9
    assert index.calibration()[0].changed == 1.0
    index.search(clustered(50, DIM, 41, world=2), 10, recall=0.9, counters=counters)
    assert index.calibration()[0].changed == 0.0
    assert counters.ef_search > 0


def test_measuring_can_be_stopped() -> None:
    index = made()
    with pytest.raises(errors.SearchTimeout):
        index.calibrate(10, timeout=0.0)
    with pytest.raises(errors.SearchTimeout):
        index.search(clustered(1, DIM, 2)[0], 10, recall=0.9, timeout=0.0)
    assert index.calibration() == ()


def test_the_index_may_change_while_it_is_measured() -> None:
    index = made()
    stop = threading.Event()

    def churn() -> None:
        number = N
        while not stop.is_set():
            index.add([number], clustered(1, DIM, number))
            index.delete([number - N])
            number += 1

    writer = threading.Thread(target=churn)
    writer.start()
    try:
        index.calibrate(10, recall=0.95, threads=2)
    finally:
        stop.set()
        writer.join()
    assert achieved(index, clustered(QUERIES, DIM, 2), 10, 0.95) >= 0.94


@pytest.mark.parametrize("recall", [0, -0.1, 1.01, float("nan"), True, "0.9"])
def test_a_recall_out_of_range_is_refused(index: Index, recall: float) -> None:
    for call in (
        lambda: index.search(clustered(1, DIM, 2)[0], recall=recall),
        lambda: index.search_by_id(1, recall=recall),
        lambda: index.calibrate(recall=recall),
    ):
        with pytest.raises(errors.InputError, match="recall"):
            call()


def test_recall_and_ef_search_exclude_each_other(index: Index) -> None:
    with pytest.raises(errors.InputError, match="not both"):
        index.search(clustered(1, DIM, 2)[0], recall=0.9, ef_search=50)
    with pytest.raises(errors.InputError, match="not both"):
        index.search_by_id(1, recall=0.9, ef_search=50)
