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
    milliseconds, given = headers.get("retry-after-ms"), headers.get("retry-after")
    try:
        if milliseconds is not None:
            seconds = float(milliseconds) / 1_000
        elif given is None:
            return None
        else:
            try:
                seconds = float(given)
            except ValueError:
                from email.utils import parsedate_to_datetime  # few services give a date

                seconds = (parsedate_to_datetime(given) - datetime.now(UTC)).total_seconds()
    except (OverflowError, TypeError, ValueError):
        return None
    if not math.isfinite(seconds):
        return None
    return min(max(0.0, seconds), _MAX_RETRY_AFTER)
