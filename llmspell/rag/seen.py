"""Which ids an ingest has come to: a set that takes eight bytes for each."""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np

__all__ = ["Seen"]

#: Kept as Python numbers, which take ten times as much, before they are sorted in.
_RECENT: Final = 1 << 14


class Seen:
    """Ids by 64 bits of their hash: of ten million, two are taken for one by a chance of 3e-6.

    For one thread.
    """

    def __init__(self) -> None:
        self._recent: set[int] = set()
        self._sorted = np.empty(0, dtype=np.uint64)

    def add(self, identity: str) -> bool:
        """Whether it is new."""
        # What isn't Unicode is refused later, by its name.
        raw = identity.encode(errors="surrogatepass")
        key = int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest())
        if key in self._recent or self._has(key):
            return False
        self._recent.add(key)
        if len(self._recent) >= _RECENT:
            recent = np.fromiter(self._recent, dtype=np.uint64, count=len(self._recent))
            self._sorted = np.union1d(self._sorted, recent)
            self._recent.clear()
        return True

    def _has(self, key: int) -> bool:
        if not len(self._sorted):
            return False
        place = int(np.searchsorted(self._sorted, np.uint64(key)))
        return place < len(self._sorted) and int(self._sorted[place]) == key
