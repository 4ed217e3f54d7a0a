"""SymphonyQG of rabitqlib, one-bit codes (https://github.com/VectorDB-NTU/RaBitQ-Library).

Its index is built once from all vectors: nothing is added, deleted or filtered later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.peers.base import FloatMatrix, Peer, Search, Setup

DISTRIBUTION = "rabitqlib"
VARIANTS = ("symqg32", "symqg64")


def make(setup: Setup, variant: str) -> Peer:
    """``rabitqlib.SymqgIndex``; the number in ``variant`` is its degree."""
    return _Symqg(setup, int(variant.removeprefix("symqg")))


class _Symqg:
    def __init__(self, setup: Setup, degree: int) -> None:
        import rabitqlib

        self._setup = setup
        self._degree = degree
        self._index = rabitqlib.SymqgIndex(setup.dim, degree, metric=setup.metric)

    def parameters(self) -> Mapping[str, str | int | float | bool]:
        return {
            "max_degree": self._degree,
            "ef_construction": self._setup.ef_construction,
            "element_type": "float32 and 1-bit codes",
        }

    def build(self, vectors: FloatMatrix) -> None:
        self._index.build(
            vectors, self._setup.ef_construction, num_threads=self._setup.build_threads
        )

    def prepare(self, queries: FloatMatrix) -> Sequence[Any]:
        return [np.ascontiguousarray(query[None]) for query in queries]

    def searcher(self, k: int, ef_search: int) -> Search:
        search = self._index.search
        # It returns ids and distances, one row a query.
        return lambda vector: search(vector, k, ef_search, 1)[0][0]
