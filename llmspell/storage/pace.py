"""A bound on how fast something reads, and how it is stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

__all__ = ["Pace", "Stopped"]

#: Bytes between two looks at the clock: what a read transaction reads.
PAGE_BYTES: Final = 1 << 20
#: At a bounded rate so many pages are read in a second, or fewer, so that waits are short.
PAGES_A_SECOND: Final = 8
#: Seconds of a wait, at most, before it is asked again whether to stop.
PATIENCE: Final = 0.25


class Stopped(Exception):
    """What reads was told to stop; it never leaves the call that it stops."""


class Pace:
    """Keeps what one thread reads to a rate.

    Args:
        rate: bytes a second; None is as fast as it can.
        stop: whether to stop.
    """

    __slots__ = ("_due", "_rate", "_stop", "bytes", "page_bytes")

    def __init__(self, rate: float | None, stop: Callable[[], bool]) -> None:
        self._rate = rate
        self._stop = stop
        self._due = time.monotonic()
        #: Read so far.
        self.bytes = 0
        #: To read between two calls of :meth:`spend`, or one entry where that is larger.
        self.page_bytes = PAGE_BYTES
        if rate is not None:
            self.page_bytes = max(1, min(PAGE_BYTES, int(rate / PAGES_A_SECOND)))

    def spend(self, read: int) -> None:
        """Count bytes that were read, and wait until more may be; raises Stopped."""
        self.bytes += read
        if self._stop():
            raise Stopped
        if self._rate is None:
            return
        # What it was slower by is not made up for later.
        self._due = max(self._due, time.monotonic()) + read / self._rate
        while (rest := self._due - time.monotonic()) > 0:
            time.sleep(min(rest, PATIENCE))
            if self._stop():
                raise Stopped
