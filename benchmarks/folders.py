"""Dataset folders: ``base.f16.npy``, ``queries.f16.npy``, and exact neighbours computed here."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Dataset",
    "best_rows",
    "cached",
    "default_cache",
    "exact_neighbors",
    "load",
    "load_queries",
    "recall",
]

FloatMatrix = NDArray[np.float32]
IntMatrix = NDArray[np.int64]
Metric = Literal["ip", "cosine", "l2"]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Vectors to index and held-out queries.

    Args:
        name: the folder's name, with the number of vectors where it was cut down.
        metric: how the folder's vectors are compared; ``ip`` unless its ``meta.json`` says
            otherwise, and then every vector has unit length; under ``cosine`` lengths are kept.
        base: (n, dim) float32.
        queries: (q, dim) float32.
    """

    name: str
    metric: Metric
    base: FloatMatrix
    queries: FloatMatrix

    @property
    def dim(self) -> int:
        """Number of components of a vector."""
        return int(self.base.shape[1])

    def describe(self) -> dict[str, Any]:
        """Name, sizes and metric, as JSON values."""
        return {
            "name": self.name,
            "vectors": len(self.base),
            "dim": self.dim,
            "queries": len(self.queries),
            "metric": self.metric,
        }


def load(folder: Path, *, limit: int | None = None, seed: int = 0) -> Dataset:
    """Read a dataset folder as float32, renormalised for inner product.

    Float16 rounding leaves lengths off by up to 2e-4, which would make inner product and
    cosine disagree on neighbours, so unit length is restored after the conversion.

    Args:
        folder: holds ``base.f16.npy`` (n, dim) and ``queries.f16.npy`` (q, dim).
        limit: keep that many vectors, drawn with ``seed``, in the folder's order.
        seed: of the draw.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: ``meta.json`` names a metric that isn't known.
    """
    stored = np.load(folder / "base.f16.npy", mmap_mode="r")
    name = folder.resolve().name
    if limit is not None and limit < len(stored):
        drawn = np.random.default_rng(seed).choice(len(stored), size=limit, replace=False)
        stored = stored[np.sort(drawn)]
        name = f"{name}-{limit}"
    metric = _metric_of(folder)
    base = _as_float32(stored, metric)
    return Dataset(name=name, metric=metric, base=base, queries=load_queries(folder))


def load_queries(folder: Path) -> FloatMatrix:
    """The queries of a dataset folder alone, as :func:`load` gives them."""
    return _as_float32(np.load(folder / "queries.f16.npy"), _metric_of(folder))


def exact_neighbors(dataset: Dataset, k: int, cache: Path | None = None) -> IntMatrix:
    """Row numbers of the ``k`` best vectors for each query, best first, shape (q, k).

    Computed by blocked matrix products in float32; equal scores go to the lower row number.
    With ``cache``, kept there under a name made from the vectors' own digest.
    """
    content = f"{dataset.metric} {k} {dataset.base.shape}".encode()
    return cached(cache, dataset, content, lambda: _compute_neighbors(dataset, k))


def cached(
    cache: Path | None, dataset: Dataset, content: bytes, compute: Callable[[], IntMatrix]
) -> IntMatrix:
    """What ``compute`` gives, from ``cache`` where it was computed before; None keeps nothing.

    ``content`` is all that the result depends on besides the dataset's vectors.
    """
    if cache is None:
        return compute()
    digest = hashlib.blake2b(content, digest_size=12)
    digest.update(dataset.base.tobytes())
    digest.update(dataset.queries.tobytes())
    file = cache / f"neighbors-{digest.hexdigest()}.npy"
    if file.exists():
        return cast(IntMatrix, np.load(file))
    neighbors = compute()
    cache.mkdir(parents=True, exist_ok=True)
    # Two runs may fill the cache at once: each writes its own file, the last rename stays.
    with tempfile.NamedTemporaryFile(dir=cache, suffix=".npy", delete=False) as beside:
        np.save(beside, neighbors)
    os.replace(beside.name, file)
    return neighbors


def default_cache() -> Path:
    """Where computed neighbours are kept; dataset folders may be read-only."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "llmspell-benchmarks"


def recall(found: IntMatrix, exact: IntMatrix) -> float:
    """Share of the exact neighbours that was found, over all queries.

    Args:
        found: (q, k) ids, padded with -1 where fewer were returned.
        exact: (q, k) ids.
    """
    hits = sum(len(np.intersect1d(f, e)) for f, e in zip(found, exact, strict=True))
    return hits / exact.size


def _compute_neighbors(dataset: Dataset, k: int) -> IntMatrix:
    base, queries = dataset.base, dataset.queries
    if k > len(base):
        raise ValueError(f"k is {k}, but there are only {len(base)} vectors")
    squares = np.einsum("ij,ij->i", base, base) if dataset.metric == "l2" else None
    if dataset.metric == "cosine":
        base = base / np.linalg.norm(base, axis=1, keepdims=True)
    rows = max(1, (64 << 20) // (4 * len(base)))
    blocks = []
    for start in range(0, len(queries), rows):
        scores = queries[start : start + rows] @ base.T
        if squares is not None:
            scores = 2 * scores - squares
        blocks.append(best_rows(scores, k))
    return np.concatenate(blocks)


def best_rows(scores: FloatMatrix, k: int) -> IntMatrix:
    """Columns of the ``k`` highest of each row, best first; equal scores by rising column."""
    edge = np.partition(scores, -k, axis=1)[:, -k]
    chosen = np.empty((len(scores), k), dtype=np.int64)
    for row, (values, least) in enumerate(zip(scores, edge, strict=True)):
        columns = np.flatnonzero(values >= least)
        chosen[row] = columns[np.argsort(-values[columns], kind="stable")][:k]
    return chosen


def _as_float32(stored: NDArray[Any], metric: Metric) -> FloatMatrix:
    vectors = np.ascontiguousarray(stored, dtype=np.float32)
    if metric == "ip":
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def _metric_of(folder: Path) -> Metric:
    meta = folder / "meta.json"
    if not meta.exists():
        return "ip"
    metric = json.loads(meta.read_text(encoding="utf-8")).get("metric", "ip")
    if metric not in get_args(Metric):
        raise ValueError(f"{meta}: metric must be one of {get_args(Metric)}, got {metric!r}")
    return cast(Metric, metric)
