"""The tier in memory: W-TinyLFU (arXiv:1512.00727) decides what stays, bytes and entries bound it.

The policy is that of ``theine-core``: a text that was asked for once doesn't push out one that is
asked for often, so an ingest of many new texts leaves the queries' vectors where they are.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from llmspell.rag.cache.entry import Made
from llmspell.rag.cache.packages import required
from llmspell.rag.cache.stats import Counters

if TYPE_CHECKING:
    from llmspell.rag.cache.compartment import Compartment

__all__ = ["ENTRY_BYTES", "MemoryTier"]

#: Python's objects around a vector's numbers, its key included: an array, its header, two tuples,
#: three numbers and a place in a dict, as CPython 3.11 has them on 64 bits.
ENTRY_BYTES: Final = 512
# Told to the policy at once: a call of it costs less than the lock.
_TELL_AT: Final = 64


class _Held(NamedTuple):
    key: bytes
    made: Made
    compartment: Compartment


class MemoryTier:
    """Vectors in memory by their key. Thread-safe; what is found takes no lock."""

    def __init__(self, max_bytes: int, max_entries: int, counters: Counters) -> None:
        """Start empty.

        Args:
            max_bytes: of vectors and :data:`ENTRY_BYTES` of each.
            max_entries: as many.
            counters: told what was evicted.
        """
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self._counters = counters
        self._lock = threading.Lock()
        # By eight bytes of the key, which is what the policy knows.
        self._held: dict[int, _Held] = {}
        self._bytes = 0
        self._policy: Any = None
        self._core = required("theine_core").TlfuCore
        self._told: list[int] = []

    def __len__(self) -> int:
        """Vectors held."""
        return len(self._held)

    @property
    def size(self) -> int:
        """Bytes held; see :data:`ENTRY_BYTES`."""
        return self._bytes

    def get(self, key: bytes, oldest_us: int) -> Made | None:
        """The vector of a key, if it is there and was made at ``oldest_us`` or later."""
        short = int.from_bytes(key[:8], "little")
        held = self._held.get(short)
        if held is None or held.key != key:
            return None
        if held.made.at_us < oldest_us:
            with self._lock:
                if self._held.get(short) is held:
                    self._drop(short)
                    self._policy.remove(short)
            return None
        self._told.append(short)
        if len(self._told) >= _TELL_AT and self._lock.acquire(blocking=False):
            try:
                told, self._told = self._told, []
                self._policy.access(told)
            finally:
                self._lock.release()
        return held.made

    def put(self, key: bytes, made: Made, compartment: Compartment) -> None:
        """Keep a vector, unless its compartment has ended; others may go for it."""
        short = int.from_bytes(key[:8], "little")
        cost = made.vector.nbytes + ENTRY_BYTES
        with self._lock:
            if compartment.is_gone:
                return
            if self._policy is None:
                # Vectors of a database are alike, so that as many fill the bytes.
                most = max(1, min(self._max_entries, self._max_bytes // cost))
                self._policy = self._core(most)
            if short in self._held:
                self._drop(short)
            self._held[short] = _Held(key, made, compartment)
            self._bytes += cost
            for evicted in self._policy.set([(short, 0)]):
                if evicted in self._held:
                    self._drop(evicted)
                    self._counters.evicted.inc()
            # Where they aren't alike, the oldest go.
            while self._bytes > self._max_bytes or len(self._held) > self._max_entries:
                oldest = next(iter(self._held))
                self._drop(oldest)
                self._policy.remove(oldest)
                self._counters.evicted.inc()

    def forget(self, compartment: Compartment) -> None:
        """Drop all of a compartment; what is still to come of it isn't kept."""
        with self._lock:
            compartment.is_gone = True
            scope = compartment.scope
            gone = [n for n, held in self._held.items() if held.compartment.scope == scope]
            for short in gone:
                self._drop(short)
                self._policy.remove(short)

    def _drop(self, short: int) -> None:
        held = self._held.pop(short)
        self._bytes -= held.made.vector.nbytes + ENTRY_BYTES
