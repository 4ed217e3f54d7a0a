"""How what was found by meaning and what was found by words become one ranking."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from llmspell.errors import ConfigError

__all__ = ["Fusion", "ReciprocalRank", "WeightedScores", "as_number"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReciprocalRank:
    """Reciprocal rank fusion: sums ``weight / (k + rank)`` over the two rankings.

    It looks at ranks alone (Cormack, Clarke and Büttcher 2009), and so needs no scores that
    compare; where one of the two is much better, it pulls that one down.

    Args:
        k: the higher, the less the first ranks count beside later ones; above 0.
        dense, lexical: weights, 0 or more.

    Raises:
        ConfigError: out of range, or both weights are 0.
    """

    k: float = 60.0
    dense: float = 1.0
    lexical: float = 1.0

    def __post_init__(self) -> None:
        as_number("k", self.k, 0.0, is_open=True)
        _check_weights(self.dense, self.lexical)

    def fuse(
        self, dense: Mapping[int, float], lexical: Mapping[int, float], most_lexical: float
    ) -> dict[int, float]:
        """Scores of all rows; each ranking has the best first. ``most_lexical`` isn't looked at."""
        fused: dict[int, float] = {}
        for weight, ranking in ((self.dense, dense), (self.lexical, lexical)):
            for rank, row in enumerate(ranking, 1):
                fused[row] = fused.get(row, 0.0) + weight / (self.k + rank)
        return fused


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedScores:
    """Convex combination: a weighted sum of the two scores, each brought to 0 to 1 first.

    A score by words is divided by the most that the query's words could score, so that a text
    counts little whose one word of many is a common one. One by meaning is counted from the least
    to the best of the candidates; what words alone have found is scored by its vector. See Bruch,
    Gai and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval" (2023).

    Args:
        dense, lexical: weights, 0 or more; the sum of both counts as 1.

    Raises:
        ConfigError: out of range, or both weights are 0.
    """

    dense: float = 0.5
    lexical: float = 0.5

    def __post_init__(self) -> None:
        _check_weights(self.dense, self.lexical)

    def fuse(
        self, dense: Mapping[int, float], lexical: Mapping[int, float], most_lexical: float
    ) -> dict[int, float]:
        """Scores of all rows.

        Args:
            most_lexical: above 0; what no score by words is above, but for rounding.
        """
        whole = self.dense + self.lexical
        fused = dict.fromkeys([*dense, *lexical], 0.0)
        if dense:
            least, most = min(dense.values()), max(dense.values())
            for row, score in dense.items():
                share = (score - least) / (most - least) if most > least else 1.0
                fused[row] += self.dense / whole * share
        for row, score in lexical.items():
            fused[row] += self.lexical / whole * min(1.0, score / most_lexical)
        return fused


Fusion: TypeAlias = ReciprocalRank | WeightedScores


def as_number(
    name: str, value: object, least: float, most: float = math.inf, *, is_open: bool = False
) -> float:
    """A finite number within bounds; raises ConfigError.

    Args:
        is_open: whether ``least`` itself is out.
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and math.isfinite(value) and least <= value <= most:  # type: ignore[arg-type, operator]
        number = float(value)  # type: ignore[arg-type]
        if not is_open or number > least:
            return number
    rule = f"above {least:g}" if is_open else f"{least:g} or more"
    rule += f" and at most {most:g}" if most < math.inf else ""
    raise ConfigError(f"{name} must be a number {rule}, got {value!r}")


def _check_weights(dense: object, lexical: object) -> None:
    if as_number("dense", dense, 0.0) + as_number("lexical", lexical, 0.0) == 0.0:
        raise ConfigError("one of the weights dense and lexical must be above 0")
