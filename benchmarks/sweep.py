"""Measuring several peers in turn over their settings, and the curves that come of it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks import curve
from benchmarks.process import PeerProcess, say

__all__ = ["Sweep", "rounded", "sweep"]

_DIGITS = {"recall": 5, "cpu_share": 3, "ef_search": 1}


@dataclass
class Sweep:
    """A peer, the values of its search parameter to measure, and what was measured.

    The curve ends with the first setting that reaches ``enough``, or where three settings more
    have found nothing more: nobody asks for what lies beyond.
    """

    peer: PeerProcess
    settings: Sequence[int]
    enough: float
    rounds: dict[int, list[Mapping[str, Any]]] = field(default_factory=dict)
    finished_at: int | None = None

    def wants(self, step: int) -> bool:
        """Whether the curve has a point at that place of its settings."""
        if self.peer.error is not None or step >= len(self.settings):
            return False
        return self.finished_at is None or self.settings[step] <= self.finished_at

    def add(self, setting: int, measured: Mapping[str, Any]) -> None:
        """Keep what one round gave."""
        self.rounds.setdefault(setting, []).append(measured)
        if self.finished_at is None and (measured["recall"] >= self.enough or self._is_flat()):
            self.finished_at = setting

    def _is_flat(self) -> bool:
        recalls = [rounds[0]["recall"] for _, rounds in sorted(self.rounds.items())]
        # Low recalls may stand still at first: under a filter, until the walk reaches the set.
        if len(recalls) < 4 or recalls[-4] < 0.5:
            return False
        return bool(max(recalls[-3:]) <= recalls[-4])

    def points(self) -> list[curve.Point]:
        """Medians over the rounds."""
        return [_point(setting, rounds) for setting, rounds in sorted(self.rounds.items())]

    def describe(self, targets: Sequence[float]) -> dict[str, Any]:
        """The points, and the readings at ``targets``, as JSON values."""
        points = self.points()
        readings = {curve.label(target): curve.at_recall(points, target) for target in targets}
        return {
            "points": [rounded(asdict(point)) for point in points],
            "at_recall": {
                target: None if reading is None else rounded(asdict(reading))
                for target, reading in readings.items()
            },
        }


def sweep(
    sweeps: Sequence[Sweep], rounds: int, request: Callable[[int], Mapping[str, Any]], what: str
) -> None:
    """Ask each peer in turn for each of its settings, ``rounds`` times, in an order that rotates.

    Args:
        sweeps: one a peer.
        rounds: how often.
        request: what to ask for a setting.
        what: named in what is said meanwhile.
    """
    for number in range(rounds):
        for step in range(max((len(one.settings) for one in sweeps), default=0)):
            turn = (number + step) % len(sweeps)
            for one in (*sweeps[turn:], *sweeps[:turn]):
                if not one.wants(step):
                    continue
                setting = one.settings[step]
                measured = one.peer.attempt(**request(setting))
                if measured is None:
                    continue
                one.add(setting, measured)
                say(
                    f"{what} {number + 1} {one.peer.spec!s:>18} at {setting:>4}"
                    f" recall {measured['recall']:.4f} {measured['qps']:>9,.0f} QPS"
                )


def rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Floats to the digits that mean something."""
    return {
        name: round(value, _DIGITS.get(name, 2)) if isinstance(value, float) else value
        for name, value in values.items()
    }


def _point(setting: int, rounds: Sequence[Mapping[str, Any]]) -> curve.Point:
    def middle(name: str) -> float:
        return statistics.median(float(measured[name]) for measured in rounds)

    timed = "p50_us" in rounds[0]
    return curve.Point(
        ef_search=setting,
        recall=middle("recall"),
        qps=middle("qps"),
        qps_min=min(measured["qps"] for measured in rounds),
        qps_max=max(measured["qps"] for measured in rounds),
        p50_us=middle("p50_us") if timed else None,
        p99_us=middle("p99_us") if timed else None,
        cpu_share=middle("cpu_share"),
    )
