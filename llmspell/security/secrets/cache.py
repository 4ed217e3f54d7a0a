"""Values that were read a while ago, and one reading at a time of each."""

from __future__ import annotations

import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from llmspell.errors import ConfigError, SecretUnavailable
from llmspell.security.secrets.backend import PerProcess
from llmspell.security.secrets.ref import SecretRef
from llmspell.security.secrets.secret import Secret

__all__ = ["Answer", "Found", "SecretCache", "elapsed"]

Places = tuple[SecretRef, ...]

# Above what a backend's own timeouts add up to; it guards against one that has none.
WAIT_SECONDS: Final = 60.0


def elapsed() -> float:
    """Seconds on a clock that no one sets, and that goes on while the machine sleeps."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    else:
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class Found:
    """A value, and where it was."""

    secret: Secret[str]
    place: SecretRef


@dataclass(frozen=True, slots=True)
class Answer:
    """What the cache has to say."""

    found: Found
    is_cached: bool = False
    is_stale: bool = False


@dataclass(slots=True)
class _Entry:
    found: Found
    expires: float


@dataclass(slots=True)
class _Flight:
    """One reading, which several threads may wait for."""

    leader: int = field(default_factory=threading.get_ident)
    landed: threading.Event = field(default_factory=threading.Event)
    found: Found | None = None
    error: Exception | None = None


@dataclass(slots=True)
class _State:
    lock: threading.Lock = field(default_factory=threading.Lock)
    entries: OrderedDict[Places, _Entry] = field(default_factory=OrderedDict)
    flights: dict[Places, _Flight] = field(default_factory=dict)


class SecretCache:
    """Values by the places that they are looked for in. Thread-safe; empty after a fork.

    Args:
        ttl: seconds that a value is used for, from when its reading began.
        stale_grace: seconds more, while its backend is unavailable.
        clock: in seconds.
        limit: values that are kept; the one that was used longest ago goes first.
    """

    def __init__(
        self, *, ttl: float, stale_grace: float, clock: Callable[[], float], limit: int
    ) -> None:
        self._ttl = ttl
        self._grace = stale_grace
        self._clock = clock
        self._limit = limit
        self._state = PerProcess(_State)

    def get(self, places: Places, fetch: Callable[[], Found], *, anew: bool = False) -> Answer:
        """The value, from ``fetch`` where it isn't here or is past its expiry.

        Args:
            places: the key.
            fetch: reads it; called by one thread at a time, but for ``anew``.
            anew: what is here expires now, and no reading that began before is of use.

        Raises:
            ConfigError: the reading needs itself.
            Exception: what ``fetch`` raises, to all that waited for it.
        """
        state = self._state.get()
        while True:
            with state.lock:
                entry = state.entries.get(places)
                now = self._clock()
                if entry is not None and anew:
                    entry.expires = min(entry.expires, now)
                elif entry is not None and now < entry.expires:
                    state.entries.move_to_end(places)
                    return Answer(entry.found, is_cached=True)
                flight = None if anew else state.flights.get(places)
                leads = flight is None
                if flight is None:
                    flight = state.flights[places] = _Flight()
            try:
                if leads:
                    found: Found | None = self._lead(state, places, flight, fetch, now)
                else:
                    found = _follow(state, places, flight)
            except SecretUnavailable:
                stale = self._within_grace(state, places)
                if anew or stale is None:
                    raise
                return Answer(stale, is_cached=True, is_stale=True)
            if found is not None:
                return Answer(found, is_cached=not leads)

    def _lead(
        self,
        state: _State,
        places: Places,
        flight: _Flight,
        fetch: Callable[[], Found],
        began: float,
    ) -> Found:
        try:
            flight.found = fetch()
            self._keep(state, places, flight, _Entry(flight.found, began + self._ttl))
            return flight.found
        except Exception as error:
            flight.error = error
            if not isinstance(error, SecretUnavailable):
                self._drop(state, places, flight)
            raise
        finally:
            with state.lock:
                if state.flights.get(places) is flight:
                    del state.flights[places]
            flight.landed.set()

    def _keep(self, state: _State, places: Places, flight: _Flight, entry: _Entry) -> None:
        """Unless a reading that began later is under way, or has ended."""
        with state.lock:
            if state.flights.get(places) is not flight:
                return
            gone = self._clock() - self._grace
            for key in [key for key, kept in state.entries.items() if kept.expires <= gone]:
                del state.entries[key]
            state.entries[places] = entry
            state.entries.move_to_end(places)
            while len(state.entries) > self._limit:
                state.entries.popitem(last=False)

    def _drop(self, state: _State, places: Places, flight: _Flight) -> None:
        """What is gone or denied isn't used for the rest of its time."""
        with state.lock:
            if state.flights.get(places) is flight:
                state.entries.pop(places, None)

    def _within_grace(self, state: _State, places: Places) -> Found | None:
        with state.lock:
            entry = state.entries.get(places)
            if entry is None or self._clock() >= entry.expires + self._grace:
                return None
            return entry.found

    def current(self, places: Places) -> Secret[str] | None:
        """The value that is kept, whatever its age."""
        state = self._state.get()
        with state.lock:
            entry = state.entries.get(places)
        return None if entry is None else entry.found.secret

    def expire_all(self) -> None:
        """From now on nothing is used that was read before, or whose reading began before."""
        state = self._state.get()
        with state.lock:
            now = self._clock()
            for entry in state.entries.values():
                entry.expires = min(entry.expires, now)
            state.flights.clear()


def _follow(state: _State, places: Places, flight: _Flight) -> Found | None:
    """What another thread reads; None where that was interrupted, and somebody else must."""
    if flight.leader == threading.get_ident():
        raise ConfigError(
            f"reading {places[0]} needs {places[0]} itself: a backend's own credentials can't lie "
            "in it"
        )
    if not flight.landed.wait(WAIT_SECONDS):
        with state.lock:  # or nobody would read it again, had its leader ended without a word
            if state.flights.get(places) is flight:
                del state.flights[places]
        raise SecretUnavailable(
            f"{places[0]}: another thread has been reading it for {WAIT_SECONDS:.0f} s"
        )
    if flight.error is not None:
        raise flight.error
    return flight.found
