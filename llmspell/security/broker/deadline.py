"""One moment by which all of something must be done."""

from __future__ import annotations

import math
import time

from llmspell.errors import EgressTimeout

__all__ = ["Deadline"]


class Deadline:
    """So many seconds from now, on the monotonic clock."""

    __slots__ = ("at", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.at = time.monotonic() + seconds

    def left(self, most: float = math.inf) -> float:
        """Seconds until then, or ``most`` where that is less.

        Raises:
            EgressTimeout: none are left.
        """
        left = min(self.at - time.monotonic(), most)
        if left <= 0:
            raise EgressTimeout(f"it took longer than {self.seconds:.3g} s", reason="time")
        return left
