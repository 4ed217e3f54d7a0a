"""The least that a durable insert can be: the bytes at the end of a file, and an fsync."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks.stores.base import FloatMatrix, Store, StoreSetup

DISTRIBUTION = None
DURABLE = "write and fsync of one open file"
VARIANTS = ("fsync",)


def make(setup: StoreSetup, variant: str) -> Store:
    """A file in the folder."""
    return _File(setup)


class _File:
    def __init__(self, setup: StoreSetup) -> None:
        self._record_bytes = 8 + 4 * setup.dim
        path = Path(setup.scratch) / "records"
        self._descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def prepare(self, ids: Sequence[int], vectors: FloatMatrix) -> bytes:
        pairs = zip(ids, vectors, strict=True)
        return b"".join(number.to_bytes(8) + row.tobytes() for number, row in pairs)

    def insert(self, records: bytes) -> None:
        rest = memoryview(records)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        os.fsync(self._descriptor)

    def finish(self) -> None:
        """Nothing waits."""

    def count(self) -> int:
        return os.fstat(self._descriptor).st_size // self._record_bytes
