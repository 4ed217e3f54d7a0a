"""Reading a recall/speed curve at a fixed recall."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["TARGETS", "AtRecall", "Point", "at_recall", "frontier", "label"]

TARGETS = (0.90, 0.95, 0.98, 0.99, 0.995)


@dataclass(frozen=True, kw_only=True)
class Point:
    """One setting of one peer: medians over the rounds.

    ``qps`` is one over the mean latency; ``qps_min`` and ``qps_max`` are the worst and best
    round. ``cpu_share`` is CPU time over wall time: above the number of threads asked for, the
    library took more; below, something else had the core. Batches have no single latencies.
    """

    ef_search: int
    recall: float
    qps: float
    qps_min: float
    qps_max: float
    p50_us: float | None
    p99_us: float | None
    cpu_share: float


@dataclass(frozen=True, kw_only=True)
class AtRecall:
    """What a peer gives at a recall; ``measured`` where no interpolation was needed.

    Where the smallest setting reaches more recall than asked, its own figures stand: it is
    the fastest that was measured.
    """

    recall: float
    qps: float
    p50_us: float | None
    p99_us: float | None
    ef_search: float
    measured: bool


def label(target: float) -> str:
    """A recall as text, two decimals or, where it has more, three: the key in a result."""
    short = f"{target:.2f}"
    return short if float(short) == target else f"{target:.3f}"


def frontier(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats in both recall and speed, by rising recall."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (-p.recall, -p.qps)):
        if not best or point.qps > best[-1].qps:
            best.append(point)
    return best[::-1]


def at_recall(points: Sequence[Point], target: float) -> AtRecall | None:
    """Interpolate between the two neighbours on the frontier; None above the best recall.

    Log of each figure against log of the miss rate ``1 - recall``: on these axes the curves
    of graph indexes are close to straight lines.
    """
    line = frontier(points)
    if not line or target > line[-1].recall:
        return None
    upper = next(i for i, point in enumerate(line) if point.recall >= target)
    high = line[upper]
    if upper == 0 or high.recall == target:
        return AtRecall(
            recall=high.recall,
            qps=high.qps,
            p50_us=high.p50_us,
            p99_us=high.p99_us,
            ef_search=high.ef_search,
            measured=True,
        )
    low = line[upper - 1]
    span = _log_miss(high.recall) - _log_miss(low.recall)
    share = (_log_miss(target) - _log_miss(low.recall)) / span

    def between(a: float, b: float) -> float:
        return math.exp(math.log(a) + share * (math.log(b) - math.log(a)))

    def if_timed(a: float | None, b: float | None) -> float | None:
        return None if a is None or b is None else between(a, b)

    return AtRecall(
        recall=target,
        qps=between(low.qps, high.qps),
        p50_us=if_timed(low.p50_us, high.p50_us),
        p99_us=if_timed(low.p99_us, high.p99_us),
        ef_search=between(low.ef_search, high.ef_search),
        measured=False,
    )


def _log_miss(recall: float) -> float:
    # A perfect score has no logarithm; it counts as one miss in a hundred thousand.
    return math.log(max(1.0 - recall, 1e-5))
