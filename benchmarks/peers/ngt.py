"""NGT: its graph ANNG over float32 (https://github.com/yahoojapan/NGT)."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.base import (
    BatchSearch,
    FloatMatrix,
    Parameters,
    Peer,
    Search,
    Setup,
    from_threads,
    unit,
)

DISTRIBUTION = "ngt"
VARIANTS = ("anng",)
# Thousandths of epsilon, by how much the walk looks beyond the k-th distance.
SETTINGS = (1, 10, 20, 30, 40, 50, 60, 80, 100, 120, 150, 200, 250, 300)
EDGES = 100


def make(setup: Setup, variant: str) -> Peer:
    """``ngtpy.Index``; its optimizer crashes in this version, so the graph is the plain one."""
    return _Ngt(setup)


class _Ngt:
    def __init__(self, setup: Setup) -> None:
        import ngtpy

        self._ngtpy = ngtpy
        self._setup = setup
        self._folder = Path(setup.scratch) / "anng"
        self._index: Any = None

    def parameters(self) -> Parameters:
        return {
            "edge_size_for_creation": EDGES,
            "element_type": "Float",
            "distance_type": self._distance(),
        }

    def _distance(self) -> str:
        return "L2" if self._setup.metric == "l2" else "Normalized L2"

    def build(self, vectors: FloatMatrix) -> None:
        self._ngtpy.create(
            str(self._folder),
            self._setup.dim,
            edge_size_for_creation=EDGES,
            distance_type=self._distance(),
            object_type="Float",
        )
        self._index = self._ngtpy.Index(str(self._folder), log_disabled=True)
        self._index.batch_insert(vectors, num_threads=self._setup.build_threads)

    def prepare(self, queries: FloatMatrix) -> Sequence[Any]:
        return list(unit(queries, self._setup.metric))

    def searcher(self, k: int, ef_search: int) -> Search:
        search = self._index.search
        epsilon = ef_search / 1000
        return lambda vector: search(vector, k, epsilon, with_distance=False)

    def batch_searcher(self, k: int, ef_search: int, threads: int) -> BatchSearch:
        return from_threads(self.searcher(k, ef_search), self.prepare, threads)

    def save(self, folder: Path, vectors: FloatMatrix) -> None:
        self._index.save()
        shutil.copytree(self._folder, folder / "anng")

    def load(self, folder: Path) -> None:
        self._index = self._ngtpy.Index(str(folder / "anng"), read_only=True)
