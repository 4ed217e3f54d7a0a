"""AlayaLite: HNSW over one-bit codes, 8-bit codes or float32.

https://github.com/AlayaDB-AI/AlayaLite
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.base import BatchSearch, FloatMatrix, Parameters, Peer, Search, Setup

DISTRIBUTION = "alayalite"
VARIANTS = ("rabitq", "none", "sq8")


def make(setup: Setup, variant: str) -> Peer:
    """``alayalite.Index`` with ``variant`` as its quantization."""
    return _Alayalite(setup, variant)


class _Alayalite:
    def __init__(self, setup: Setup, quantization: str) -> None:
        import alayalite

        self._library = alayalite
        self._setup = setup
        self._quantization = quantization
        self._index: Any = None

    def parameters(self) -> Parameters:
        return {
            "max_nbrs": 2 * self._setup.m,
            "ef_construction": self._setup.ef_construction,
            "quantization": self._quantization,
        }

    def build(self, vectors: FloatMatrix) -> None:
        settings = self._library.schema.IndexParams(
            index_type="hnsw",
            metric=self._setup.metric,
            quantization_type=self._quantization,
            capacity=len(vectors) + 1,
            max_nbrs=2 * self._setup.m,
        )
        self._index = self._library.Index("index", settings)
        self._index.fit(
            vectors,
            ef_construction=self._setup.ef_construction,
            num_threads=self._setup.build_threads,
        )

    def prepare(self, queries: FloatMatrix) -> Sequence[Any]:
        return list(queries)

    def searcher(self, k: int, ef_search: int) -> Search:
        search = self._index.search
        return lambda vector: search(vector, k, ef_search)

    def batch_searcher(self, k: int, ef_search: int, threads: int) -> BatchSearch:
        search = self._index.batch_search
        return lambda vectors: search(vectors, k, ef_search, threads)

    def save(self, folder: Path, vectors: FloatMatrix) -> None:
        schema = self._index.save(str(folder / "index"))
        self._library.schema.save_schema(str(folder / "index" / "schema.json"), schema)

    def load(self, folder: Path) -> None:
        self._index = self._library.Index.load(str(folder), "index")
