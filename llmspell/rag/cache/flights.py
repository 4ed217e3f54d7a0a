"""Texts that are being embedded: whoever wants one of them meanwhile waits for it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future

from llmspell.rag.cache.entry import Made

__all__ = ["Flight", "Flights"]

#: Comes to None where whoever embeds it failed.
Flight = Future["Made | None"]


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
