"""What a retrieval gives: hits, and why each was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from llmspell.tenancy.model import RecordId

__all__ = ["Evidence", "Marks", "Retrieval", "Retrieved", "Span"]

SHOWN_TERMS = 8


class Evidence(NamedTuple):
    """What one of the ways to find it says of a hit.

    Args:
        rank: among all that it found, from 1.
        score: higher is better; scores of two ways don't compare.
    """

    rank: int
    score: float


class Span(NamedTuple):
    """A word of the query in a text, as ``text[start:end]`` has it.

    Args:
        start, end: in characters.
        term: what both are indexed as: in lower case, stemmed.
    """

    start: int
    end: int
    term: str


class Marks:
    """Finds the words of a query in a text when it is first asked. Thread-safe.

    To look for them takes longer than the search that found the text.
    """

    __slots__ = ("_find", "_spans")

    def __init__(self, find: Callable[[], tuple[Span, ...]]) -> None:
        self._find = find
        self._spans: tuple[Span, ...] | None = None

    @property
    def spans(self) -> tuple[Span, ...]:
        """In their order."""
        if self._spans is None:
            self._spans = self._find()
        return self._spans

    def __reduce__(self) -> tuple[Any, ...]:
        # The engine can't be copied.
        return _found, (self.spans,)


def _found(spans: tuple[Span, ...]) -> Marks:
    return Marks(lambda: spans)


@dataclass(frozen=True, slots=True)
class Retrieved:
    """A record that a retrieval found, or a passage around one.

    Args:
        id: of the record.
        score: what it is ranked by; higher is better.
        text: of the record, or of the passage; None where there is none.
        metadata: of the record.
        dense: what the vector index says; None where it isn't among its candidates.
        lexical: what the lexical index says, by BM25.
        rerank: what the reranker says.
        document: id of the ingested document that it is of; None for other records.
        start, end: where in that document it is, in characters.
        chunks: ids of all chunks that the passage holds, in their order; of others none.
        marks: what :attr:`spans` come from.
    """

    id: RecordId
    score: float
    text: str | None
    metadata: dict[str, Any]
    dense: Evidence | None = None
    lexical: Evidence | None = None
    rerank: Evidence | None = None
    document: str | None = None
    start: int | None = None
    end: int | None = None
    chunks: tuple[RecordId, ...] = ()
    marks: Marks | None = field(default=None, repr=False, compare=False)

    @property
    def spans(self) -> tuple[Span, ...]:
        """Words of the query in ``text``, in their order; none where ``mode`` is "dense".

        They are looked for when they are first asked for, in 200,000 characters at most.
        """
        return () if self.marks is None else self.marks.spans

    @property
    def terms(self) -> tuple[str, ...]:
        """Terms of the query that are in the text, each once."""
        return tuple(dict.fromkeys(span.term for span in self.spans))

    @property
    def why(self) -> str:
        """Why it was found, in a line for people."""
        ways = {"meaning": self.dense, "words": self.lexical, "reranked": self.rerank}
        parts = [
            f"{name} #{evidence.rank} ({evidence.score:.3f})"
            for name, evidence in ways.items()
            if evidence is not None
        ]
        terms = self.terms
        if terms:
            more = f" and {len(terms) - SHOWN_TERMS} more" if len(terms) > SHOWN_TERMS else ""
            parts.append("has " + ", ".join(terms[:SHOWN_TERMS]) + more)
        return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class Retrieval(Sequence[Retrieved]):
    """A page of what was found, best first: a sequence of :class:`Retrieved`.

    Args:
        hits: of the page.
        cursor: gives the next page; None on the last one.
    """

    hits: tuple[Retrieved, ...] = ()
    cursor: str | None = field(default=None)

    @property
    def ids(self) -> list[RecordId]:
        """Ids, as they were given."""
        return [hit.id for hit in self.hits]

    @property
    def scores(self) -> NDArray[np.float64]:
        """Scores, (n,); higher is better."""
        return np.array([hit.score for hit in self.hits], dtype=np.float64)

    def __len__(self) -> int:
        return len(self.hits)

    @overload
    def __getitem__(self, which: int) -> Retrieved: ...
    @overload
    def __getitem__(self, which: slice) -> Sequence[Retrieved]: ...
    def __getitem__(self, which: int | slice) -> Retrieved | Sequence[Retrieved]:
        return self.hits[which]

    def __iter__(self) -> Iterator[Retrieved]:
        return iter(self.hits)
