"""What LMDB takes of memory for an environment that may write, which no call of it tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from llmspell.storage.tables import CHAINS, RECORDS, VECTORS
from llmspell.storage.transaction import Transaction

__all__ = ["KeptPages"]

#: Lists that LMDB allocates at opening: 2^17 entries of 16 bytes for changed pages, and of 8 for
#: free ones. Fresh from the system they are memory as far as they are filled, which is 14 KiB at
#: first. But where the process has freed an array of 2 MiB before, glibc takes them from its heap,
#: and clears the first: a room that is opened takes 2.0 MiB then, and more where the heap was used.
LISTS_BYTES: Final = (1 << 17) * (16 + 8)
#: The rest that a room takes beside its index, with one record in it; measured 38.5 KiB.
REST_BYTES: Final = 40 << 10
#: Of a copy of a page, beside the page.
MALLOC_BYTES: Final = 16
#: A write of fewer rows isn't looked at: it changes about what :data:`REST_BYTES` has.
SEVERAL: Final = 8


Stats: TypeAlias = dict[bytes, dict[str, int]]


class KeptPages:
    """Bytes that an environment takes for its writes, estimated. For who holds the write lock.

    LMDB copies each page that a transaction changes, and keeps the copies until the environment is
    closed, for the next one to use: as many as the largest transaction changed. Only those of
    values longer than a page are given back. Measured: after a write of 4,000 vectors of 384
    dimensions about 9 MiB, more than their index takes.
    """

    __slots__ = ("_added", "_before", "bytes")

    def __init__(self) -> None:
        self._added = 0
        self._before: Stats | None = None
        self.bytes = LISTS_BYTES + REST_BYTES

    def begin(self, txn: Transaction, databases: Mapping[bytes, Any], added: int) -> None:
        """Look at the tables before a write that adds so many rows."""
        self._added = added
        self._before = _stats(txn, databases) if added > SEVERAL else None

    def end(self, txn: Transaction, databases: Mapping[bytes, Any], removed: int) -> None:
        """Look at them before its commit, when it has removed so many rows."""
        before = self._before
        if before is None and removed <= SEVERAL:
            return
        after = _stats(txn, databases)
        pages = 0
        for name, stat in after.items():
            old = stat if before is None else before[name]
            pages += max(_pages(stat) - _pages(old), 0) + stat["depth"]
            if name in CHAINS:  # in any order, and each entry names the next
                pages += min(_pages(old), 2 * (self._added + removed))
            elif name in (RECORDS, VECTORS):
                pages += min(_pages(old), removed)
            alone = stat["overflow_pages"] - old["overflow_pages"]
            if 0 < alone <= self._added:  # values of one page each
                pages += alone
        size = next(iter(after.values()))["psize"] + MALLOC_BYTES
        self.bytes = max(self.bytes, LISTS_BYTES + REST_BYTES + pages * size)


def _stats(txn: Transaction, databases: Mapping[bytes, Any]) -> Stats:
    return {name: txn.stat(database) for name, database in databases.items()}


def _pages(stat: Mapping[str, int]) -> int:
    return stat["branch_pages"] + stat["leaf_pages"]
