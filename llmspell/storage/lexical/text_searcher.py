"""Searches of a lexical index as one commit left it."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmspell.storage.lexical.analyzer import engine
from llmspell.storage.lexical.engine_errors import engine_errors

__all__ = ["LENGTH", "NOTHING", "ROW", "TEXT", "Scored", "TextSearcher"]

#: Fields of a text in the engine.
TEXT: Final = "text"
ROW: Final = "row"
LENGTH: Final = "length"

#: Rows that a filter keeps are given to the engine where they are few beside what would be read
#: over; measured, a row costs 4 us as a term of the query and 2.4 us as a hit that is passed over.
FETCHED_BEYOND: Final = 4

#: Of BM25, as the engine has it.
K1: Final = 1.2

#: What it knows its segments by.
_META: Final = "meta.json"

#: Terms whose texts are counted once for all searches of a commit.
COUNTED_TERMS: Final = 10_000


class Scored(NamedTuple):
    """What a search of words found, best first; of equal scores the older row.

    Args:
        rows: (n,) int64.
        scores: (n,) float64, BM25: above 0, without an upper end.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float64]


NOTHING: Final = Scored(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float64))


class _Choice(NamedTuple):
    """Which rows may be given, ascending; None chooses nothing."""

    allowed: NDArray[np.int64] | None
    refused: NDArray[np.int64] | None

    def keeps(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        kept = np.ones(len(rows), dtype=np.bool_)
        if self.allowed is not None:
            kept &= np.isin(rows, self.allowed)
        if self.refused is not None and len(self.refused):
            kept &= ~np.isin(rows, self.refused)
        return kept


class TextSearcher:
    """What a commit of the engine holds. Thread-safe."""

    __slots__ = ("_held", "_holders", "_path", "_schema", "_searcher", "_tantivy")

    def __init__(self, path: Path, schema: Any, searcher: Any) -> None:
        """Look at a commit, while nobody changes the directory."""
        self._path = path
        self._schema = schema
        self._searcher = searcher
        self._tantivy = engine()
        # In all of its numbers the engine counts removed texts until their segment is merged.
        segments = json.loads((path / _META).read_text())["segments"]
        self._held: int = sum([segment["max_doc"] for segment in segments])
        self._holders: dict[str, int] = {}

    @property
    def documents(self) -> int:
        """Texts that live."""
        count: int = self._searcher.num_docs
        return count

    @property
    def removed(self) -> int:
        """Texts that were removed, and that the engine holds still."""
        return self._held - self.documents

    def search(
        self,
        terms: Sequence[str],
        limit: int,
        *,
        allowed: NDArray[np.int64] | None = None,
        refused: NDArray[np.int64] | None = None,
    ) -> Scored:
        """Texts that have any of some terms, ranked by BM25 (k1 = 1.2, b = 0.75).

        Args:
            terms: of :class:`Analyzer`; repeated ones count as often.
            limit: so many at most, and fewer only where fewer match.
            allowed: ascending rows; give those alone.
            refused: ascending rows; leave these out.
        """
        count = self.documents
        if not count or (allowed is not None and not len(allowed)):
            return NOTHING
        query = self._of_terms(terms)
        if query is None:
            return NOTHING
        tantivy = self._tantivy
        share = 1.0
        if allowed is not None:
            if len(allowed) ** 2 <= limit * count:
                rows = tantivy.Query.term_set_query(self._schema, ROW, allowed.tolist())
                query = self._among(query, rows)
                allowed = None
            else:
                share = min(1.0, len(allowed) / count)
        asked = limit + 1
        if allowed is not None or refused is not None:
            asked = math.ceil(2 * limit / share) + (0 if refused is None else len(refused)) + 1
        choice = _Choice(allowed, refused)
        while True:
            found, floor = self._fetch(query, asked, choice)
            if floor < 0 or (len(found.rows) >= limit and found.scores[limit - 1] > floor):
                return _best(found, limit)
            if len(found.rows) >= limit:
                return self._cut_among_equals(query, found, limit, asked, choice)
            asked *= FETCHED_BEYOND

    def most(self, terms: Sequence[str]) -> float:
        """What no text can score more than: each term as often as it counts, in a short text."""
        count = self.documents
        counts = Counter(terms).items()
        return sum([times * _idf(count, self._living(term)) * (K1 + 1) for term, times in counts])

    def drift(self, terms_of: Callable[[int], Sequence[str]]) -> float:
        """By which share the mean length that scores go by is off that of the texts that live.

        A term scores tf / (tf + k1 * (1 - b + b * length / mean)), which changes by a smaller share
        than the mean does, and so no score is off by more.

        Args:
            terms_of: gives the terms of a row's text; none where it is gone, which says 0.
        """
        count = self.documents
        if not count or not self.removed:
            return 0.0
        query = self._tantivy.Query
        with engine_errors(self._path, "searching"):
            sums = {"length": {"sum": {"field": LENGTH}}}
            living = int(self._searcher.aggregate(query.all_query(), sums)["length"]["value"])
            if not living:
                return 0.0
            # The engine tells the mean that it goes by where it explains a score.
            kind = self._tantivy.FieldType.Unsigned
            any_words = query.range_query(self._schema, LENGTH, kind, 1, living)
            ((_, address),) = self._searcher.search(any_words, 1, count=False).hits
            terms = terms_of(*self._searcher.fast_field_values(ROW, [address]))
            if not terms:
                return 0.0
            said = json.loads(self._term(terms[0]).explain(self._searcher, address).to_json())
            mean = next(value for name, value in _reasons(said) if name.startswith("avgdl"))
        off = float(mean) * count / living
        return max(off, 1.0 / off) - 1.0

    def _of_terms(self, terms: Sequence[str]) -> Any:
        """The query: one look at a term's texts, however often it is said; None finds nothing."""
        query = self._tantivy.Query
        parts = []
        for term, times in Counter(terms).items():
            living = self._living(term)
            if not living:
                continue
            one = self._term(term)
            weight = float(times)
            if self.removed:
                # A term is as rare as it is among the texts that live.
                with engine_errors(self._path, "searching"):
                    holders = self._searcher.doc_freq(TEXT, term)
                weight *= _idf(self.documents, living) / _idf(self._held, holders)
            parts.append(one if weight == 1.0 else query.boost_query(one, weight))
        if not parts:
            return None
        return query.boolean_query([(self._tantivy.Occur.Should, part) for part in parts])

    def _living(self, term: str) -> int:
        """Texts with a term, without the removed ones."""
        known = self._holders.get(term)
        if known is not None:
            return known
        with engine_errors(self._path, "searching"):
            count: int = self._searcher.doc_freq(TEXT, term)
            if count and self.removed:
                holders = self._tantivy.Query.const_score_query(self._term(term), 1.0)
                count = self._searcher.search(holders, 1, count=True).count
        if len(self._holders) < COUNTED_TERMS:
            self._holders[term] = count
        return count

    def _term(self, term: str) -> Any:
        return self._tantivy.Query.term_query(self._schema, TEXT, term, index_option="freq")

    def _among(self, query: Any, rows: Any) -> Any:
        """A query for those of another's rows; scores stay to the last bit."""
        tantivy = self._tantivy
        only = tantivy.Query.const_score_query(rows, 0.0)
        return tantivy.Query.boolean_query(
            [(tantivy.Occur.Must, query), (tantivy.Occur.Must, only)]
        )

    def _fetch(self, query: Any, asked: int, choice: _Choice) -> tuple[Scored, float]:
        """Hits that may be given, best first; and what all that isn't fetched scores at most."""
        asked = min(asked, self.documents)
        with engine_errors(self._path, "searching"):
            hits = self._searcher.search(query, asked, count=False).hits
            rows = self._searcher.fast_field_values(ROW, [address for _, address in hits])
        found = np.array(rows, dtype=np.int64)
        scores = np.array([score for score, _ in hits], dtype=np.float64)
        is_all = len(hits) < asked or asked == self.documents
        kept = choice.keeps(found)
        return Scored(found[kept], scores[kept]), -np.inf if is_all else float(scores[-1])

    def _cut_among_equals(
        self, query: Any, found: Scored, limit: int, asked: int, choice: _Choice
    ) -> Scored:
        """The best, where more than there is a place for score alike: of these the oldest.

        The engine gives any of them. They may be all texts of a tenant: so they are asked for again
        among rows that are no newer than what is chosen so far, of which each time far fewer are
        left, as long as there are more than can be looked through.
        """
        cut = found.scores[limit - 1]
        better = found.scores > cut
        wanted = limit - int(better.sum())
        equal = np.sort(found.rows[found.scores == cut])
        asked = max(asked, FETCHED_BEYOND * limit)
        kind = self._tantivy.FieldType.Unsigned
        while True:
            rows = self._tantivy.Query.range_query(
                self._schema, ROW, kind, 0, int(equal[wanted - 1])
            )
            again, floor = self._fetch(self._among(query, rows), asked, choice)
            here = np.sort(again.rows[again.scores == cut])
            if floor < cut:
                break
            if len(here) > wanted:
                equal = here
            else:
                asked *= FETCHED_BEYOND
        chosen = Scored(
            np.concatenate([found.rows[better], here[:wanted]]),
            np.concatenate([found.scores[better], np.full(wanted, cut)]),
        )
        return _best(chosen, limit)


def _reasons(explained: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """What an explanation of the engine is made of, by what it calls it."""
    yield explained["description"], explained["value"]
    for part in explained.get("details", ()):
        yield from _reasons(part)


def _best(found: Scored, limit: int) -> Scored:
    order = np.lexsort((found.rows, -found.scores))[:limit]
    return Scored(found.rows[order], found.scores[order])


def _idf(count: int, holders: int) -> float:
    """How much a term tells that so many of the texts have, as the engine reckons it."""
    return math.log1p((count - holders + 0.5) / (holders + 0.5))
