"""What a search returns."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Neighbors", "RangeNeighbors", "neighbors_type"]


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


@dataclass(frozen=True, slots=True, eq=False)
class RangeNeighbors:
    """What a range search returns, a different number for each query.

    ``found[i]`` is the :class:`Neighbors` of query i, and ``len(found)`` the number of queries; of
    one query ``ids`` and ``scores`` are its own.

    Attributes:
        offsets: (q + 1,) int64; the results of query i lie from ``offsets[i]`` to
            ``offsets[i + 1]`` (FAISS calls them ``lims``).
        ids: (n,) int64, those of all queries one after the other, best first for each.
        scores: (n,) float32.
    """

    offsets: NDArray[np.int64]
    ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    _of_one: type[Neighbors] = field(default=Neighbors, repr=False)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, query: int) -> Neighbors:
        count = len(self)
        if not -count <= query < count:
            raise IndexError(f"query {query} of {count}")
        first, last = self.offsets[query % count : query % count + 2]
        return self._of_one((self.ids[first:last], self.scores[first:last]))
