"""FAISS on the CPU: HNSW over float32, or over 8-bit codes and refined from float32.

https://github.com/facebookresearch/faiss
"""

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
    unit,
)

DISTRIBUTION = "faiss-cpu"
VARIANTS = ("flat", "sq8")
# The best of the codes' candidates, in multiples of k, are compared again in float32.
REFINED = 4


def make(setup: Setup, variant: str) -> Peer:
    """``IndexHNSWFlat`` or ``IndexHNSWSQ``: M is the degree of the upper layers, half layer 0's."""
    return _Flat(setup) if variant == "flat" else _Refined(setup)


class _Faiss:
    def __init__(self, setup: Setup) -> None:
        import faiss

        self._faiss = faiss
        self._setup = setup
        self._metric = faiss.METRIC_L2 if setup.metric == "l2" else faiss.METRIC_INNER_PRODUCT
        self._index: Any = None
        self._graph: Any = None

    def parameters(self) -> Parameters:
        return {
            "M": self._setup.m,
            "degree_layer0": int(self._graph.hnsw.nb_neighbors(0)),
            "efConstruction": self._setup.ef_construction,
            "compiled": str(self._faiss.get_compile_options()).strip(),
        }

    def build(self, vectors: FloatMatrix) -> None:
        self._faiss.omp_set_num_threads(self._setup.build_threads)
        self._graph.hnsw.efConstruction = self._setup.ef_construction
        vectors = unit(vectors, self._setup.metric)
        self._index.train(vectors)
        self._index.add(vectors)

    def prepare(self, queries: FloatMatrix) -> Sequence[Any]:
        queries = unit(queries, self._setup.metric)
        return [queries[i : i + 1] for i in range(len(queries))]

    def _settings(self, k: int, ef_search: int) -> Any:
        raise NotImplementedError

    def searcher(self, k: int, ef_search: int) -> Search:
        return self._search(k, ef_search, 1)

    def batch_searcher(self, k: int, ef_search: int, threads: int) -> BatchSearch:
        return self._search(k, ef_search, threads)

    def _search(self, k: int, ef_search: int, threads: int) -> Search:
        self._faiss.omp_set_num_threads(threads)
        search, settings = self._index.search, self._settings(k, ef_search)
        return lambda vectors: search(vectors, k, params=settings)[1]

    def save(self, folder: Path, vectors: FloatMatrix) -> None:
        self._faiss.write_index(self._index, str(folder / "index.faiss"))


class _Flat(_Faiss):
    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._index = self._graph = self._faiss.IndexHNSWFlat(setup.dim, setup.m, self._metric)

    def parameters(self) -> Parameters:
        return {**super().parameters(), "element_type": "float32"}

    def load(self, folder: Path) -> None:
        self._index = self._graph = self._faiss.read_index(str(folder / "index.faiss"))

    def _settings(self, k: int, ef_search: int) -> Any:
        return self._faiss.SearchParametersHNSW(efSearch=ef_search)

    def allow(self, allowed: NDArray[np.bool_]) -> Any:
        selector = self._faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        return self._faiss.SearchParametersHNSW(sel=selector)

    def filtered_searcher(self, k: int, ef_search: int) -> FilteredSearch:
        self._faiss.omp_set_num_threads(1)
        search = self._index.search

        def filtered(vector: Any, allowed: Any) -> Any:
            allowed.efSearch = ef_search
            return search(vector, k, params=allowed)[1]

        return filtered


class _Refined(_Faiss):
    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        bits = self._faiss.ScalarQuantizer.QT_8bit
        self._graph = self._faiss.IndexHNSWSQ(setup.dim, bits, setup.m, self._metric)
        self._index = self._faiss.IndexRefineFlat(self._graph)

    def parameters(self) -> Parameters:
        return {**super().parameters(), "element_type": "8 bits and float32", "refined": REFINED}

    def load(self, folder: Path) -> None:
        self._index = self._faiss.read_index(str(folder / "index.faiss"))
        self._graph = self._faiss.downcast_index(self._index.base_index)

    def _settings(self, k: int, ef_search: int) -> Any:
        return self._faiss.IndexRefineSearchParameters(
            k_factor=min(REFINED, ef_search / k),
            base_index_params=self._faiss.SearchParametersHNSW(efSearch=ef_search),
        )
