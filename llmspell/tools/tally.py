"""What a tenant has used of its call quotas, and its places; in memory, by tenant."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from llmspell.quota import Places
from llmspell.tools.leases import Leases
from llmspell.tools.policy import CallQuota

__all__ = ["Tallies", "Tally"]

#: Beyond so many tenants those that have nothing to remember are forgotten.
_KEPT: Final = 1_024
#: Nor are those forgotten that were asked for so many seconds ago: a call may be about to count.
_RECENT: Final = 60.0


class Tally:
    """Calls and places of one tenant. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Reentrant: the collector may end a call of a loop that was closed while this is held.
        self._lock = threading.RLock()
        self._calls: dict[tuple[str, float], deque[float]] = {}
        self._forgets_at = self._clock() + _RECENT
        self._places: dict[int, Places] = {}
        #: Of quotas that are shared.
        self.leases = Leases()

    def now(self) -> float:
        """By its clock."""
        return self._clock()

    def take(
        self, tool: str, quotas: Mapping[str, CallQuota], at: float | None = None
    ) -> tuple[str, float] | None:
        """Count a call of a tool; or say which quota refuses it, and for how many seconds.

        Those that are shared by processes aren't counted here.

        Args:
            tool: its name.
            quotas: by name of a tool, or ``"*"``.
            at: when the call is made; now where None.
        """
        counted = _counted(tool, quotas)
        if not counted:
            return None
        now = self._clock() if at is None else at
        with self._lock:
            for name, quota in counted:
                times = self._calls.setdefault((name, quota.seconds), deque())
                # As the wait is reckoned below: rounded otherwise, a refusal could say to wait 0 s.
                while times and times[0] + quota.seconds <= now:
                    times.popleft()
                if len(times) >= quota.calls:
                    return name, times[len(times) - quota.calls] + quota.seconds - now
            for name, quota in counted:
                self._calls[name, quota.seconds].append(now)
                self._forgets_at = max(self._forgets_at, now + quota.seconds)
        return None

    def give_back(self, tool: str, quotas: Mapping[str, CallQuota], at: float) -> None:
        """Forget a call that :meth:`take` has counted at that time: it isn't made."""
        with self._lock:
            for name, quota in _counted(tool, quotas):
                times = self._calls.get((name, quota.seconds))
                if times is not None and at in times:
                    times.remove(at)

    def places(self, limit: int) -> Places:
        """The tenant's places, by their limit."""
        with self._lock:
            return self._places.setdefault(limit, Places(limit))

    def keep(self) -> None:
        """Remember it a little longer."""
        with self._lock:
            self._forgets_at = max(self._forgets_at, self._clock() + _RECENT)

    def is_idle(self) -> bool:
        """Whether there is nothing to remember of it."""
        with self._lock:
            is_free = not any(places.taken for places in self._places.values())
            is_over = self._clock() >= self._forgets_at
        return is_free and is_over and self.leases.is_idle(time.time())


def _counted(tool: str, quotas: Mapping[str, CallQuota]) -> list[tuple[str, CallQuota]]:
    """The quotas that count a call of a tool in this process."""
    found = [(name, quotas[name]) for name in (tool, "*") if name in quotas]
    return [(name, quota) for name, quota in found if not quota.shared]


class Tallies:
    """One for each tenant, whatever handles lead to it. Thread-safe."""

    def __init__(self) -> None:
        # Reentrant: the collector may end a call of a loop that was closed while this is held.
        self._lock = threading.RLock()
        self._of: dict[tuple[str, int], Tally] = {}

    def of(self, tenant: str, generation: int) -> Tally:
        """The tally of a tenant; not of a former one of the same id."""
        with self._lock:
            found = self._of.get((tenant, generation))
            if found is None:
                if len(self._of) >= _KEPT:
                    self._of = {key: one for key, one in self._of.items() if not one.is_idle()}
                found = self._of[tenant, generation] = Tally()
            found.keep()
            return found

    def all(self) -> list[Tally]:
        """Those that are remembered."""
        with self._lock:
            return list(self._of.values())
