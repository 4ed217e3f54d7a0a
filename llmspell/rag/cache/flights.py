"""Texts that are being embedded: whoever wants one of them meanwhile waits for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from llmspell.rag.cache.entry import Made

__all__ = ["PATIENCE_S", "Flight", "Flights", "embedding", "is_embedding", "landed"]

#: Seconds that a call waits for what another embeds, before it embeds it itself: a model that asks
#: for its own text from a thread that knows nothing of it would wait for itself.
PATIENCE_S = 60.0

#: Comes to None where whoever embeds it failed.
Flight = Future["Made | None"]

_EMBEDS: Final[ContextVar[bool]] = ContextVar("llmspell_embeds", default=False)


@contextmanager
def embedding() -> Iterator[None]:
    """Around a call of a model, with all that it calls, in tasks and by ``asyncio.to_thread`` too.

    What is asked for in there waits for nobody: that might be the call itself, or one that waits
    for it.
    """
    token = _EMBEDS.set(True)
    try:
        yield
    finally:
        _EMBEDS.reset(token)


def is_embedding() -> bool:
    """Whether this runs in a call of a model; see :func:`embedding`."""
    return _EMBEDS.get()


def landed(flight: Flight) -> Made | None:
    """What comes of a flight; None where it failed, or took longer than :data:`PATIENCE_S`."""
    try:
        return flight.result(PATIENCE_S)
    except TimeoutError:
        return None


class Flights:
    """What is under way, by key. Thread-safe."""

    def __init__(self) -> None:
        """Start with none."""
        self._lock = threading.Lock()
        self._under_way: dict[bytes, Flight] = {}

    def join(self, keys: Sequence[bytes]) -> tuple[dict[bytes, Flight], dict[bytes, Flight]]:
        """Split keys in those that the caller is to embed, and those that others do.

        The first must be landed in any case, and before the caller waits for the second: so nobody
        waits in a circle.
        """
        mine: dict[bytes, Flight] = {}
        theirs: dict[bytes, Flight] = {}
        with self._lock:
            for key in keys:
                flight = self._under_way.get(key)
                if flight is None:
                    mine[key] = self._under_way[key] = Future()
                elif key not in mine:
                    theirs[key] = flight
        return mine, theirs

    def land(self, mine: dict[bytes, Flight], made: dict[bytes, Made]) -> None:
        """Give those who wait what was made; None of what wasn't."""
        with self._lock:
            for key in mine:
                self._under_way.pop(key, None)
        for key, flight in mine.items():
            flight.set_result(made.get(key))
