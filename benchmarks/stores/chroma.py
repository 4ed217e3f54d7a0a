"""Chroma (https://github.com/chroma-core/chroma): a persistent client's collection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.stores.base import FloatMatrix, Store, StoreSetup

DISTRIBUTION = "chromadb"
DURABLE = "Collection.add, which commits to SQLite"
VARIANTS = ("persistent",)


def make(setup: StoreSetup, variant: str) -> Store:
    """A collection without an embedding function."""
    return _Chroma(setup)


class _Chroma:
    def __init__(self, setup: StoreSetup) -> None:
        import chromadb

        client = chromadb.PersistentClient(
            setup.scratch + "/chroma", settings=chromadb.Settings(anonymized_telemetry=False)
        )
        self._most = client.get_max_batch_size()
        self._collection: Any = client.create_collection(
            "rows", embedding_function=None, configuration={"hnsw": {"space": setup.metric}}
        )

    def prepare(
        self, ids: Sequence[int], vectors: FloatMatrix
    ) -> list[tuple[list[str], FloatMatrix]]:
        named = [str(number) for number in ids]
        # It refuses more in one call.
        starts = range(0, len(named), self._most)
        return [(named[s : s + self._most], vectors[s : s + self._most]) for s in starts]

    def insert(self, records: list[tuple[list[str], FloatMatrix]]) -> None:
        for ids, vectors in records:
            self._collection.add(ids=ids, embeddings=vectors)

    def finish(self) -> None:
        """Nothing waits."""

    def count(self) -> int:
        return int(self._collection.count())
