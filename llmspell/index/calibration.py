"""What an index has measured of its own recall."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from llmspell import _core
from llmspell.errors import InputError

__all__ = ["RecallCurve", "RecallPoint", "adopt", "as_recall", "curves_of"]


@dataclass(frozen=True, slots=True)
class RecallPoint:
    """The recall of searches of one width.

    Attributes:
        ef_search: the width.
        recall: mean share of the true nearest that was found.
        error: standard error of that mean, and one in the number of queries.
    """

    ef_search: int
    recall: float
    error: float


@dataclass(frozen=True, slots=True)
class RecallCurve:
    """Recall by width, measured against exact answers.

    Attributes:
        k: of the nearest; used for fewer too, down to the next smaller curve there may be.
        quantized: of searches by codes; else by the vectors.
        vectors: that the index held.
        changed: share of them that has changed since, 0 to 1. Each addition, each deletion and
            each slot that is freed counts.
        stored_queries: how many stored vectors were searched for, as if they weren't there; 0
            where recent queries were.
        asked_queries: how many recent queries were; 0 where stored vectors were.
        points: wider and wider; none where a sweep is cheaper than any walk.
    """

    k: int
    quantized: bool
    vectors: int
    changed: float
    stored_queries: int
    asked_queries: int
    points: tuple[RecallPoint, ...]

    def recall_at(self, ef_search: int) -> float | None:
        """Estimate the recall of a width, between points by its logarithm; None without points.

        Beyond the last point it is that of the last, below the first that of the first.
        """
        if not self.points:
            return None
        widths = [math.log(point.ef_search) for point in self.points]
        recalls = [point.recall for point in self.points]
        return float(np.interp(math.log(ef_search), widths, recalls))

    def width_for(self, recall: float) -> int | None:
        """Return the least ``ef_search`` that reaches ``recall``, its error allowed for.

        None where no point does: a search for that recall measures on, or is exact.
        """
        points = [(point.ef_search, point.recall, point.error) for point in self.points]
        return _core.width_for(points, as_recall(recall, None))


def curves_of(core: _core.Index) -> tuple[RecallCurve, ...]:
    """Return what the core has measured."""
    return tuple(
        RecallCurve(**{**curve, "points": tuple(RecallPoint(*point) for point in curve["points"])})
        for curve in core.calibration()
    )


def adopt(core: _core.Index, curve: RecallCurve) -> None:
    """Give the core what was measured of another index of its content.

    Raises:
        InputError: it is nothing that can be measured.
    """
    try:
        core.adopt(
            curve.k,
            curve.quantized,
            curve.vectors,
            curve.changed,
            curve.stored_queries,
            curve.asked_queries,
            [(point.ef_search, point.recall, point.error) for point in curve.points],
        )
    except TypeError:
        raise InputError(f"a recall curve holds counts and shares, got {curve!r}") from None


def as_recall(recall: float, ef_search: int | None) -> float:
    """Return a recall to aim at.

    Raises:
        InputError: it is no number above 0 and up to 1, or ``ef_search`` is given as well.
    """
    number = isinstance(recall, (int, float, np.integer, np.floating))
    if not number or isinstance(recall, bool) or not 0 < recall <= 1:
        raise InputError(f"recall must be a number above 0 and at most 1, got {recall!r}")
    if ef_search is not None:
        raise InputError("give recall or ef_search, not both: one decides the other")
    return float(recall)
