"""Zvec: HNSW over 8-bit codes with refinement (https://github.com/alibaba/zvec).

Searched through its read-only collection, whose answers are row numbers in a NumPy array.
"""

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
)

DISTRIBUTION = "zvec"
VARIANTS = ("int8", "fp32")
_FIELD = "vector"
_BATCH = 1000


def make(setup: Setup, variant: str) -> Peer:
    """``zvec.Collection`` of one field; ``variant`` is how its graph holds vectors."""
    return _Zvec(setup, variant)


class _Zvec:
    def __init__(self, setup: Setup, codes: str) -> None:
        import zvec

        zvec.init(
            query_threads=1,
            optimize_threads=setup.build_threads,
            log_level=zvec.LogLevel.ERROR,
        )
        self._zvec = zvec
        self._setup = setup
        self._codes = codes
        self._folder = Path(setup.scratch) / "collection"
        self._collection: Any = None

    def parameters(self) -> Parameters:
        return {
            "m": self._setup.m,
            "ef_construction": self._setup.ef_construction,
            "element_type": self._codes,
            "refined": self._codes != "fp32",
        }

    def build(self, vectors: FloatMatrix) -> None:
        zvec = self._zvec
        codes = zvec.QuantizeType.UNDEFINED if self._codes == "fp32" else zvec.QuantizeType.INT8
        index = zvec.HnswIndexParam(
            metric_type=getattr(zvec.MetricType, self._setup.metric.upper()),
            m=self._setup.m,
            ef_construction=self._setup.ef_construction,
            quantize_type=codes,
        )
        field = zvec.VectorSchema(
            _FIELD, zvec.DataType.VECTOR_FP32, self._setup.dim, index_param=index
        )
        collection = zvec.create_and_open(
            path=str(self._folder), schema=zvec.CollectionSchema(name="rows", vectors=field)
        )
        for start in range(0, len(vectors), _BATCH):
            rows = enumerate(vectors[start : start + _BATCH], start)
            collection.insert([zvec.Doc(id=str(i), vectors={_FIELD: row}) for i, row in rows])
        collection.optimize(zvec.OptimizeOption(concurrency=self._setup.build_threads))
        collection.close()
        self._open(self._folder)

    def _open(self, folder: Path) -> None:
        option = self._zvec.CollectionOption(read_only=True, enable_mmap=True)
        self._collection = self._zvec.open(str(folder), option)

    def prepare(self, queries: FloatMatrix) -> Sequence[Any]:
        return list(queries)

    def searcher(self, k: int, ef_search: int) -> Search:
        zvec, find = self._zvec, self._collection.query_internal_ids
        settings = zvec.HnswQueryParam(ef=ef_search, is_using_refiner=self._codes != "fp32")
        query = zvec.Query
        return lambda vector: find(query(field_name=_FIELD, vector=vector, param=settings), topk=k)

    def batch_searcher(self, k: int, ef_search: int, threads: int) -> BatchSearch:
        return from_threads(self.searcher(k, ef_search), self.prepare, threads)

    def save(self, folder: Path, vectors: FloatMatrix) -> None:
        shutil.copytree(self._folder, folder / "collection")

    def load(self, folder: Path) -> None:
        self._open(folder / "collection")
