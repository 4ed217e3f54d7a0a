"""What a search returns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Neighbors", "neighbors_type"]


class Neighbors(tuple[NDArray[np.int64], NDArray[np.float32]]):
    """Ids and scores, best first; unpacks as ``ids, scores = index.search(...)``.

    For one query both have shape (found,), with found <= k. For a batch of q queries both have
    shape (q, k); where fewer were found the rest is id -1 with score -inf.
    """

    __slots__ = ()

    @property
    def ids(self) -> NDArray[np.int64]:
        """The ids, int64."""
        return self[0]

    @property
    def scores(self) -> NDArray[np.float32]:
        """Higher is nearer for every metric.

        Inner product for ``ip``, cosine for ``cosine``, minus the squared distance for ``l2``,
        minus the sum of absolute differences for ``l1``, minus the number of differing bits for
        ``hamming``.
        """
        return self[1]

    @property
    def distances(self) -> NDArray[np.float32]:
        """Lower is nearer: 1 - score for ``ip`` and ``cosine``, minus the score for the others."""
        return np.float32(1) - self[1]


class _DistanceNeighbors(Neighbors):
    __slots__ = ()

    @property
    def distances(self) -> NDArray[np.float32]:
        return -self[1]


def neighbors_type(metric: str) -> type[Neighbors]:
    """The class whose ``distances`` are those of ``metric``."""
    return Neighbors if metric in ("ip", "cosine") else _DistanceNeighbors
