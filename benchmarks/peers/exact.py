"""No index: NumPy compares a query with every vector, or with the allowed ones gathered."""

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

DISTRIBUTION = "numpy"
VARIANTS = ("sweep",)
# Nothing steers it.
SETTINGS = (1,)


def make(setup: Setup, variant: str) -> Peer:
    """A matrix product and a partial sort, on as many threads as NumPy's BLAS takes."""
    return _Exact(setup)


class _Exact:
    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._vectors: FloatMatrix = np.empty((0, setup.dim), dtype=np.float32)
        self._squares: NDArray[np.float32] | None = None

    def parameters(self) -> Parameters:
        return {"element_type": "float32"}

    def build(self, vectors: FloatMatrix) -> None:
        self._vectors = unit(vectors, self._setup.metric)
        if self._setup.metric == "l2":
            self._squares = np.einsum("ij,ij->i", vectors, vectors)

    def prepare(self, queries: FloatMatrix) -> Sequence[Any]:
        return list(queries)

    def searcher(self, k: int, ef_search: int) -> Search:
        vectors, squares = self._vectors, self._squares
        return lambda query: _nearest(query, vectors, squares, k)

    def batch_searcher(self, k: int, ef_search: int, threads: int) -> BatchSearch:
        search = self.searcher(k, ef_search)
        return lambda queries: [search(query) for query in queries]

    def save(self, folder: Path, vectors: FloatMatrix) -> None:
        np.save(folder / "vectors.npy", self._vectors)

    def load(self, folder: Path) -> None:
        self.build(np.load(folder / "vectors.npy"))

    def allow(self, allowed: NDArray[np.bool_]) -> Any:
        return np.flatnonzero(allowed)

    def filtered_searcher(self, k: int, ef_search: int) -> FilteredSearch:
        vectors, squares = self._vectors, self._squares

        def filtered(query: Any, rows: Any) -> Any:
            some = None if squares is None else squares[rows]
            return rows[_nearest(query, vectors[rows], some, k)]

        return filtered


def _nearest(
    query: NDArray[np.float32],
    vectors: FloatMatrix,
    squares: NDArray[np.float32] | None,
    k: int,
) -> NDArray[np.int64]:
    scores = vectors @ query
    if squares is not None:
        scores = 2 * scores - squares
    if len(scores) <= k:
        return np.argsort(-scores)
    best = np.argpartition(-scores, k)[:k]
    return np.asarray(best[np.argsort(-scores[best])])
