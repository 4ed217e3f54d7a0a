"""Permits to be in a transaction: an environment closes when it has all of them back."""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections import deque
from typing import Final

__all__ = ["Permit", "Permits"]

POLL_SECONDS: Final = 0.001


class Permit:
    """Held by each transaction; one that an exception from elsewhere let fall counts no more.

    Attributes:
        thread: that holds it; 0 while it is idle, and where one is just about to.
    """

    __slots__ = ("__weakref__", "thread")

    def __init__(self) -> None:
        self.thread = threading.get_ident()


class Permits:
    """Of one environment. Thread-safe, and without a lock: each transaction takes one."""

    __slots__ = ("_alive", "_idle", "_returned")

    def __init__(self) -> None:
        self._idle: deque[Permit] = deque()
        self._returned = self._idle
        self._alive: weakref.WeakSet[Permit] = weakref.WeakSet()

    def take(self) -> Permit | None:
        """An idle one; None where all are in use, or are being taken back."""
        # First: behind the pop no exception from elsewhere may come before the permit has a thread.
        this = threading.get_ident()
        try:
            permit = self._idle.pop()
        except IndexError:
            return None
        permit.thread = this
        return permit

    def add(self) -> Permit:
        """One more, taken."""
        permit = Permit()
        self._alive.add(permit)
        return permit

    def give_back(self, permit: Permit) -> None:
        """Let others have it."""
        # Who takes all back mustn't count it as one that was lost, where another takes it just now.
        permit.thread = 0
        self._returned.append(permit)

    def renew(self) -> None:
        """Give some again, behind :meth:`take_all_back`."""
        self._idle = self._returned = deque()

    def take_all_back(self, patience: float = math.inf) -> bool:
        """Give none from now on; whether all were back within so many seconds."""
        deadline = time.monotonic() + patience
        # What comes back stays back: readers could go on handing them to each other for ever.
        self._idle = deque()
        # A transaction holds a permit; unmapping under one would crash the process. What this
        # thread still holds, it lost to an exception from elsewhere, whose traceback keeps it.
        # Looked at one by one: where the collector takes an environment with its permits, those are
        # gone already, and the set still counts them.
        this = threading.get_ident()
        while True:
            try:
                # A traceback may keep one alive that was given back.
                self._alive.discard(self._returned.pop())
            except IndexError:
                if all(permit.thread == this for permit in self._alive):
                    return True
                if time.monotonic() > deadline:
                    return False
                time.sleep(POLL_SECONDS)
