"""How much of the exact answers an index finds, without holding the vectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from llmspell.config import Metric
from llmspell.index.index import Index

__all__ = ["recall"]


SCORES_BYTES = 32 << 20


class _Batches(Protocol):
    def __len__(self) -> int: ...

    def batches(
        self, rows: int | None = None
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]: ...


def recall(
    source: _Batches, index: Index, metric: Metric, *, k: int, queries: int, seed: int
) -> float | None:
    """Share of the k nearest others of some vectors of ``source`` that ``index`` finds.

    A vector that is as near as the k-th counts as one of the k nearest: of equal vectors no index
    can know which are meant.
    """
    k = min(k, len(source) - 1)
    if k < 1:
        return None
    own, sample = _sample(source, min(queries, len(source)), seed)
    found, _ = index.search(sample, k + 1)
    wide = _prepared(metric, sample)
    nearest = np.full((len(own), k), -np.inf)
    scores_of_found = np.full(found.shape, -np.inf)
    rows = max(1, SCORES_BYTES // (8 * max(len(own), index.dim)))
    for ids, vectors in source.batches(rows):
        scores = _scores(metric, wide, _prepared(metric, vectors))
        order = np.argsort(ids)
        place = order[np.searchsorted(ids, found, sorter=order).clip(max=len(ids) - 1)]
        here = ids[place] == found
        scores_of_found[here] = np.take_along_axis(scores, place, axis=1)[here]
        scores[own[:, None] == ids] = -np.inf
        nearest = np.partition(np.hstack((nearest, scores)), -k, axis=1)[:, -k:]
    scores_of_found[found == own[:, None]] = -np.inf
    best = -np.sort(-scores_of_found, axis=1)[:, :k]
    least = nearest.min(axis=1, keepdims=True)
    # A sum in another order may differ in its last digits.
    return float((best >= least - 1e-9 * (1 + np.abs(least))).mean())


def _sample(
    source: _Batches, count: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    chosen = np.sort(np.random.default_rng(seed).choice(len(source), count, replace=False))
    ids, rows, start = [], [], 0
    for batch, vectors in source.batches():
        here = chosen[(chosen >= start) & (chosen < start + len(batch))] - start
        ids.append(batch[here])
        rows.append(vectors[here])
        start += len(batch)
    return np.concatenate(ids), np.concatenate(rows)


def _prepared(metric: Metric, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = vectors.astype(np.float64)
    if metric == "cosine":
        wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    return wide


def _scores(
    metric: Metric, queries: NDArray[np.float64], rows: NDArray[np.float64]
) -> NDArray[np.float64]:
    if metric == "l1":
        # Query by query, for the differences of all would take dim times the scores' memory.
        return np.stack([-np.abs(rows - query).sum(axis=1) for query in queries])
    products: NDArray[np.float64] = queries @ rows.T
    if metric != "l2":
        return products
    products *= 2
    products -= (rows**2).sum(axis=1)
    products -= (queries**2).sum(axis=1)[:, None]
    return products
