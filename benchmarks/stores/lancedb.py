"""LanceDB (https://github.com/lancedb/lancedb): a table without an index, a version an insert."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.stores.base import FloatMatrix, Store, StoreSetup

DISTRIBUTION = "lancedb"
DURABLE = "Table.add, which commits a version; there is no call that syncs"
VARIANTS = ("table",)


def make(setup: StoreSetup, variant: str) -> Store:
    """A table of ids and vectors."""
    return _Lancedb(setup)


class _Lancedb:
    def __init__(self, setup: StoreSetup) -> None:
        import lancedb
        import pyarrow

        self._arrow = pyarrow
        self._dim = setup.dim
        self._schema = pyarrow.schema(
            [("id", pyarrow.int64()), ("vector", pyarrow.list_(pyarrow.float32(), setup.dim))]
        )
        database = lancedb.connect(setup.scratch + "/lancedb")
        self._table = database.create_table("rows", schema=self._schema)

    def prepare(self, ids: Sequence[int], vectors: FloatMatrix) -> Any:
        arrow = self._arrow
        flat = arrow.array(vectors.reshape(-1))
        rows = arrow.FixedSizeListArray.from_arrays(flat, self._dim)
        return arrow.table([arrow.array(list(ids)), rows], schema=self._schema)

    def insert(self, records: Any) -> None:
        self._table.add(records)

    def finish(self) -> None:
        """Nothing waits in it; what the system holds back, it has no call for."""

    def count(self) -> int:
        return int(self._table.count_rows())
