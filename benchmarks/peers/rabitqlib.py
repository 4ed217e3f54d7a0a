"""rabitqlib: SymphonyQG over one-bit codes, and HNSW over 8-bit ones.

SymphonyQG is built once from all vectors: nothing is added, deleted or filtered later.
https://github.com/VectorDB-NTU/RaBitQ-Library
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.base import BatchSearch, FloatMatrix, Parameters, Peer, Search, Setup, unit

DISTRIBUTION = "rabitqlib"
VARIANTS = ("symqg32", "symqg64", "hnsw8")
# As in the library's own examples.
CLUSTERS = 16
LEAST_DIM = 64


def make(setup: Setup, variant: str) -> Peer:
    """``SymqgIndex``, whose degree the variant names, or ``HnswIndex`` with 8 bits a component."""
    if variant == "hnsw8":
        return _Hnsw(setup)
    return _Symqg(setup, int(variant.removeprefix("symqg")))


class _Rabitqlib:
    def __init__(self, setup: Setup) -> None:
        import rabitqlib

        self._library = rabitqlib
        self._setup = setup
        self._metric = "l2" if setup.metric == "l2" else "ip"
        self._dim = max(setup.dim, LEAST_DIM)
        self._index: Any = None

    def _taken(self, vectors: FloatMatrix) -> FloatMatrix:
        """As the library takes them: zeros up to its least dimension change no distance."""
        vectors = unit(vectors, self._setup.metric)
        lacking = self._dim - self._setup.dim
        return np.pad(vectors, ((0, 0), (0, lacking))) if lacking else vectors

    def prepare(self, queries: FloatMatrix) -> Sequence[Any]:
        return [np.ascontiguousarray(query[None]) for query in self._taken(queries)]

    def batch_searcher(self, k: int, ef_search: int, threads: int) -> BatchSearch:
        search, taken = self._index.search, self._taken
        return lambda vectors: search(taken(vectors), k, ef_search, threads)[0]

    def save(self, folder: Path, vectors: FloatMatrix) -> None:
        self._index.save(str(folder / "index.rabitq"))


class _Symqg(_Rabitqlib):
    def __init__(self, setup: Setup, degree: int) -> None:
        super().__init__(setup)
        self._degree = degree
        self._index = self._library.SymqgIndex(self._dim, degree, metric=self._metric)

    def parameters(self) -> Parameters:
        return {
            "dim": self._dim,
            "max_degree": self._degree,
            "ef_construction": self._setup.ef_construction,
            "element_type": "float32 and 1-bit codes",
        }

    def build(self, vectors: FloatMatrix) -> None:
        self._index.build(
            self._taken(vectors),
            self._setup.ef_construction,
            num_threads=self._setup.build_threads,
        )

    def searcher(self, k: int, ef_search: int) -> Search:
        search = self._index.search
        # It returns ids and distances, one row a query.
        return lambda vector: search(vector, k, ef_search, 1)[0][0]

    def load(self, folder: Path) -> None:
        self._index = self._library.SymqgIndex.load(str(folder / "index.rabitq"))


class _Hnsw(_Rabitqlib):
    def parameters(self) -> Parameters:
        return {
            "dim": self._dim,
            "M": self._setup.m,
            "ef_construction": self._setup.ef_construction,
            "element_type": "8-bit codes",
            "clusters": CLUSTERS,
        }

    def build(self, vectors: FloatMatrix) -> None:
        vectors = self._taken(vectors)
        clusters = self._library.RaBitQKMeans(
            self._dim,
            CLUSTERS,
            seed=self._setup.seed,
            num_threads=self._setup.build_threads,
        )
        clusters.train(vectors)
        self._index = self._library.HnswIndex(
            self._dim,
            len(vectors),
            M=self._setup.m,
            ef_construction=self._setup.ef_construction,
            nbits=8,
            metric=self._metric,
            random_seed=self._setup.seed,
        )
        self._index.build(
            vectors, clusters.centroids, clusters.assignments, self._setup.build_threads
        )

    def searcher(self, k: int, ef_search: int) -> Search:
        search = self._index.search
        return lambda vector: search(vector, k, ef_search, 1)[0]

    def load(self, folder: Path) -> None:
        self._index = self._library.HnswIndex.load(str(folder / "index.rabitq"))
