"""Hits that don't all say the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmspell.tenancy.fusion import as_number

__all__ = ["MMR"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MMR:
    """Maximal marginal relevance (Carbonell and Goldstein 1998).

    Hits are taken one by one: each is the best by ``relevance`` times its score, brought to 0 to 1
    over the candidates, minus the rest times its cosine to the nearest of those already taken.

    Args:
        relevance: 1 leaves the ranking as it is, 0 looks at the difference alone.

    Raises:
        ConfigError: not from 0 to 1.
    """

    relevance: float = 0.7

    def __post_init__(self) -> None:
        as_number("relevance", self.relevance, 0.0, 1.0)

    def choose(
        self, scores: NDArray[np.float64], vectors: NDArray[np.float32], count: int
    ) -> list[int]:
        """Places of the best ``count``, in the order in which they are taken.

        Args:
            scores: (n,), the best first.
            vectors: (n, dim).
        """
        if not len(scores):
            return []
        least, most = scores.min(), scores.max()
        worth = (scores - least) / (most - least) if most > least else np.ones(len(scores))
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        units = vectors / np.where(lengths > 0, lengths, 1.0)
        nearest = np.zeros(len(scores))
        is_left = np.ones(len(scores), dtype=np.bool_)
        chosen: list[int] = []
        while len(chosen) < min(count, len(scores)):
            marginal = self.relevance * worth - (1.0 - self.relevance) * nearest
            best = int(np.argmax(np.where(is_left, marginal, -np.inf)))
            chosen.append(best)
            is_left[best] = False
            likeness = units @ units[best]
            nearest = likeness if len(chosen) == 1 else np.maximum(nearest, likeness)
        return chosen
