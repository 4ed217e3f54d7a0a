"""Voyager, Spotify's successor of Annoy: HNSW (https://github.com/spotify/voyager)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.base import BatchSearch, FloatMatrix, Parameters, Peer, Search, Setup

DISTRIBUTION = "voyager"
VARIANTS = ("Float32", "Float8", "E4M3")
_SPACES = {"ip": "InnerProduct", "cosine": "Cosine", "l2": "Euclidean"}


def make(setup: Setup, variant: str) -> Peer:
    """``voyager.Index`` with ``variant`` as its storage type."""
    return _Voyager(setup, variant)


class _Voyager:
    def __init__(self, setup: Setup, storage: str) -> None:
        import voyager

        self._library = voyager
        self._setup = setup
        self._storage = storage
        self._index: Any = voyager.Index(
            getattr(voyager.Space, _SPACES[setup.metric]),
            setup.dim,
            M=setup.m,
            ef_construction=setup.ef_construction,
            random_seed=setup.seed,
            storage_data_type=getattr(voyager.StorageDataType, storage),
        )

    def parameters(self) -> Parameters:
        return {
            "M": self._setup.m,
            "degree_layer0": 2 * self._setup.m,
            "ef_construction": self._setup.ef_construction,
            "element_type": self._storage,
        }

    def build(self, vectors: FloatMatrix) -> None:
        self._index.add_items(vectors, num_threads=self._setup.build_threads)

    def prepare(self, queries: FloatMatrix) -> Sequence[Any]:
        return list(queries)

    def searcher(self, k: int, ef_search: int) -> Search:
        query = self._index.query
        return lambda vector: query(vector, k, 1, ef_search)[0]

    def batch_searcher(self, k: int, ef_search: int, threads: int) -> BatchSearch:
        query = self._index.query
        return lambda vectors: query(vectors, k, threads, ef_search)[0]

    def save(self, folder: Path, vectors: FloatMatrix) -> None:
        self._index.save(str(folder / "index.voyager"))

    def load(self, folder: Path) -> None:
        self._index = self._library.Index.load(str(folder / "index.voyager"))
