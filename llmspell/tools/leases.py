"""Calls of shared quotas that this process has taken beforehand, to make without writing."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from llmspell.state import State

__all__ = ["Key", "Lease", "Leases"]

Key: TypeAlias = tuple[str | int, ...]
"""Of the state, where a quota is counted."""


@dataclass(slots=True, eq=False)
class Lease:
    """Calls of one quota that are this process's to make, and that count for all others.

    Args:
        number: by which the state knows it.
        at: seconds since 1970, when it was taken.
        until: when it ends; calls are counted as made then by all but this process.
        left: calls that weren't made yet.
        ends: as ``until``, by the clock that goes on evenly, which nobody sets back.
        used: when the others were made.
        is_told: whether the state is told of it, or may have been, so that it stays as it is.
    """

    number: int
    at: float
    until: float
    left: int
    ends: float
    used: list[float] = field(default_factory=list)
    is_told: bool = False

    def has_call(self, now: float) -> bool:
        """Whether a call of it may be made."""
        is_over = now >= self.until or time.monotonic() >= self.ends
        return self.left > 0 and not self.is_told and not is_over


class Leases:
    """The leases of one tenant in this process; times are seconds since 1970. Thread-safe.

    A lease that the state is told of is no more to be had, also where telling it failed: it may
    have been told all the same, and doesn't count for others then.
    """

    def __init__(self) -> None:
        # Reentrant: the collector may end a call of a loop that was closed while this is held.
        self._lock = threading.RLock()
        self._of: dict[Key, list[Lease]] = {}
        self._pid = os.getpid()
        #: Where they are kept; known with the first one.
        self.state: State | None = None

    def take(self, key: Key, now: float) -> tuple[Lease, float] | None:
        """Make a call of a lease that there is: of which, and when."""
        with self._lock:
            if self._pid != os.getpid():  # they are those of the process that this is a fork of
                self._of, self._pid = {}, os.getpid()
            for lease in self._of.get(key, ()):
                if lease.has_call(now):
                    lease.left -= 1
                    # A clock that was set back doesn't let a call count from before its lease.
                    lease.used.append(max(now, lease.at))
                    return lease, lease.used[-1]
        return None

    def give_back(self, key: Key, lease: Lease, at: float) -> bool:
        """Forget a call that isn't made; False where the state has been told of it."""
        with self._lock:
            if lease.is_told or lease not in self._of.get(key, ()):
                return False
            lease.used.remove(at)
            lease.left += 1
            return True

    def pop_over(self, key: Key, now: float) -> list[Lease]:
        """Take away those that are used up or have ended; whoever does tells the state of them."""
        with self._lock:
            held = self._of.get(key, [])
            found = [lease for lease in held if not lease.has_call(now)]
            self._of[key] = [lease for lease in held if lease not in found]
            for lease in found:
                lease.is_told = True
            return found

    def put(self, key: Key, leases: Iterable[Lease]) -> None:
        """Have new ones; or such that the state couldn't be told of, to tell it again."""
        with self._lock:
            self._of.setdefault(key, []).extend(leases)

    def pop_all(self) -> dict[Key, list[Lease]]:
        """Take away all of them; whoever does tells the state of them."""
        with self._lock:
            found, self._of = self._of, {}
            return found if self._pid == os.getpid() else {}

    def is_idle(self, now: float) -> bool:
        """Whether no call can be made of any."""
        with self._lock:
            held = (lease for leases in self._of.values() for lease in leases)
            return not any(lease.has_call(now) for lease in held)
