"""USearch (https://github.com/unum-cloud/usearch)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.base import BatchSearch, FloatMatrix, Parameters, Peer, Search, Setup

DISTRIBUTION = "usearch"
VARIANTS = ("f16", "f32", "bf16", "i8")
_METRICS = {"ip": "ip", "cosine": "cos", "l2": "l2sq"}


def make(setup: Setup, variant: str) -> Peer:
    """``usearch.index.Index`` with ``variant`` as its element type."""
    return _USearch(setup, variant)


class _USearch:
    def __init__(self, setup: Setup, variant: str) -> None:
        from usearch.index import Index

        self._setup = setup
        self._variant = variant
        self._index = Index(
            ndim=setup.dim,
            metric=_METRICS[setup.metric],
            dtype=variant,
            connectivity=setup.m,
            expansion_add=setup.ef_construction,
        )

    def parameters(self) -> Parameters:
        return {
            "connectivity": self._setup.m,
            "degree_layer0": 2 * self._setup.m,
            "expansion_add": self._setup.ef_construction,
            "element_type": self._variant,
            "simd": str(self._index.hardware_acceleration),
        }

    def build(self, vectors: FloatMatrix) -> None:
        self.insert(np.arange(len(vectors)), vectors, self._setup.build_threads)

    def prepare(self, queries: FloatMatrix) -> Sequence[Any]:
        # In the index's own element type where NumPy has it, so that no call converts.
        return list(queries.astype(np.float16) if self._variant == "f16" else queries)

    def searcher(self, k: int, ef_search: int) -> Search:
        self._index.expansion_search = ef_search
        search = self._index.search
        return lambda vector: search(vector, k, threads=1).keys

    def batch_searcher(self, k: int, ef_search: int, threads: int) -> BatchSearch:
        self._index.expansion_search = ef_search
        search = self._index.search
        return lambda vectors: search(vectors, k, threads=threads).keys

    def save(self, folder: Path, vectors: FloatMatrix) -> None:
        self._index.save(str(folder / "index.usearch"))

    def load(self, folder: Path) -> None:
        self._index.view(str(folder / "index.usearch"))  # mapped, not read

    def insert(self, ids: NDArray[np.int64], vectors: FloatMatrix, threads: int) -> None:
        self._index.add(ids.astype(np.uint64), vectors, threads=threads)

    def delete(self, ids: NDArray[np.int64]) -> None:
        self._index.remove(ids.astype(np.uint64))
