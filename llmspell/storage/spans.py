"""Comparisons of a filter as spans of the sorted values of a field, kind by kind.

The kinds are those of stored values: i and f for whole and other numbers, s, b, t, and 0 for None.
Strings are in UTF-8, whose bytes sort as their code points do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from llmspell.storage.filters import In, Prefix, Range
from llmspell.storage.kinds import Tagged

__all__ = ["Span", "common", "spans_of"]

LOWEST: Final = -(1 << 63)
HIGHEST: Final = (1 << 63) - 1


class Span(NamedTuple):
    """Values of one kind from ``low`` to ``high``, None where it is open-ended."""

    kind: str
    low: Any = None
    high: Any = None
    with_low: bool = True
    with_high: bool = True

    @property
    def is_point(self) -> bool:
        """Whether it holds one value at most."""
        return self.low is not None and self.low == self.high


def spans_of(condition: In | Range | Prefix) -> list[Span]:
    """The values that fulfil it, where the field has any."""
    match condition:
        case In(_, values):
            return [span for value in values for span in _equal(value)]
        case Prefix(_, prefix):
            low = prefix.encode()
            return [Span("s", low, low + b"\xff", with_high=False)]  # a byte that UTF-8 never has
        case Range(_, operator, (kind, bound)):
            if kind == "n":
                return [*_whole(operator, bound), _fractional(operator, bound)]
            return [_one_sided(kind, operator, _stored(bound))]


def common(one: Iterable[Span], other: Iterable[Span]) -> list[Span]:
    """What is in both of two sets of spans with at most one of each kind."""
    others = {span.kind: span for span in other}
    return [_both(span, others[span.kind]) for span in one if span.kind in others]


def _both(one: Span, other: Span) -> Span:
    low, with_low = one.low, one.with_low
    if low is None or (other.low is not None and other.low > low):
        low, with_low = other.low, other.with_low
    elif other.low == low:
        with_low = with_low and other.with_low
    high, with_high = one.high, one.with_high
    if high is None or (other.high is not None and other.high < high):
        high, with_high = other.high, other.with_high
    elif other.high == high:
        with_high = with_high and other.with_high
    return Span(one.kind, low, high, with_low, with_high)


def _equal(tagged: Tagged) -> list[Span]:
    kind, value = tagged
    if kind != "n":
        value = _stored(value)
        return [Span(kind, value, value)]
    assert isinstance(value, (int, float))
    found: list[Span] = []
    if value in (math.inf, -math.inf):
        return found
    whole = int(value)
    if whole == value and LOWEST <= whole <= HIGHEST:
        found.append(Span("i", whole, whole))
    near = _nearest(value)
    if near == value:
        found.append(Span("f", near, near))
    return found


def _one_sided(kind: str, operator: str, bound: Any) -> Span:
    closed = operator.endswith("e")
    if operator.startswith("g"):
        return Span(kind, low=bound, with_low=closed)
    return Span(kind, high=bound, with_high=closed)


def _whole(operator: str, bound: Any) -> list[Span]:
    """The 64-bit integers that compare so to a number, of whatever size."""
    if operator.startswith("g"):
        if bound == math.inf:
            return []
        low = LOWEST if bound == -math.inf else math.ceil(bound)
        if operator == "gt" and low == bound:
            low += 1
        return [Span("i", low=max(low, LOWEST))] if low <= HIGHEST else []
    if bound == -math.inf:
        return []
    high = HIGHEST if bound == math.inf else math.floor(bound)
    if operator == "lt" and high == bound:
        high -= 1
    return [Span("i", high=min(high, HIGHEST))] if high >= LOWEST else []


def _fractional(operator: str, bound: Any) -> Span:
    """The floats that compare so to a number: none lies between it and the nearest float."""
    near = _nearest(bound)
    if near == bound:
        return _one_sided("f", operator, near)
    is_above = near > bound
    if operator.startswith("g"):
        return Span("f", low=near, with_low=is_above)
    return Span("f", high=near, with_high=not is_above)


def _nearest(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _stored(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode()
    return 0 if value is None else value
