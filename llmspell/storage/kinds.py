"""The kinds of values that metadata holds and filters compare, and times among them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

__all__ = ["NONE", "Scalar", "Tagged", "as_utc", "from_iso", "microseconds", "tag"]

Scalar: TypeAlias = str | int | float | bool | datetime | None

#: A kind (s, n, b, t, or 0 for None) and a value of it; a time is its microseconds since 1970.
Tagged: TypeAlias = tuple[str, str | int | float | None]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)


def tag(value: Scalar) -> Tagged:
    """A value with its kind: equal numbers are one value, as in Python, but True is not 1."""
    if isinstance(value, bool):
        return "b", value
    if isinstance(value, (int, float)):
        return "n", value
    if isinstance(value, datetime):
        return "t", microseconds(value)
    return ("s", value) if isinstance(value, str) else NONE


NONE: Final[Tagged] = ("0", None)


def microseconds(time: datetime) -> int:
    """Microseconds since 1970, UTC, of an aware datetime; exact."""
    return (time - EPOCH) // MICROSECOND


def as_utc(time: datetime) -> datetime:
    """The same moment in UTC, as a plain datetime.

    Raises:
        ValueError: it has no UTC offset, or is out of datetime's range in UTC.
    """
    if time.utcoffset() is None:
        raise ValueError("a time needs a UTC offset, such as tzinfo=datetime.UTC")
    try:
        return EPOCH + microseconds(time) * MICROSECOND  # of a subclass, a plain datetime
    except OverflowError:
        raise ValueError("the time is out of range in UTC, years 1 to 9999") from None


def from_iso(text: str) -> datetime:
    """The moment, in UTC, that an ISO 8601 string gives.

    Raises:
        ValueError: it gives none, or none with a UTC offset.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("not an ISO 8601 time such as '2024-05-01T12:00:00Z'") from None
    if time.utcoffset() is None:
        raise ValueError("a time needs a UTC offset, as in '2024-05-01T12:00:00Z'")
    return as_utc(time)
