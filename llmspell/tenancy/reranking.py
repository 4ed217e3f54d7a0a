"""A second look at the best candidates, by a model that reads query and text together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from llmspell.errors import ConfigError, RerankError

__all__ = ["Rerank", "Reranker", "scores_of"]

Reranker: TypeAlias = Callable[[str, Sequence[str]], Any]
"""From a query and n texts to n numbers, higher is better: a model, or any callable."""

DEPTH: Final = 50
MOST: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerank:
    """A reranker and how many candidates it looks at; what lies behind them is left out.

    Args:
        model: called with the query and the texts, in one call, in the calling thread; such as
            :class:`llmspell.rag.CrossEncoder`. What it raises is raised.
        depth: candidates, from 1 to 1,000.

    Raises:
        ConfigError: out of range, or not callable.
    """

    model: Reranker
    depth: int = DEPTH

    def __post_init__(self) -> None:
        if not callable(self.model):
            raise ConfigError(f"model must be called with a query and texts, got {self.model!r}")
        depth: object = self.depth
        if isinstance(depth, bool) or not isinstance(depth, int) or not 1 <= depth <= MOST:
            raise ConfigError(f"depth must be an int from 1 to {MOST:,}, got {depth!r}")


def scores_of(model: Reranker, query: str, texts: Sequence[str]) -> NDArray[np.float64]:
    """Scores (n,) of n texts.

    Raises:
        RerankError: the model gives no n finite numbers.
    """
    if not texts:
        return np.empty(0)
    given = model(query, list(texts))
    try:
        scores = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise RerankError(f"a reranker gives a number for each text, got {given!r:.100}") from error
    if scores.shape != (len(texts),):
        raise RerankError(
            f"a reranker gives a number for each text: {len(texts)} texts, got {scores.shape}"
        )
    if not np.isfinite(scores).all():
        raise RerankError("a reranker gives finite numbers, got inf or nan")
    return scores
