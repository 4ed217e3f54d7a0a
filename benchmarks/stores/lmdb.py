"""LMDB alone, which llmspell's log is kept in: a key and a vector's bytes for each record."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.stores.base import FloatMatrix, Store, StoreSetup

DISTRIBUTION = "lmdb"
DURABLE = "commit of a write transaction, LMDB's own default"
VARIANTS = ("put",)
_MAP_BYTES = 16 << 30


def make(setup: StoreSetup, variant: str) -> Store:
    """An environment in the folder."""
    return _Lmdb(setup)


class _Lmdb:
    def __init__(self, setup: StoreSetup) -> None:
        import lmdb

        self._env = lmdb.open(setup.scratch + "/lmdb", map_size=_MAP_BYTES)

    def prepare(self, ids: Sequence[int], vectors: FloatMatrix) -> list[tuple[bytes, bytes]]:
        return [(n.to_bytes(8), row.tobytes()) for n, row in zip(ids, vectors, strict=True)]

    def insert(self, records: list[tuple[bytes, bytes]]) -> None:
        with self._env.begin(write=True) as txn, txn.cursor() as cursor:
            cursor.putmulti(records)

    def finish(self) -> None:
        """Nothing waits."""

    def count(self) -> int:
        return int(self._env.stat()["entries"])
