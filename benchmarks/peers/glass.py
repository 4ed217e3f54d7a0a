"""Glass: HNSW of degree 32 over scalar codes, refined from float32.

From the wheels that need no AVX-512 (https://github.com/zilliztech/pyglass, `pyglass-portable`).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.base import BatchSearch, FloatMatrix, Parameters, Peer, Search, Setup, unit

DISTRIBUTION = "pyglass-portable"
VARIANTS = ("sq8", "sq8u", "fp32")


def make(setup: Setup, variant: str) -> Peer:
    """``glass.Searcher`` over a ``glass.Index``; ``variant`` names what the walk compares."""
    return _Glass(setup, variant.upper())


class _Glass:
    def __init__(self, setup: Setup, codes: str) -> None:
        import glass

        self._library = glass
        self._setup = setup
        self._codes = codes
        self._metric = "L2" if setup.metric == "l2" else "IP"
        # A searcher takes the graph for itself; this copy is for saving.
        self._graph = Path(setup.scratch) / "graph.glass"
        self._searcher: Any = None

    def parameters(self) -> Parameters:
        return {
            "R": 2 * self._setup.m,
            "L": self._setup.ef_construction,
            "element_type": f"{self._codes} and FP32",
        }

    def build(self, vectors: FloatMatrix) -> None:
        self._library.set_num_threads(self._setup.build_threads)
        vectors = unit(vectors, self._setup.metric)
        index = self._library.Index(
            "HNSW", self._metric, "FP32", R=2 * self._setup.m, L=self._setup.ef_construction
        )
        graph = index.build(vectors)
        graph.save(str(self._graph))
        self._attach(graph, vectors)

    def _attach(self, graph: Any, vectors: FloatMatrix) -> None:
        refine = "" if self._codes == "FP32" else "FP32"
        self._searcher = self._library.Searcher(graph, vectors, self._metric, self._codes, refine)

    def prepare(self, queries: FloatMatrix) -> Sequence[Any]:
        # It tunes its prefetches by timing searches, once, as its documentation asks.
        self._searcher.set_ef(64)
        self._searcher.optimize(1)
        return list(unit(queries, self._setup.metric))

    def searcher(self, k: int, ef_search: int) -> Search:
        self._searcher.set_ef(ef_search)
        search = self._searcher.search
        return lambda vector: search(vector, k)[0]

    def batch_searcher(self, k: int, ef_search: int, threads: int) -> BatchSearch:
        self._searcher.set_ef(ef_search)
        search = self._searcher.batch_search
        return lambda vectors: search(vectors, k, threads)[0]

    def save(self, folder: Path, vectors: FloatMatrix) -> None:
        shutil.copy(self._graph, folder / "graph.glass")
        np.save(folder / "vectors.npy", unit(vectors, self._setup.metric))

    def load(self, folder: Path) -> None:
        graph = self._library.Graph(str(folder / "graph.glass"))
        self._attach(graph, np.load(folder / "vectors.npy"))
