"""When a request that failed is made again."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

__all__ = ["retry_after", "wait_before"]

_MAX_RETRY_AFTER: Final = 86_400.0


def wait_before(
    number: int, *, retries: int, base: float, longest: float = math.inf, asked: float | None = None
) -> float | None:
    """Seconds before a retry; None where there is none.

    Waits double, with full jitter (M. Brooker, Exponential Backoff And Jitter, AWS Architecture
    Blog, 2015), on top of what the service asked for.

    Args:
        number: of the retry, from 0.
        retries: at most.
        base: seconds; the wait is a random part of ``base * 2 ** number``.
        longest: seconds; nothing is made again where the service asks for more.
        asked: by the service, as :func:`retry_after` reads it.
    """
    if number >= retries or (asked or 0.0) > longest:
        return None
    return (asked or 0.0) + random.uniform(0.0, min(longest, base * 2.0**number))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of ``Retry-After``, a number or a date (RFC 9110, 10.2.3); a day at most.

    ``retry-after-ms``, which some services send besides, is finer and goes before.

    Args:
        headers: with names in lower case, or found in any.
    """
    for name, unit in (("retry-after-ms", 1_000.0), ("retry-after", 1.0)):
        seconds = _seconds_of(headers.get(name))
        if seconds is not None:
            return min(max(0.0, seconds / unit), _MAX_RETRY_AFTER)
    return None


def _seconds_of(given: str | None) -> float | None:
    """What a header says; None where it says nothing that can be waited for."""
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        from email.utils import parsedate_to_datetime  # few services give a date

        try:
            at = parsedate_to_datetime(given)
        except (OverflowError, TypeError, ValueError):
            return None
        # "-0000" is read as a time of nowhere, and is one of UTC.
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        seconds = (at - datetime.now(UTC)).total_seconds()
    return seconds if math.isfinite(seconds) else None
