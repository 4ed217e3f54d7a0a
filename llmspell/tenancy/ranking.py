"""From candidates to a page of hits: fused, thinned out by thresholds, and told why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from llmspell.config import Metric
from llmspell.errors import InputError
from llmspell.storage import StoredRecord
from llmspell.storage.retriever import Candidates, Retriever, Sought
from llmspell.tenancy.fusion import WeightedScores, as_number
from llmspell.tenancy.retrieved import Evidence, Retrieval, Retrieved, Span

if TYPE_CHECKING:
    from llmspell.tenancy.retrieving import Retrieve

__all__ = ["Ranking", "Thresholds"]

#: Characters of a text in which words of the query are marked, and marks of a text.
MARKED_CHARS: Final = 200_000
MOST_SPANS: Final = 1_000

#: By `python -m benchmarks retrieval`.
DEFAULT_FUSION: Final = WeightedScores()


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Least scores of a hit, by what gives them; None asks nothing.

    What the vector index has below ``dense`` is no candidate of its any more, and is found only
    where words find it; ``lexical`` likewise.

    Args:
        dense: as :meth:`Tenant.search` gives them.
        lexical: of BM25, above 0 without an upper end.
        score: of what hits are ranked by in the end.

    Raises:
        ConfigError: not a finite number.
    """

    dense: float | None = None
    lexical: float | None = None
    score: float | None = None

    def __post_init__(self) -> None:
        for name in ("dense", "lexical", "score"):
            value = getattr(self, name)
            if value is not None:
                as_number(name, value, -np.inf)


class Ranking:
    """Ranks what a retriever finds as one call asks for it."""

    def __init__(self, retriever: Retriever, metric: Metric, asked: Retrieve) -> None:
        self._retriever = retriever
        self._metric = metric
        self._asked = asked
        given = asked.threshold
        if given is None or isinstance(given, Thresholds):
            self._thresholds = given or Thresholds()
        elif isinstance(given, (int, float, np.floating)) and not isinstance(given, bool):
            self._thresholds = Thresholds(score=float(given))
        else:
            raise InputError(f"threshold is a number or a Thresholds, got {type(given).__name__}")

    def page(self, sought: Sought) -> Retrieval:
        """The hits of one query."""
        asked, least = self._asked, self._thresholds
        found = self._retriever.find(sought)
        dense = _at_least(found.dense, least.dense)
        lexical = _at_least(found.lexical, least.lexical)
        scores = _at_least(self._fused(sought, dense, lexical), least.score)
        order = sorted(scores, key=lambda row: (-scores[row], row))
        hits = self._hits(order[: asked.k], scores, found._replace(dense=dense, lexical=lexical))
        return Retrieval(tuple(self._marked(hit, sought.terms) for hit in hits))

    def _fused(
        self, sought: Sought, dense: Mapping[int, float], lexical: Mapping[int, float]
    ) -> dict[int, float]:
        if self._asked.mode != "hybrid":
            return dict(dense or lexical)
        fusion = self._asked.fusion or DEFAULT_FUSION
        if isinstance(fusion, WeightedScores) and sought.vector is not None:
            dense = {
                **dense,
                **self._by_vector(sought, [row for row in lexical if row not in dense]),
            }
        return fusion.fuse(dense, lexical)

    def _by_vector(self, sought: Sought, rows: Sequence[int]) -> dict[int, float]:
        """Scores by meaning of rows that the vector index hasn't among its candidates."""
        assert sought.vector is not None
        found = zip(rows, self._retriever.vectors(rows), strict=True)
        there = [(row, vector) for row, vector in found if vector is not None]
        # Of other metrics there are no floats to compare by.
        if not there or self._metric not in ("ip", "cosine", "l2"):
            return {}
        query = np.asarray(sought.vector, dtype=np.float64)
        matrix = np.stack([vector for _, vector in there]).astype(np.float64)
        if self._metric == "l2":
            scores = -((matrix - query) ** 2).sum(axis=1)
        else:
            scores = matrix @ query
            if self._metric == "cosine":
                scores /= np.linalg.norm(matrix, axis=1) * np.linalg.norm(query)
        return dict(zip([row for row, _ in there], scores.tolist(), strict=True))

    def _hits(
        self, rows: Sequence[int], scores: Mapping[int, float], found: Candidates
    ) -> list[Retrieved]:
        dense, lexical = _evidence(found.dense), _evidence(found.lexical)
        return [
            _as_hit(found.records[row], scores[row], dense.get(row), lexical.get(row))
            for row in rows
        ]

    def _marked(self, hit: Retrieved, terms: Sequence[str] | None) -> Retrieved:
        if not terms or hit.text is None:
            return hit
        wanted = set(terms)
        words = self._retriever.tokens(hit.text[:MARKED_CHARS])
        spans = [Span(word.start, word.end, word.term) for word in words if word.term in wanted]
        return replace(hit, spans=tuple(spans[:MOST_SPANS]))


def _at_least(scores: Mapping[int, float], least: float | None) -> dict[int, float]:
    if least is None:
        return dict(scores)
    return {row: score for row, score in scores.items() if score >= least}


def _evidence(scores: Mapping[int, float]) -> dict[int, Evidence]:
    return {row: Evidence(rank, score) for rank, (row, score) in enumerate(scores.items(), 1)}


def _as_hit(
    record: StoredRecord, score: float, dense: Evidence | None, lexical: Evidence | None
) -> Retrieved:
    metadata = record.metadata
    is_chunk = record.is_chunk
    return Retrieved(
        id=record.id,
        score=score,
        text=record.text,
        metadata=metadata,
        dense=dense,
        lexical=lexical,
        document=metadata.get("document") if is_chunk else None,
        start=metadata.get("start") if is_chunk else None,
        end=metadata.get("end") if is_chunk else None,
    )
