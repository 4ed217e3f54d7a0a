"""Files written by the libraries themselves."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmspell.config import Metric

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # SWIG's types have no module, Python 3.12 says
    import faiss
    import hnswlib
    import usearch.index

__all__ = [
    "FAISS_METRICS",
    "HNSWLIB_SPACES",
    "USEARCH_METRICS",
    "contents",
    "faiss",
    "faiss_file",
    "hnswlib_file",
    "normalised",
    "usearch_file",
]

HNSWLIB_SPACES: dict[Metric, str] = {"ip": "ip", "cosine": "cosine", "l2": "l2"}
FAISS_METRICS: dict[Metric, int] = {
    "ip": faiss.METRIC_INNER_PRODUCT,
    "l2": faiss.METRIC_L2,
    "l1": faiss.METRIC_L1,
}
USEARCH_METRICS: dict[Metric, str] = {"ip": "ip", "cosine": "cos", "l2": "l2sq"}


def hnswlib_file(
    path: Path,
    ids: ArrayLike,
    vectors: NDArray[np.float32],
    *,
    metric: Metric = "l2",
    deleted: Sequence[int] = (),
) -> Path:
    """What ``save_index`` writes."""
    index = hnswlib.Index(space=HNSWLIB_SPACES[metric], dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors) + 5, M=4, ef_construction=40, random_seed=1)
    if len(vectors):
        index.add_items(vectors, ids, num_threads=1)
    for label in deleted:
        index.mark_deleted(label)
    index.save_index(str(path))
    return path


def faiss_file(path: Path, index: Any) -> Path:
    """What ``write_index`` writes."""
    faiss.write_index(index, str(path))
    return path


def usearch_file(
    path: Path,
    ids: ArrayLike,
    vectors: NDArray[Any],
    *,
    metric: str = "l2sq",
    dtype: str = "f32",
    deleted: Sequence[int] = (),
    multi: bool = False,
) -> Path:
    """What ``save`` writes."""
    index = usearch.index.Index(
        ndim=vectors.shape[1], metric=metric, dtype=dtype, connectivity=4, multi=multi
    )
    if len(vectors):
        index.add(np.asarray(ids, np.uint64), vectors, threads=1)
    for key in deleted:
        index.remove(key)
    index.save(str(path))
    return path


def normalised(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length 1."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def contents(source: Any, rows: int | None = None) -> dict[int, NDArray[np.float32]]:
    """All that iterating gives, by id."""
    found: dict[int, NDArray[np.float32]] = {}
    for ids, vectors in source.batches(rows):
        assert ids.dtype == np.int64 and vectors.dtype == np.float32
        assert vectors.shape == (len(ids), source.description.dim)
        assert 0 < len(ids) <= (rows or len(ids))
        assert not found.keys() & set(ids.tolist())
        found |= zip(ids.tolist(), vectors, strict=True)
    return found
