"""Sets of allowed ids for filtered search, and the exact neighbours within each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import folders
from benchmarks.folders import Dataset, FloatMatrix, IntMatrix

__all__ = ["KEPT", "KINDS", "Selection", "select"]

KEPT = (0.5, 0.1, 0.01, 0.001)
KINDS = ("random", "correlated", "anti-correlated")
# Sets in each case, so that no figure hangs on one draw.
GROUPS = 8


@dataclass(frozen=True, kw_only=True)
class Selection:
    """One case: each query has one of a few sets of allowed ids.

    Args:
        kind: ``random``; ``correlated``, where a query's set is the surroundings of the anchor
            that is nearest to it; ``anti-correlated``, of the one that is farthest from it.
        kept: share of the vectors that each set allows.
        allowed: (sets, n) bool.
        group: (q,) which set a query has.
        exact: (q, k) ids of the best allowed, best first, -1 where fewer are allowed.
    """

    kind: str
    kept: float
    allowed: NDArray[np.bool_]
    group: NDArray[np.int64]
    exact: IntMatrix

    @property
    def name(self) -> str:
        """Kind and share, as text."""
        return f"{self.kind} {100 * self.kept:g} %"

    def save(self, file: Path) -> None:
        """Write it, the sets as bits."""
        np.savez(
            file,
            allowed=np.packbits(self.allowed, axis=1),
            count=self.allowed.shape[1],
            group=self.group,
            exact=self.exact,
        )


def select(
    dataset: Dataset, kind: str, kept: float, k: int, *, seed: int = 0, cache: Path | None = None
) -> Selection:
    """Draw the sets, give each query its own, and find the exact neighbours within it.

    Anchors are vectors of the dataset, drawn with ``seed``.
    """
    random = np.random.default_rng(seed)
    count = len(dataset.base)
    size = max(1, round(kept * count))
    anchors = dataset.base[random.choice(count, size=min(GROUPS, count), replace=False)]
    allowed = np.zeros((len(anchors), count), dtype=np.bool_)
    if kind == "random":
        for row in allowed:
            row[random.choice(count, size=size, replace=False)] = True
        group = np.arange(len(dataset.queries)) % len(anchors)
    else:
        near = _scores(anchors, dataset.base, dataset.metric)
        for row, scores in zip(allowed, near, strict=True):
            row[np.argpartition(-scores, size - 1)[:size]] = True
        closeness = _scores(dataset.queries, anchors, dataset.metric)
        group = (closeness.argmax if kind == "correlated" else closeness.argmin)(axis=1)
    content = f"{kind} {kept} {k} {seed} {GROUPS}".encode()
    exact = folders.cached(cache, dataset, content, lambda: _within(dataset, allowed, group, k))
    return Selection(kind=kind, kept=kept, allowed=allowed, group=group, exact=exact)


def _within(
    dataset: Dataset, allowed: NDArray[np.bool_], group: NDArray[np.int64], k: int
) -> IntMatrix:
    exact = np.full((len(dataset.queries), k), -1, dtype=np.int64)
    for number, mask in enumerate(allowed):
        rows = np.flatnonzero(mask)
        part = Dataset(
            name=dataset.name,
            metric=dataset.metric,
            base=dataset.base[rows],
            queries=dataset.queries[group == number],
        )
        if len(part.queries):
            found = folders.exact_neighbors(part, min(k, len(rows)))
            exact[group == number, : found.shape[1]] = rows[found]
    return exact


def _scores(queries: FloatMatrix, base: FloatMatrix, metric: str) -> FloatMatrix:
    """(q, n), higher is nearer; comparable along a row and, under L2 too, down a column."""
    scores: FloatMatrix = queries @ base.T
    if metric == "l2":
        squares = np.einsum("ij,ij->i", base, base)
        scores = 2 * scores - squares
    if metric == "cosine":
        scores /= np.linalg.norm(base, axis=1)
    return scores
