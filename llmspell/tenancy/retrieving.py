"""How a tenant is asked by meaning, by words or by both."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmspell.errors import InputError, ShapeError
from llmspell.index import as_recall
from llmspell.observability import now_ns
from llmspell.quota import Quota
from llmspell.storage import Room, parse_filter
from llmspell.storage.retriever import Sought
from llmspell.tenancy.current import within
from llmspell.tenancy.diversity import MMR
from llmspell.tenancy.embedding import require_same_model
from llmspell.tenancy.fusion import Fusion, ReciprocalRank, WeightedScores
from llmspell.tenancy.inputs import as_vectors, pack_text
from llmspell.tenancy.parents import ParentDocument
from llmspell.tenancy.ranking import Ranking, Thresholds
from llmspell.tenancy.reranking import Rerank, Reranker, scores_of
from llmspell.tenancy.retrieval_cursor import RetrievalCursor
from llmspell.tenancy.retrieved import Retrieval
from llmspell.tenancy.searching import Consistency, embed_queries

if TYPE_CHECKING:
    from llmspell.tenancy.tenant import Tenant

__all__ = ["Mode", "Retrieve", "retrieve"]

Mode: TypeAlias = Literal["dense", "lexical", "hybrid"]

#: Candidates of each kind where nothing is said: more than a page needs, so that what one way has
#: far down and the other far up comes together.
CANDIDATES: Final = 100
MOST: Final = 10_000
#: Different words of a query; each is looked up for itself.
MOST_WORDS: Final = 1_024


@dataclass(frozen=True, slots=True)
class Retrieve:
    """:meth:`Tenant.retrieve` as an object; gives :class:`llmspell.Retrieval`, or a list."""

    query: str | Sequence[str]
    k: int = 10
    mode: Mode = "hybrid"
    filter: Mapping[str, Any] | None = None
    threshold: float | Thresholds | None = None
    fusion: Fusion | None = None
    candidates: int | None = None
    vector: ArrayLike | None = None
    mmr: MMR | None = None
    rerank: Reranker | Rerank | None = None
    parents: ParentDocument | None = None
    cursor: str | None = None
    ef_search: int | None = None
    recall: float | None = None
    consistency: Consistency = "strong"


def retrieve(tenant: Tenant, room: Room, asked: Retrieve) -> Any:
    """See :meth:`llmspell.Tenant.retrieve`; charged first."""
    texts, is_one = _as_texts(asked.query)
    count = len(texts)
    slot = tenant._residence.slot
    slot.charge_all((int(Quota.API_CALLS), count), (int(Quota.QUERIES), count))
    _check(asked, texts, is_one=is_one)
    config = tenant.config
    condition = None if asked.filter is None else parse_filter(asked.filter, config.schema)
    recall = None if asked.recall is None else as_recall(asked.recall, asked.ef_search)
    ranking = Ranking(
        room.retriever, config.metric, asked, functools.partial(_rerank, tenant, asked.rerank)
    )
    # All that can be refused is, before anything is embedded.
    terms = [None if asked.mode == "dense" else _terms(room, text) for text in texts]
    depth = max(CANDIDATES, asked.k) if asked.candidates is None else asked.candidates
    given = _given(asked, texts, is_one=is_one)
    cursors = [
        _cursor(tenant, asked, depth, text, None if given is None else given[position])
        for position, text in enumerate(texts)
    ]
    first = 0 if asked.cursor is None else cursors[0].decode(asked.cursor)
    vectors = _embedded(tenant, room, asked, texts) if given is None else given
    retrievals: list[Retrieval] = []
    for position in range(count):
        sought = Sought(
            vector=None if vectors is None else vectors[position],
            terms=terms[position],
            depth=depth,
            condition=condition,
            ef_search=asked.ef_search,
            recall=recall,
            is_strong=asked.consistency == "strong",
        )
        hits, has_more = ranking.page(texts[position], sought, first)
        following = cursors[position].encode(first + asked.k) if has_more else None
        retrievals.append(Retrieval(tuple(hits), following))
    return retrievals[0] if is_one else retrievals


def _rerank(
    tenant: Tenant, rerank: Reranker | Rerank | None, query: str, texts: list[str]
) -> NDArray[np.float64]:
    model = rerank.model if isinstance(rerank, Rerank) else rerank
    assert model is not None
    started = now_ns()
    with within(tenant):
        scores = scores_of(model, query, texts)
    tenant._instruments.stages.rerank.record_since(started)
    return scores


def _cursor(
    tenant: Tenant, asked: Retrieve, depth: int, text: str, vector: NDArray[np.float32] | None
) -> RetrievalCursor:
    given = None if vector is None else vector.tobytes()
    reranked = asked.rerank.depth if isinstance(asked.rerank, Rerank) else asked.rerank is not None
    return RetrievalCursor(
        tenant.id,
        tenant.generation,
        *(text, given, asked.filter, asked.k, asked.mode, asked.threshold, asked.fusion),
        *(depth, asked.mmr, reranked, asked.parents, asked.ef_search, asked.recall),
    )


def _as_texts(query: object) -> tuple[list[str], bool]:
    if isinstance(query, str):
        return [query], True
    if isinstance(query, (list, tuple)) and all(isinstance(text, str) for text in query):
        return list(query), False
    raise InputError(
        f"a query is a str, or a list of them, got {type(query).__name__}; give a vector beside it "
        "as vector=, or use search"
    )


def _check(asked: Retrieve, texts: Sequence[str], *, is_one: bool) -> None:
    for position, text in enumerate(texts):
        if not text.strip():
            raise InputError(f"query {position} is blank; give a text to search with")
        pack_text(text)  # raises InputError
    _one_of("mode", asked.mode, Mode)
    _one_of("consistency", asked.consistency, Consistency)
    _check_count("k", asked.k)
    if asked.candidates is not None:
        _check_count("candidates", asked.candidates)
        if asked.candidates < asked.k:
            raise InputError(
                f"candidates must be k or more, got {asked.candidates} with k={asked.k}"
            )
    fusion: object = asked.fusion
    if not isinstance(fusion, (ReciprocalRank, WeightedScores, type(None))):
        raise InputError(
            f"fusion is a ReciprocalRank or a WeightedScores, got {type(fusion).__name__}"
        )
    kinds: tuple[tuple[str, type], ...] = (("mmr", MMR), ("parents", ParentDocument))
    for setting, kind in kinds:
        value = getattr(asked, setting)
        if value is not None and not isinstance(value, kind):
            raise InputError(
                f"{setting} is {kind.__name__}(...) or None, got {type(value).__name__}"
            )
    if asked.rerank is not None and not isinstance(asked.rerank, Rerank):
        if not callable(asked.rerank):
            raise InputError(f"rerank is a Rerank or a callable, got {type(asked.rerank).__name__}")
        if inspect.iscoroutinefunction(asked.rerank):
            raise InputError("rerank is called in a thread; give a callable that isn't async")
    if asked.ef_search is not None:
        _check_count("ef_search", asked.ef_search, most=None)
    if asked.cursor is not None and not is_one:
        raise InputError("a cursor is of one query; ask for the pages of a batch one by one")
    if asked.vector is not None and asked.mode == "lexical":
        raise InputError("a search by words takes no vector; leave it out, or use mode='hybrid'")


def _terms(room: Room, text: str) -> list[str]:
    terms = room.retriever.terms(text)
    if len(set(terms)) > MOST_WORDS:
        raise InputError(
            f"a query has at most {MOST_WORDS:,} different words, got {len(set(terms)):,}"
        )
    return terms


def _check_count(name: str, value: object, most: int | None = MOST) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise InputError(f"{name} must be an int, got {type(value).__name__}")
    if value < 1 or (most is not None and value > most):
        rule = "1 or more" if most is None else f"from 1 to {most:,}"
        raise InputError(f"{name} must be {rule}, got {value}")


def _one_of(name: str, value: object, literal: Any) -> None:
    known = get_args(literal)
    if not isinstance(value, str) or value not in known:
        raise InputError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}")


def _given(asked: Retrieve, texts: Sequence[str], *, is_one: bool) -> NDArray[np.float32] | None:
    """(q, dim) vectors that came with the queries; None where none did."""
    if asked.vector is None or not texts:
        return None
    vectors = as_vectors(asked.vector)
    if is_one and vectors.ndim == 1:
        vectors = vectors[np.newaxis]
    if vectors.ndim != 2 or len(vectors) != len(texts):
        raise ShapeError(
            f"vector must have shape (dim,) for one query, or ({len(texts)}, dim) for "
            f"{len(texts)}, got {vectors.shape}"
        )
    return vectors


def _embedded(
    tenant: Tenant, room: Room, asked: Retrieve, texts: Sequence[str]
) -> NDArray[np.float32] | None:
    """(q, dim) vectors of the queries; None where they aren't looked for by meaning."""
    if asked.mode == "lexical" or not texts:
        return None
    is_strong = asked.consistency == "strong"
    index = room.views.current() if is_strong else room.views.index
    if index is None:
        # Nothing is embedded to be looked for in nothing.
        return None
    require_same_model(tenant._residence, room)
    return embed_queries(tenant, texts)
