"""When a server that failed is asked again."""

from __future__ import annotations

import threading
import time

__all__ = ["FIRST_S", "MOST_S", "Breaker"]

#: Seconds that a server which failed is left alone; doubled each time that it fails again.
FIRST_S = 1.0
MOST_S = 60.0


class Breaker:
    """Whether a server is left alone, for it failed. Thread-safe.

    Nobody is made to wait so that it be tried again: whoever is told that it is due does that
    beside.
    """

    def __init__(self) -> None:
        """Closed: the server is asked."""
        self._lock = threading.Lock()
        self._pause = FIRST_S
        self._until: float | None = None
        self._is_tried = False

    @property
    def is_closed(self) -> bool:
        """Whether the server is to be asked."""
        return self._until is None

    def fail(self) -> None:
        """Leave the server alone; of calls that fail side by side the first one counts."""
        with self._lock:
            if self._until is not None and not self._is_tried:
                return
            self._until = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, MOST_S)
            self._is_tried = False

    def is_due(self) -> bool:
        """Whether to try the server now; True once, until it has failed again."""
        with self._lock:
            if self._until is None or self._is_tried or time.monotonic() < self._until:
                return False
            self._is_tried = True
            return True

    def mend(self) -> None:
        """Ask the server again; where it fails at once, it is left alone for longer than before."""
        with self._lock:
            self._until = None
            self._is_tried = False

    def succeed(self) -> None:
        """It gave what it was asked for."""
        if self._pause > FIRST_S and self.is_closed:
            with self._lock:
                self._pause = FIRST_S
