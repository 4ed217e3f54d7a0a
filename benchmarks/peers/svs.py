"""Scalable Vector Search: Vamana of degree 32 (https://github.com/intel/ScalableVectorSearch).

Its own compressed formats, LVQ and LeanVec, run on Intel's processors only and are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.base import BatchSearch, FloatMatrix, Parameters, Peer, Search, Setup

DISTRIBUTION = "scalable-vs"
VARIANTS = ("float16", "float32", "dynamic")


def make(setup: Setup, variant: str) -> Peer:
    """``svs.Vamana`` over ``variant``, or ``svs.DynamicVamana`` over float32."""
    return _Dynamic(setup) if variant == "dynamic" else _Static(setup, variant)


class _Vamana:
    def __init__(self, setup: Setup, element_type: str) -> None:
        import svs

        self._svs = svs
        self._setup = setup
        self._type = element_type
        distances = {"ip": "MIP", "cosine": "Cosine", "l2": "L2"}
        self._distance = getattr(svs.DistanceType, distances[setup.metric])
        # Above 1 for distances, below 1 for similarities.
        self._alpha = 1.2 if setup.metric == "l2" else 0.95
        self._index: Any = None

    def parameters(self) -> Parameters:
        return {
            "graph_max_degree": 2 * self._setup.m,
            "window_size": self._setup.ef_construction,
            "alpha": self._alpha,
            "element_type": self._type,
        }

    def _build_parameters(self) -> Any:
        return self._svs.VamanaBuildParameters(
            alpha=self._alpha,
            graph_max_degree=2 * self._setup.m,
            window_size=self._setup.ef_construction,
        )

    def prepare(self, queries: FloatMatrix) -> Sequence[Any]:
        return list(queries)

    def searcher(self, k: int, ef_search: int) -> Search:
        return self._search(k, ef_search, 1)

    def batch_searcher(self, k: int, ef_search: int, threads: int) -> BatchSearch:
        return self._search(k, ef_search, threads)

    def _search(self, k: int, ef_search: int, threads: int) -> Search:
        self._index.num_threads = threads
        self._index.search_window_size = ef_search
        search = self._index.search
        return lambda vectors: search(vectors, k)[0]

    def save(self, folder: Path, vectors: FloatMatrix) -> None:
        self._index.save(*(str(folder / part) for part in ("config", "graph", "data")))

    def _loaders(self, folder: Path) -> tuple[Any, ...]:
        data_type = getattr(self._svs.DataType, self._type)
        return (
            str(folder / "config"),
            self._svs.GraphLoader(str(folder / "graph")),
            self._svs.VectorDataLoader(str(folder / "data"), data_type),
            self._distance,
        )


class _Static(_Vamana):
    def build(self, vectors: FloatMatrix) -> None:
        self._index = self._svs.Vamana.build(
            self._build_parameters(),
            vectors.astype(self._type),
            self._distance,
            self._setup.build_threads,
        )

    def load(self, folder: Path) -> None:
        self._index = self._svs.Vamana(*self._loaders(folder), num_threads=1)


class _Dynamic(_Vamana):
    def __init__(self, setup: Setup) -> None:
        super().__init__(setup, "float32")

    def build(self, vectors: FloatMatrix) -> None:
        self._index = self._svs.DynamicVamana.build(
            self._build_parameters(),
            vectors,
            np.arange(len(vectors), dtype=np.uint64),
            self._distance,
            self._setup.build_threads,
        )

    def load(self, folder: Path) -> None:
        self._index = self._svs.DynamicVamana(*self._loaders(folder), num_threads=1)

    def insert(self, ids: NDArray[np.int64], vectors: FloatMatrix, threads: int) -> None:
        self._index.num_threads = threads
        self._index.add(vectors, ids.astype(np.uint64))

    def delete(self, ids: NDArray[np.int64]) -> None:
        self._index.delete(ids.astype(np.uint64))
        self._index.consolidate()  # until then they are walked through and keep their slots
