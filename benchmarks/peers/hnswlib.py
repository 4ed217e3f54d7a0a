"""hnswlib, float32 (https://github.com/nmslib/hnswlib)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.base import (
    BatchSearch,
    FilteredSearch,
    FloatMatrix,
    Parameters,
    Peer,
    Search,
    Setup,
)

DISTRIBUTION = "hnswlib"
VARIANTS = ("float32",)


def make(setup: Setup, variant: str) -> Peer:
    """The library's own ``Index``; its source build compiles for the machine's CPU."""
    return _Hnswlib(setup)


class _Hnswlib:
    def __init__(self, setup: Setup) -> None:
        import hnswlib

        self._setup = setup
        self._index = hnswlib.Index(space=setup.metric, dim=setup.dim)

    def parameters(self) -> Parameters:
        return {
            "M": self._setup.m,
            "degree_layer0": 2 * self._setup.m,
            "ef_construction": self._setup.ef_construction,
            "element_type": "float32",
            "allow_replace_deleted": self._setup.changing,
        }

    def build(self, vectors: FloatMatrix) -> None:
        self._index.init_index(
            max_elements=len(vectors),
            M=self._setup.m,
            ef_construction=self._setup.ef_construction,
            random_seed=self._setup.seed,
            allow_replace_deleted=self._setup.changing,
        )
        self._index.add_items(
            vectors, np.arange(len(vectors)), num_threads=self._setup.build_threads
        )

    def prepare(self, queries: FloatMatrix) -> Sequence[Any]:
        return list(queries)

    def searcher(self, k: int, ef_search: int) -> Search:
        self._index.set_ef(ef_search)
        query = self._index.knn_query
        return lambda vector: query(vector, k, 1)[0]

    def batch_searcher(self, k: int, ef_search: int, threads: int) -> BatchSearch:
        self._index.set_ef(ef_search)
        query = self._index.knn_query
        return lambda vectors: query(vectors, k, threads)[0]

    def save(self, folder: Path, vectors: FloatMatrix) -> None:
        self._index.save_index(str(folder / "index.bin"))

    def load(self, folder: Path) -> None:
        self._index.load_index(str(folder / "index.bin"))

    def allow(self, allowed: NDArray[np.bool_]) -> Any:
        # A filter is a function of the id; a list's own method is the quickest of them.
        return allowed.tolist().__getitem__, int(allowed.sum())

    def filtered_searcher(self, k: int, ef_search: int) -> FilteredSearch:
        self._index.set_ef(ef_search)
        query = self._index.knn_query

        def filtered(vector: Any, allowed: Any) -> Any:
            passes, count = allowed
            try:
                return query(vector, min(k, count), 1, passes)[0]
            except RuntimeError:  # it found fewer, and then returns none of them
                return ()

        return filtered

    def insert(self, ids: NDArray[np.int64], vectors: FloatMatrix, threads: int) -> None:
        self._index.add_items(vectors, ids, num_threads=threads, replace_deleted=True)

    def delete(self, ids: NDArray[np.int64]) -> None:
        for label in ids.tolist():
            self._index.mark_deleted(label)
