from __future__ import annotations

from typing import cast

import pytest

from benchmarks.process import PeerProcess
from benchmarks.sweep import Sweep


class Running:
    """As much of a peer's process as a curve asks for."""

    error: str | None = None


def measured(recall: float, qps: float = 1000.0) -> dict[str, float]:
    return {"recall": recall, "qps": qps, "p50_us": 1.0, "p99_us": 2.0, "cpu_share": 1.0}


def sweep_of(*recalls: float) -> Sweep:
    one = Sweep(cast(PeerProcess, Running()), (10, 20, 40, 80, 160, 320), 0.997)
    for step, recall in enumerate(recalls):
        assert one.wants(step)
        one.add(one.settings[step], measured(recall))
    return one


def test_a_curve_ends_with_the_first_setting_that_reaches_enough() -> None:
    one = sweep_of(0.9, 0.998)
    assert not one.wants(2)
    assert one.wants(0)
    assert one.wants(1)


def test_a_curve_ends_where_three_settings_more_find_nothing_more() -> None:
    assert not sweep_of(0.9, 0.96, 0.96, 0.959, 0.96).wants(5)
    assert sweep_of(0.9, 0.96, 0.96, 0.961, 0.961).wants(5)


def test_a_curve_that_has_found_little_goes_on() -> None:
    assert sweep_of(0.0, 0.0, 0.0, 0.0, 0.1).wants(5)


def test_a_peer_that_failed_is_asked_no_more() -> None:
    one = sweep_of(0.9)
    one.peer.error = "exit status -4"
    assert not one.wants(1)


def test_points_are_medians_over_the_rounds_with_the_worst_and_the_best() -> None:
    one = sweep_of(0.9)
    one.add(10, measured(0.9, 3000.0))
    one.add(10, measured(0.9, 2000.0))
    (point,) = one.points()
    assert (point.qps, point.qps_min, point.qps_max) == (2000.0, 1000.0, 3000.0)
    assert point.p50_us == pytest.approx(1.0)
