"""From a tenant's texts to vectors: all by one model, and by the cache where there is one."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from llmspell.errors import DimensionMismatch, EmbedderMismatch
from llmspell.storage.catalog_entry import directory_of
from llmspell.tenancy.ports import CacheOwner, Embed, EmbeddingModel, Task

if TYPE_CHECKING:
    from llmspell.storage import Room
    from llmspell.tenancy.operation import Operation
    from llmspell.tenancy.residence import Residence

__all__ = [
    "embedded",
    "embedded_within",
    "owner_of",
    "require_one_model",
    "require_room_for_model",
    "require_same_model",
]

#: Models that a message names.
NAMED: Final = 3


def embedded(
    residence: Residence, task: Task, texts: Sequence[str], embed: Embed
) -> NDArray[np.float32]:
    """Vectors (n, dim) of n texts.

    Args:
        residence: of the tenant whose texts they are.
        task: what they are for.
        texts: to embed.
        embed: charges and embeds texts; called with those alone that are in no cache.
    """
    if residence.house.embedding_cache is None:
        return embed(texts)
    # Without a name it can't be told whether a vector is still theirs.
    return _cached(residence, _model_of(residence), task, texts, embed)


def embedded_within(
    operation: Operation[Any], model: EmbeddingModel, texts: Sequence[str], embed: Embed
) -> NDArray[np.float32]:
    """Vectors (n, dim) of n passages that aren't written, for the tenant of an operation.

    Args:
        operation: that they are needed in.
        model: that ``embed`` asks.
        texts: to embed.
        embed: charges and embeds texts; called with those alone that are in no cache.
    """
    return _cached(operation._residence, model, "passage", texts, embed)


def owner_of(residence: Residence) -> CacheOwner:
    """The tenant as a cache knows it."""
    entry = residence.entry
    return _owner(residence.house.root, entry.key, entry.config.id)


@functools.lru_cache(maxsize=1_024)
def _owner(root: Path, key: bytes, tenant_id: str) -> CacheOwner:
    """Made once: to join a path takes as long as to find a vector in memory."""
    return CacheOwner(key, tenant_id, root / directory_of(key))


def require_same_model(residence: Residence, room: Room) -> None:
    """Let the model that is to embed queries be that of the documents that they are to find.

    Raises:
        EmbedderMismatch: it isn't, or only of some of them.
    """
    model = _model_of(residence)
    held = None if model is None else room.store.embedders()
    if model is None or not held or held.keys() == {model.name}:
        return
    way = "open the database with the embedder that made them"
    if len(held) > 1:
        way = f"ingest with change_model=True, or delete, what {model.name!r} didn't embed"
    raise EmbedderMismatch(
        f"tenant {residence.entry.config.id!r}: {_counted(held)}, and {model.name!r} is to embed "
        f"the query: vectors of different models don't compare. {way[0].upper()}{way[1:]}; or "
        'search by words, with mode="lexical"',
        held=held,
        asked=model.name,
    )


def require_room_for_model(residence: Residence, room: Room, *, change_model: bool) -> None:
    """Let what is to embed be able to, before a source is read.

    Raises:
        DimensionMismatch: the tenant's vectors have another dimension.
        EmbedderMismatch: as :func:`require_one_model`.
    """
    model = _model_of(residence)
    if model is None:
        return
    if not change_model:
        require_one_model(residence, room.store.embedders(), [model.name])
    dim = room.dim or residence.entry.config.dim
    if dim not in (None, model.dim):
        raise DimensionMismatch(
            f"vectors of dimension {dim} expected, {model.name!r} makes {model.dim}; ingest into "
            "another tenant",
            expected=dim,
            actual=model.dim,
        )


def require_one_model(
    residence: Residence, held: Mapping[str, int] | None, names: Iterable[str]
) -> None:
    """Let documents that are to be written, and those that are there, be of one model.

    Args:
        held: what the tenant has; None where nobody has counted it.
        names: of what is to be written; an empty one says nothing.

    Raises:
        EmbedderMismatch: they would be of several.
    """
    named = sorted({name for name in names if name})
    others = {*named, *(held or {})}
    if not named or len(others) == 1:
        return
    asked = next((name for name in named if name not in (held or {})), named[0])
    raise EmbedderMismatch(
        f"tenant {residence.entry.config.id!r}: {_counted(held or {})}, and {asked!r} is to embed "
        "more: vectors of different models don't compare. Open the database with the embedder that "
        "made them, ingest into another tenant, or ingest all anew with change_model=True",
        held=held,
        asked=asked,
    )


def _cached(
    residence: Residence,
    model: EmbeddingModel | None,
    task: Task,
    texts: Sequence[str],
    embed: Embed,
) -> NDArray[np.float32]:
    cache = residence.house.embedding_cache
    if cache is None or model is None:
        return embed(texts)
    return cache.embed(owner_of(residence), model, task, texts, embed)


def _model_of(residence: Residence) -> EmbeddingModel | None:
    model: EmbeddingModel | None = getattr(residence.house.texts(), "embedding_model", None)
    return model


def _counted(held: Mapping[str, int]) -> str:
    """How a message tells what a tenant holds."""
    names = [f"{count:,} by {name!r}" for name, count in held.items()]
    more = f" and by {len(names) - NAMED} other models" if len(names) > NAMED else ""
    return f"documents were embedded {', '.join(names[:NAMED]) or 'by no model'}{more}"
