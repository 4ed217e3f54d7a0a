"""Readers of an environment: those that died keep nothing, and a full map names the oldest."""

from __future__ import annotations

import time
from typing import Final

import lmdb

__all__ = ["DeadReaders", "describe_oldest"]

#: Looking takes a system call for each other process that reads.
LOOKED_AFTER_SECONDS: Final = 1.0


class DeadReaders:
    """Looks now and then for readers whose process is gone.

    LMDB keeps every page that a reader may see, and doesn't look itself whether it is alive: one
    that was killed would let the file grow for as long as anyone has it open.
    """

    __slots__ = ("_looked",)

    def __init__(self) -> None:
        self._looked = time.monotonic()

    def clear(self, env: lmdb.Environment) -> None:
        """Before a write. Several threads at once do no harm."""
        now = time.monotonic()
        if now - self._looked >= LOOKED_AFTER_SECONDS:
            self._looked = now
            env.reader_check()


def describe_oldest(env: lmdb.Environment) -> str:
    """Who reads what is oldest, where writes have gone on since; empty where nobody does."""
    # Behind a line of headings there is one for each: process, thread, and the transaction or "-".
    rows = [line.split() for line in env.readers().splitlines()[1:]]
    reading = [(int(txn), int(process)) for process, _, txn in rows if txn != "-"]
    if not reading:
        return ""
    oldest, process = min(reading)
    behind = env.info()["last_txnid"] - oldest
    if behind <= 0:
        return ""
    return (
        f"; process {process} reads what was there {behind:,} commits ago, and as long as it does "
        "(an export, a snapshot, a slow page) what was replaced since takes room"
    )
