"""ScaNN: a tree of clusters, 4-bit codes, refined from float32.

https://github.com/google-research/google-research/tree/master/scann
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.base import BatchSearch, FloatMatrix, Parameters, Peer, Search, Setup, unit

DISTRIBUTION = "scann"
VARIANTS = ("ah2",)
# How many leaves of the tree are searched.
SETTINGS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


def make(setup: Setup, variant: str) -> Peer:
    """``scann`` with two dimensions a block, as its documentation recommends."""
    return _Scann(setup)


class _Scann:
    def __init__(self, setup: Setup) -> None:
        from scann import scann_ops_pybind

        self._scann = scann_ops_pybind
        self._setup = setup
        self._leaves = 0
        self._searcher: Any = None

    def parameters(self) -> Parameters:
        return {
            "num_leaves": self._leaves,
            "dimensions_per_block": 2,
            "anisotropic_quantization_threshold": 0.2,
            "element_type": "4-bit codes and float32",
        }

    def build(self, vectors: FloatMatrix) -> None:
        # Its documentation: about the root of the number of vectors.
        self._leaves = round(len(vectors) ** 0.5)
        distance = "squared_l2" if self._setup.metric == "l2" else "dot_product"
        vectors = unit(vectors, self._setup.metric)
        self._searcher = (
            self._scann.builder(vectors, 10, distance)
            .tree(self._leaves, self._leaves, training_sample_size=min(len(vectors), 250_000))
            .score_ah(2, anisotropic_quantization_threshold=0.2)
            .reorder(100)
            .set_n_training_threads(self._setup.build_threads)
            .build()
        )

    def prepare(self, queries: FloatMatrix) -> Sequence[Any]:
        return list(unit(queries, self._setup.metric))

    def searcher(self, k: int, ef_search: int) -> Search:
        search, reorder = self._searcher.search, _refined(k, ef_search)
        return lambda vector: search(vector, k, reorder, ef_search)[0]

    def batch_searcher(self, k: int, ef_search: int, threads: int) -> BatchSearch:
        self._searcher.set_num_threads(threads)
        search, reorder = self._searcher.search_batched_parallel, _refined(k, ef_search)
        return lambda vectors: search(vectors, k, reorder, ef_search)[0]

    def save(self, folder: Path, vectors: FloatMatrix) -> None:
        self._searcher.serialize(str(folder))

    def load(self, folder: Path) -> None:
        self._searcher = self._scann.load_searcher(str(folder))


def _refined(k: int, leaves: int) -> int:
    """How many candidates are compared again in float32: more where more leaves are searched."""
    return max(5 * k, 2 * leaves)
