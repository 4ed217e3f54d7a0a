"""Zvec (https://github.com/alibaba/zvec): a collection with HNSW, flushed after each insert."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.stores.base import FloatMatrix, Store, StoreSetup

DISTRIBUTION = "zvec"
DURABLE = "insert, then Collection.flush"
VARIANTS = ("hnsw",)
_FIELD = "vector"
#: It refuses more documents in one call.
_MOST = 1024


def make(setup: StoreSetup, variant: str) -> Store:
    """``zvec.Collection`` of one field."""
    return _Zvec(setup)


class _Zvec:
    def __init__(self, setup: StoreSetup) -> None:
        import zvec

        zvec.init(log_level=zvec.LogLevel.ERROR)
        self._zvec = zvec
        metric = getattr(zvec.MetricType, setup.metric.upper())
        field = zvec.VectorSchema(
            _FIELD,
            zvec.DataType.VECTOR_FP32,
            setup.dim,
            index_param=zvec.HnswIndexParam(metric_type=metric),
        )
        self._collection = zvec.create_and_open(
            path=str(Path(setup.scratch) / "collection"),
            schema=zvec.CollectionSchema(name="rows", vectors=field),
        )

    def prepare(self, ids: Sequence[int], vectors: FloatMatrix) -> list[list[Any]]:
        doc = self._zvec.Doc
        docs = [
            doc(id=str(number), vectors={_FIELD: row})
            for number, row in zip(ids, vectors, strict=True)
        ]
        return [docs[start : start + _MOST] for start in range(0, len(docs), _MOST)]

    def insert(self, records: list[list[Any]]) -> None:
        for part in records:
            refused = [status for status in self._collection.insert(part) if not status.ok()]
            if refused:
                raise RuntimeError(f"zvec refused {len(refused)} documents: {refused[0]}")
        self._collection.flush()

    def finish(self) -> None:
        """Nothing waits."""

    def count(self) -> int:
        return int(self._collection.stats.doc_count)
