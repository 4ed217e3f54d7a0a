"""From candidates to a page of hits: fused, thinned out by thresholds, and told why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from llmspell.config import Metric
from llmspell.errors import InputError
from llmspell.storage import StoredRecord
from llmspell.storage.lexical import Analyzer
from llmspell.storage.retriever import Candidates, Retriever, Sought
from llmspell.tenancy.diversity import MMR
from llmspell.tenancy.fusion import WeightedScores, as_number
from llmspell.tenancy.parents import with_parents
from llmspell.tenancy.reranking import DEPTH, Rerank
from llmspell.tenancy.retrieved import Evidence, Marks, Retrieved, Span

if TYPE_CHECKING:
    from llmspell.tenancy.retrieving import Retrieve

__all__ = ["Ranking", "Thresholds"]

#: Characters of a text in which words of the query are marked, and marks of a text.
MARKED_CHARS: Final = 200_000
MOST_SPANS: Final = 1_000

#: Candidates that are told apart where passages are to be made of them.
DIVERSE: Final = 1_000

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

    def __init__(
        self,
        retriever: Retriever,
        metric: Metric,
        asked: Retrieve,
        scored: Callable[[str, list[str]], NDArray[np.float64]],
    ) -> None:
        """Rank for one call.

        Args:
            scored: asks the reranker, if there is one.
        """
        self._retriever = retriever
        self._metric = metric
        self._asked = asked
        self._scored = scored
        given = asked.threshold
        if given is None or isinstance(given, Thresholds):
            self._thresholds = given or Thresholds()
        elif isinstance(given, (int, float, np.floating)) and not isinstance(given, bool):
            self._thresholds = Thresholds(score=float(given))
        else:
            raise InputError(f"threshold is a number or a Thresholds, got {type(given).__name__}")

    def page(self, text: str, sought: Sought, first: int) -> tuple[list[Retrieved], bool]:
        """The hits of one query from the ``first`` on, and whether there are more behind."""
        asked, least = self._asked, self._thresholds
        end = first + asked.k
        found = self._retriever.find(sought)
        found = found._replace(
            dense=_at_least(found.dense, least.dense),
            lexical=_at_least(found.lexical, least.lexical),
        )
        scores = self._fused(sought, found)
        reranked = None
        if asked.rerank is not None:
            reranked = scores = self._reranked(text, _best(scores), found)
        order = _best(_at_least(scores, least.score))
        if asked.mmr is not None:
            # Passages may take many chunks each; what lies far behind stays in its order.
            wanted = end + 1 if asked.parents is None else max(end + 1, DIVERSE)
            order = self._diverse(asked.mmr, order, scores, wanted)
        hits = self._hits(order, scores, found, reranked)
        if asked.parents is not None:
            hits = with_parents(self._retriever, asked.parents, hits, sought.condition)
        page = list(islice(hits, first, end + 1))
        marked = [self._marked(hit, sought.terms) for hit in page[: asked.k]]
        return marked, len(page) > asked.k

    def _reranked(self, query: str, order: list[int], found: Candidates) -> dict[int, float]:
        rerank = self._asked.rerank
        depth = rerank.depth if isinstance(rerank, Rerank) else DEPTH
        texts = {row: found.records[row].text for row in order[:depth]}
        there = {row: text for row, text in texts.items() if text}
        scores = self._scored(query, list(there.values()))
        return dict(zip(there, scores.tolist(), strict=True))

    def _diverse(
        self, mmr: MMR, order: list[int], scores: Mapping[int, float], count: int
    ) -> list[int]:
        vectors = dict(zip(order, self._retriever.vectors(order), strict=True))
        rows = [row for row in order if vectors[row] is not None]
        if not rows:
            return order
        matrix = np.stack([vector for row in rows if (vector := vectors[row]) is not None])
        worth = np.array([scores[row] for row in rows])
        chosen = [rows[place] for place in mmr.choose(worth, matrix, count)]
        first = set(chosen)
        return chosen + [row for row in order if row not in first]

    def _fused(self, sought: Sought, found: Candidates) -> dict[int, float]:
        dense, lexical = found.dense, found.lexical
        if self._asked.mode != "hybrid":
            return dict(dense or lexical)
        fusion = self._asked.fusion or DEFAULT_FUSION
        if isinstance(fusion, WeightedScores) and sought.vector is not None:
            dense = {
                **dense,
                **self._by_vector(sought, [row for row in lexical if row not in dense]),
            }
        return fusion.fuse(dense, lexical, found.most_lexical)

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
        self,
        rows: Sequence[int],
        scores: Mapping[int, float],
        found: Candidates,
        reranked: Mapping[int, float] | None,
    ) -> Iterator[Retrieved]:
        dense, lexical = _evidence(found.dense), _evidence(found.lexical)
        again = (
            {} if reranked is None else _evidence({row: reranked[row] for row in _best(reranked)})
        )
        for row in rows:
            evidence = dense.get(row), lexical.get(row), again.get(row)
            yield _as_hit(found.records[row], scores[row], *evidence)

    def _marked(self, hit: Retrieved, terms: Sequence[str] | None) -> Retrieved:
        if not terms or hit.text is None:
            return hit
        find = partial(_spans, self._retriever.analyzer(), frozenset(terms), hit.text)
        return replace(hit, marks=Marks(find))


def _spans(analyzer: Analyzer, terms: Set[str], text: str) -> tuple[Span, ...]:
    words = analyzer.tokens(text[:MARKED_CHARS])
    found = (Span(word.start, word.end, word.term) for word in words if word.term in terms)
    return tuple(islice(found, MOST_SPANS))


def _at_least(scores: Mapping[int, float], least: float | None) -> dict[int, float]:
    if least is None:
        return dict(scores)
    return {row: score for row, score in scores.items() if score >= least}


def _best(scores: Mapping[int, float]) -> list[int]:
    """Rows by their scores, the best first; of equal ones the older."""
    return sorted(scores, key=lambda row: (-scores[row], row))


def _evidence(scores: Mapping[int, float]) -> dict[int, Evidence]:
    return {row: Evidence(rank, score) for rank, (row, score) in enumerate(scores.items(), 1)}


def _as_hit(
    record: StoredRecord,
    score: float,
    dense: Evidence | None,
    lexical: Evidence | None,
    rerank: Evidence | None,
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
        rerank=rerank,
        document=metadata.get("document") if is_chunk else None,
        start=metadata.get("start") if is_chunk else None,
        end=metadata.get("end") if is_chunk else None,
    )
