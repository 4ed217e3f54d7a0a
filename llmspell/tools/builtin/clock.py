"""Dates and times: what time it is, and what lies between two."""

from __future__ import annotations

import datetime
from typing import Any
from zoneinfo import ZoneInfo

from llmspell.security import SecurityLevel
from llmspell.tools import tool

__all__ = ["current_time", "date_difference", "shift_date"]

# What is between a worker and the files of time zones is more than these few lines could do.
_here = tool(trusted=True, level=SecurityLevel.SAFE, idempotent=True)


@_here
def current_time(timezone: str = "UTC") -> dict[str, Any]:
    """Tell the date and time now.

    Args:
        timezone: of the IANA's names, such as "Europe/Berlin".
    """
    return _told(datetime.datetime.now(_zone(timezone)))


@_here
def date_difference(start: str, end: str) -> dict[str, Any]:
    """Tell how long it is from one date, or date with a time, to another.

    Args:
        start: in ISO 8601, such as "2026-03-01" or "2026-03-01T12:00:00+01:00"; UTC without offset.
        end: likewise; before the start, the result is negative.
    """
    between = _read(end) - _read(start)
    return {
        "days": between.days + between.seconds / 86_400 + between.microseconds / 86_400e6,
        "seconds": between.total_seconds(),
    }


@_here
def shift_date(
    date: str, days: float = 0, hours: float = 0, minutes: float = 0, timezone: str = "UTC"
) -> dict[str, Any]:
    """Tell the date and time that is so much later; negative numbers are earlier.

    Args:
        date: in ISO 8601; UTC without offset.
        timezone: in which the result is told, of the IANA's names.
    """
    later = _read(date) + datetime.timedelta(days=days, hours=hours, minutes=minutes)
    return _told(later.astimezone(_zone(timezone)))


def _read(text: str) -> datetime.datetime:
    found = datetime.datetime.fromisoformat(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=datetime.UTC)


def _zone(name: str) -> datetime.tzinfo:
    if name.upper() in ("UTC", "Z"):
        return datetime.UTC
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError(f"there is no time zone {name[:50]!r}") from None


def _told(moment: datetime.datetime) -> dict[str, Any]:
    return {
        "iso": moment.isoformat(timespec="seconds"),
        "weekday": f"{moment:%A}",
        "week": moment.isocalendar().week,
        "unix": int(moment.timestamp()),
    }
