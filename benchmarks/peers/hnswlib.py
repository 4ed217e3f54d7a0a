"""hnswlib, float32 (https://github.com/nmslib/hnswlib)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.peers.base import FloatMatrix, Peer, Search, Setup

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

    def parameters(self) -> Mapping[str, str | int | float | bool]:
        return {
            "M": self._setup.m,
            "degree_layer0": 2 * self._setup.m,
            "ef_construction": self._setup.ef_construction,
            "element_type": "float32",
        }

    def build(self, vectors: FloatMatrix) -> None:
        self._index.init_index(
            max_elements=len(vectors),
            M=self._setup.m,
            ef_construction=self._setup.ef_construction,
            random_seed=self._setup.seed,
        )
        self._index.add_items(
            vectors, np.arange(len(vectors)), num_threads=self._setup.build_threads
        )

    def prepare(self, queries: FloatMatrix) -> Sequence[Any]:
        return list(queries)

    def searcher(self, k: int, ef_search: int) -> Search:
        self._index.set_ef(ef_search)
        self._index.set_num_threads(1)
        query = self._index.knn_query
        return lambda vector: query(vector, k, 1)[0]
