"""Sentences in groups that are about one thing, by the distance of their embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["groups"]

#: Distances above this part of all others are borders between subjects.
_BORDER_QUANTILE: Final = 0.9


def groups(
    vectors: NDArray[np.float32], tokens: Sequence[int], *, size: int
) -> list[tuple[int, int]]:
    """Group what follows each other.

    Borders are where neighbours are farthest apart: a tenth of all places, and where a group has
    too many tokens still, the farthest apart within it, until it fits.

    Args:
        vectors: (n, dim) unit rows, of n pieces of a text.
        tokens: of each piece.
        size: tokens of a group at most, unless a single piece has more.

    Returns:
        First piece, and the one behind the last, of each group.
    """
    count = len(tokens)
    if not count:
        return []
    distances = 1.0 - np.einsum("ij,ij->i", vectors[:-1], vectors[1:])
    ends = np.cumsum(np.asarray([0, *tokens]))
    borders = {0, count}
    if count > 2:
        least = np.quantile(distances, _BORDER_QUANTILE)
        borders.update((np.flatnonzero(distances > least) + 1).tolist())
    found: list[tuple[int, int]] = []
    waiting = list(pairwise(sorted(borders)))[::-1]
    while waiting:
        first, behind = waiting.pop()
        if behind - first == 1 or ends[behind] - ends[first] <= size:
            found.append((first, behind))
            continue
        border = first + 1 + int(np.argmax(distances[first : behind - 1]))
        waiting += [(border, behind), (first, border)]
    return found
