"""Vectors for the tests, and the few lines of NumPy that the index is compared with.

Real embeddings aren't at hand in CI. `clustered` stands in for them: points around centres, most of
the variance in a few directions, as embeddings have it. Recall on independent noise of the same
dimension would say little.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmspell.config import ElementType, Metric

__all__ = ["METRICS", "ALL_METRICS", "TYPES", "clustered", "recall", "scores_of"]

METRICS: tuple[Metric, ...] = ("ip", "cosine", "l2")
ALL_METRICS: tuple[Metric, ...] = (*METRICS, "l1")
TYPES: tuple[ElementType, ...] = ("float32", "float16", "bfloat16", "int8")


def clustered(n: int, dim: int, seed: int = 0, *, world: int = 1) -> NDArray[np.float32]:
    """Return (n, dim) unit vectors; those of one ``world`` share centres, whatever the seed."""
    centre_random = np.random.default_rng(world)
    centres = centre_random.normal(size=(40, dim)) * np.linspace(2, 0.2, dim)
    random = np.random.default_rng(seed + 1_000)
    points = centres[random.integers(0, len(centres), n)]
    points = points + random.normal(size=(n, dim)) * np.linspace(1, 0.1, dim)
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def scores_of(metric: Metric, queries: NDArray[Any], rows: NDArray[Any]) -> NDArray[np.float64]:
    """Return (q, n) scores in double precision: the model of what a search orders by."""
    if metric == "hamming":  # of packed bits
        differing = np.unpackbits(queries[:, None, :] ^ rows[None, :, :], axis=2)
        return -differing.sum(axis=2, dtype=np.float64)
    q, r = queries.astype(np.float64), rows.astype(np.float64)
    if metric == "l2":
        return -((q[:, None, :] - r[None, :, :]) ** 2).sum(axis=2)
    if metric == "l1":
        return -np.array([np.abs(r - row).sum(axis=1) for row in q])
    if metric == "cosine":
        q = q / np.linalg.norm(q, axis=1, keepdims=True)
        r = r / np.linalg.norm(r, axis=1, keepdims=True)
    return np.asarray(q @ r.T)


def recall(found: NDArray[np.int64], scores: NDArray[np.float64], k: int) -> float:
    """Return the share of the k nearest rows that ``found`` (q, k) holds."""
    nearest = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    hits = [
        len(set(a) & set(b)) for a, b in zip(found[:, :k].tolist(), nearest.tolist(), strict=True)
    ]
    return sum(hits) / (k * len(hits))
