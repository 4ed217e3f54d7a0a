"""FAISS on the CPU: HNSW over float32 (https://github.com/facebookresearch/faiss)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.peers.base import FloatMatrix, Peer, Search, Setup

DISTRIBUTION = "faiss-cpu"
VARIANTS = ("flat",)


def make(setup: Setup, variant: str) -> Peer:
    """``IndexHNSWFlat``: its M, too, is the degree of the upper layers, twice that on layer 0."""
    return _Faiss(setup)


class _Faiss:
    def __init__(self, setup: Setup) -> None:
        import faiss

        self._faiss = faiss
        self._setup = setup
        metric = faiss.METRIC_INNER_PRODUCT if setup.metric == "ip" else faiss.METRIC_L2
        self._index = faiss.IndexHNSWFlat(setup.dim, setup.m, metric)
        self._index.hnsw.efConstruction = setup.ef_construction

    def parameters(self) -> Mapping[str, str | int | float | bool]:
        return {
            "M": self._setup.m,
            "degree_layer0": int(self._index.hnsw.nb_neighbors(0)),
            "efConstruction": self._setup.ef_construction,
            "element_type": "float32",
            "compiled": str(self._faiss.get_compile_options()).strip(),
        }

    def build(self, vectors: FloatMatrix) -> None:
        self._faiss.omp_set_num_threads(self._setup.build_threads)
        self._index.add(vectors)

    def prepare(self, queries: FloatMatrix) -> Sequence[Any]:
        return [queries[i : i + 1] for i in range(len(queries))]

    def searcher(self, k: int, ef_search: int) -> Search:
        self._faiss.omp_set_num_threads(1)
        self._index.hnsw.efSearch = ef_search
        search = self._index.search
        return lambda vector: search(vector, k)[1]
