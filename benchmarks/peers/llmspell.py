"""This repository's own index, by element type, quantization, and where its vectors lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

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
from llmspell import _core
from llmspell.config import ElementType, IndexParams, Metric, Quantization
from llmspell.index import Index
from llmspell.index.arrays import IdBitmap

DISTRIBUTION = "llmspell"
VARIANTS = (
    *("float32", "float16", "int8", "float32-pq", "float16-pq", "int8-pq", "float16-sq4"),
    *("float16-pq-mapped", "float16-sq4-mapped"),
)


def make(setup: Setup, variant: str) -> Peer:
    """:class:`llmspell.Index`; ``variant`` is its element type and, after ``-``, quantization.

    With ``mapped`` behind these it is saved and opened again once it is built, the vectors mapped.
    """
    return _Llmspell(setup, variant)


class _Llmspell:
    def __init__(self, setup: Setup, variant: str) -> None:
        dtype, quantization, mapped = [*variant.split("-"), "none", ""][:3]
        self._setup = setup
        self._mapped = mapped == "mapped"
        self._index = Index(
            dim=setup.dim,
            metric=cast(Metric, setup.metric),
            dtype=cast(ElementType, dtype),
            params=IndexParams(
                m=setup.m,
                ef_construction=setup.ef_construction,
                seed=setup.seed,
                quantization=cast(Quantization, quantization),
            ),
        )

    def parameters(self) -> Parameters:
        params = self._index.params
        return {
            "m": params.m,
            "degree_layer0": params.max_neighbors or 2 * params.m,
            "ef_construction": params.ef_construction,
            "element_type": self._index.dtype,
            "quantization": params.quantization,
            "vectors_mapped": self._mapped,
            "simd": _core.simd_level(),
        }

    def build(self, vectors: FloatMatrix) -> None:
        self.insert(np.arange(len(vectors)), vectors, self._setup.build_threads)
        if self._mapped:
            self.save(Path(self._setup.scratch), vectors)
            self.load(Path(self._setup.scratch))

    def prepare(self, queries: FloatMatrix) -> Sequence[Any]:
        return list(queries)

    def searcher(self, k: int, ef_search: int) -> Search:
        search = self._index.search
        return lambda vector: search(vector, k, ef_search=ef_search).ids

    def batch_searcher(self, k: int, ef_search: int, threads: int) -> BatchSearch:
        search = self._index.search
        return lambda vectors: search(vectors, k, ef_search=ef_search, threads=threads).ids

    def save(self, folder: Path, vectors: FloatMatrix) -> None:
        self._index.save(folder / "index.llmspell")

    def load(self, folder: Path) -> None:
        self._index = Index.load(
            folder / "index.llmspell", mmap="vectors" if self._mapped else True
        )

    def allow(self, allowed: NDArray[np.bool_]) -> Any:
        return IdBitmap(np.packbits(allowed, bitorder="little"))

    def filtered_searcher(self, k: int, ef_search: int) -> FilteredSearch:
        search = self._index.search
        return lambda vector, allowed: search(vector, k, ef_search=ef_search, filter=allowed).ids

    def insert(self, ids: NDArray[np.int64], vectors: FloatMatrix, threads: int) -> None:
        self._index.add(ids, vectors, threads=threads)

    def delete(self, ids: NDArray[np.int64]) -> None:
        self._index.delete(ids)
