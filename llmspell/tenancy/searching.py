"""How a tenant is searched: by the native door for one vector, and here for everything else."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from llmspell._hot import SearchDoor
from llmspell.errors import ClosedError, InputError, ShapeError
from llmspell.index import Index, as_recall
from llmspell.observability import now_ns
from llmspell.quota import Quota
from llmspell.storage import Found, Room, parse_filter
from llmspell.tenancy.current import within
from llmspell.tenancy.embedding import embedded, require_same_model
from llmspell.tenancy.hit import hit_maker
from llmspell.tenancy.hits import Hits
from llmspell.tenancy.inputs import as_vectors, pack_text
from llmspell.tenancy.target import EMBED_LEASE_S

if TYPE_CHECKING:
    from llmspell.tenancy.residence import Residence
    from llmspell.tenancy.tenant import Tenant

__all__ = ["Consistency", "Question", "embed_queries", "search", "search_door"]

Consistency: TypeAlias = Literal["strong", "eventual"]

_NOTHING: Final[Found] = ([], [], [])


class Question(NamedTuple):
    """What :meth:`llmspell.Tenant.search` is asked beside the query; see there."""

    k: int
    filter: Mapping[str, Any] | None
    threshold: float | None
    ef_search: int | None
    recall: float | None
    consistency: Consistency


def search_door(residence: Residence, room: Room) -> SearchDoor:
    """The short way for one vector without a filter; its hits are read when they are looked at."""
    return SearchDoor(
        room.views.position,
        room.views.current,
        residence.house.instruments.search,
        residence.house.instruments.stages.search,
        room.unread,
        Hits,
        hit_maker(residence.entry.config.metric),
        functools.partial(_read, room),
    )


def search(
    tenant: Tenant, room: Room, query: Any, asked: Question, *, is_charged: bool = False
) -> Any:
    """Search with whatever :meth:`llmspell.Tenant.search` takes, charged first."""
    config, slot = tenant.config, tenant._residence.slot
    # Arrays first: what the index checks itself isn't looked at twice.
    vectors = query if type(query) is np.ndarray else _to_vectors(query)
    shape = (1,) if vectors is None else vectors.shape
    if vectors is None and not isinstance(query, str):
        shape = (len(query), 1)
    if not 1 <= len(shape) <= 2:
        raise ShapeError(f"a query must have shape (dim,) or (q, dim), got {shape}")
    is_one = len(shape) == 1
    count = 1 if is_one else shape[0]
    if not is_charged:
        slot.charge_all((int(Quota.API_CALLS), count), (int(Quota.QUERIES), count))
    condition = None if asked.filter is None else parse_filter(asked.filter, config.schema)
    recall = None if asked.recall is None else as_recall(asked.recall, asked.ef_search)
    make = hit_maker(config.metric)
    if _index(room, asked.consistency) is None:
        empty = [Hits.of(make, _NOTHING) for _ in range(count)]
        return empty[0] if is_one else empty
    if vectors is None:
        require_same_model(tenant._residence, room)
        vectors = embed_queries(tenant, [query] if is_one else query)
        vectors = vectors[0] if is_one else vectors
    given = (asked.k, asked.ef_search, recall, condition, asked.threshold)
    if is_one:
        return Hits.of(make, room.finder.search(vectors, *given))
    return [Hits.of(make, found) for found in room.finder.search_many(vectors, *given)]


def _read(room: Room, tenant: Tenant, *found: Any) -> Found:
    try:
        return room.finder.read(*found)
    except ClosedError:
        return tenant._read_again(*found)


def _index(room: Room, consistency: Consistency) -> Index | None:
    given: object = consistency
    if not isinstance(given, str) or given not in get_args(Consistency):
        raise InputError(f"consistency must be 'strong' or 'eventual', got {consistency!r}")
    return room.views.current() if given == "strong" else room.views.index


def embed_queries(tenant: Tenant, texts: Sequence[str]) -> NDArray[np.float32]:
    """Vectors (n, dim) of n texts to search with; those that are in no cache are charged."""
    residence = tenant._residence
    for position, text in enumerate(texts):
        if not text.strip():
            raise InputError(f"query {position} is blank; give a text to search with")
        pack_text(text)  # raises InputError

    def charged(texts: Sequence[str]) -> NDArray[np.float32]:
        with residence.slot.reserve(embeddings=len(texts), lease=EMBED_LEASE_S):
            return as_vectors(residence.house.texts().embed_query(texts))

    with within(tenant):
        started = now_ns()
        vectors = embedded(residence, "query", texts, charged)
        residence.house.instruments.stages.embed.record_since(started)
        return vectors


def _to_vectors(query: object) -> NDArray[np.float32] | None:
    """Vectors of a query that isn't an array; None for texts."""
    if isinstance(query, str):
        return None
    if isinstance(query, (list, tuple)) and query and isinstance(query[0], str):
        if not all(isinstance(text, str) for text in query):
            raise InputError("a batch of texts must hold nothing but str")
        return None
    return as_vectors(query)  # type: ignore[arg-type]
