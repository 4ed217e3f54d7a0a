"""VSAG: HGraph of degree 32 over 8-bit codes, refined from float32.

https://github.com/antgroup/vsag
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.base import (
    BatchSearch,
    FloatMatrix,
    Parameters,
    Peer,
    Search,
    Setup,
    from_threads,
)

DISTRIBUTION = "pyvsag"
VARIANTS = ("sq8", "fp32")


def make(setup: Setup, variant: str) -> Peer:
    """``pyvsag.Index`` of type ``hgraph``; ``variant`` is its base quantization."""
    return _Vsag(setup, variant)


class _Vsag:
    def __init__(self, setup: Setup, codes: str) -> None:
        import pyvsag

        self._setup = setup
        self._codes = codes
        graph: dict[str, Any] = {
            "base_quantization_type": codes,
            "max_degree": 2 * setup.m,
            "ef_construction": setup.ef_construction,
            "build_thread_count": setup.build_threads,
        }
        if codes != "fp32":
            graph.update(use_reorder=True, precise_quantization_type="fp32")
        settings = {
            "dtype": "float32",
            "metric_type": setup.metric,
            "dim": setup.dim,
            "index_param": graph,
        }
        self._index: Any = pyvsag.Index("hgraph", json.dumps(settings))

    def parameters(self) -> Parameters:
        return {
            "max_degree": 2 * self._setup.m,
            "ef_construction": self._setup.ef_construction,
            "element_type": self._codes,
            "use_reorder": self._codes != "fp32",
        }

    def build(self, vectors: FloatMatrix) -> None:
        self._index.build(
            vectors=vectors,
            ids=np.arange(len(vectors), dtype=np.int64),
            num_elements=len(vectors),
            dim=self._setup.dim,
        )

    def prepare(self, queries: FloatMatrix) -> Sequence[Any]:
        return list(queries)

    def searcher(self, k: int, ef_search: int) -> Search:
        settings = json.dumps({"hgraph": {"ef_search": ef_search}})
        search = self._index.knn_search
        return lambda vector: search(vector, k, settings)[0]

    def batch_searcher(self, k: int, ef_search: int, threads: int) -> BatchSearch:
        return from_threads(self.searcher(k, ef_search), self.prepare, threads)

    def save(self, folder: Path, vectors: FloatMatrix) -> None:
        self._index.save(str(folder / "index.vsag"))

    def load(self, folder: Path) -> None:
        self._index.load(str(folder / "index.vsag"))
