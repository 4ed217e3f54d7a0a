from __future__ import annotations

import dataclasses
import math

import pytest

from benchmarks.curve import TARGETS, Point, at_recall, frontier, label


def point(ef_search: int, recall: float, qps: float) -> Point:
    return Point(
        ef_search=ef_search,
        recall=recall,
        qps=qps,
        qps_min=qps,
        qps_max=qps,
        p50_us=1e6 / qps,
        p99_us=2e6 / qps,
        cpu_share=1.0,
    )


def test_reading_lies_on_the_straight_line_in_log_miss_and_log_speed() -> None:
    reading = at_recall([point(10, 0.9, 8000.0), point(100, 0.99, 2000.0)], 1 - 10**-1.5)
    assert reading is not None
    assert reading.qps == pytest.approx(4000.0)
    assert reading.p50_us == pytest.approx(250.0)
    assert reading.ef_search == pytest.approx(math.sqrt(10 * 100))
    assert not reading.measured


def test_reading_above_the_best_recall_is_absent() -> None:
    assert at_recall([point(10, 0.9, 8000.0), point(100, 0.97, 2000.0)], 0.98) is None
    assert at_recall([], 0.9) is None


def test_smallest_setting_stands_for_recalls_below_it() -> None:
    reading = at_recall([point(10, 0.93, 8000.0), point(100, 0.99, 2000.0)], 0.9)
    assert reading is not None
    assert (reading.qps, reading.recall, reading.measured) == (8000.0, 0.93, True)


def test_measured_recall_is_read_without_interpolation() -> None:
    reading = at_recall([point(10, 0.9, 8000.0), point(20, 0.95, 3000.0)], 0.95)
    assert reading is not None
    assert (reading.qps, reading.measured) == (3000.0, True)


def test_frontier_drops_points_beaten_in_both_recall_and_speed() -> None:
    kept = frontier([point(10, 0.9, 5000.0), point(20, 0.92, 6000.0), point(30, 0.95, 4000.0)])
    assert [p.ef_search for p in kept] == [20, 30]


def test_perfect_recall_can_be_an_end_of_the_line() -> None:
    reading = at_recall([point(10, 0.9, 8000.0), point(100, 1.0, 1000.0)], 0.99)
    assert reading is not None
    assert 1000.0 < reading.qps < 8000.0


def test_labels_of_recalls_are_short_and_differ() -> None:
    assert [label(target) for target in TARGETS] == ["0.90", "0.95", "0.98", "0.99", "0.995"]


def test_points_without_latencies_are_read_without_them() -> None:
    points = [
        dataclasses.replace(point(ef, recall, qps), p50_us=None, p99_us=None)
        for ef, recall, qps in ((10, 0.9, 8000.0), (100, 0.99, 2000.0))
    ]
    reading = at_recall(points, 0.95)
    assert reading is not None
    assert (reading.p50_us, reading.p99_us) == (None, None)
    assert 2000.0 < reading.qps < 8000.0
