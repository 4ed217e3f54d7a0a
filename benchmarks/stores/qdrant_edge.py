"""Qdrant Edge (https://github.com/qdrant/qdrant): a shard in the process, flushed each time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.stores.base import FloatMatrix, Store, StoreSetup

DISTRIBUTION = "qdrant-edge-py"
DURABLE = "update, then EdgeShard.flush"
VARIANTS = ("shard",)
_FIELD = "vector"
_DISTANCES = {"ip": "Dot", "cosine": "Cosine", "l2": "Euclid"}


def make(setup: StoreSetup, variant: str) -> Store:
    """A shard of one named vector."""
    return _QdrantEdge(setup)


class _QdrantEdge:
    def __init__(self, setup: StoreSetup) -> None:
        import qdrant_edge

        self._edge = qdrant_edge
        folder = Path(setup.scratch) / "shard"
        folder.mkdir()
        distance = getattr(qdrant_edge.Distance, _DISTANCES[setup.metric])
        vector = qdrant_edge.EdgeVectorParams(size=setup.dim, distance=distance)
        config = qdrant_edge.EdgeConfig(vectors={_FIELD: vector})
        self._shard = qdrant_edge.EdgeShard.create(str(folder), config)

    def prepare(self, ids: Sequence[int], vectors: FloatMatrix) -> Any:
        point = self._edge.Point
        return self._edge.UpdateOperation.upsert_points(
            [
                point(number, {_FIELD: row.tolist()}, {})
                for number, row in zip(ids, vectors, strict=True)
            ]
        )

    def insert(self, records: Any) -> None:
        self._shard.update(records)
        self._shard.flush()

    def finish(self) -> None:
        """Nothing waits."""

    def count(self) -> int:
        return int(self._shard.count(self._edge.CountRequest(exact=True)))
