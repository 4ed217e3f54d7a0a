"""The one way from a tenant's texts to their vectors: by the cache, where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from llmspell.tenancy.ports import CacheOwner, Embed, EmbeddingModel, Task

if TYPE_CHECKING:
    from llmspell.tenancy.residence import Residence

__all__ = ["embedded", "owner_of"]


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
    cache = residence.house.embedding_cache
    if cache is None:
        return embed(texts)
    # Services that name no model can't tell whether a vector is still theirs.
    model: EmbeddingModel | None = getattr(residence.house.texts(), "embedding_model", None)
    if model is None:
        return embed(texts)
    return cache.embed(owner_of(residence), model, task, texts, embed)


def owner_of(residence: Residence) -> CacheOwner:
    """The tenant as a cache knows it."""
    return CacheOwner(residence.entry.key, residence.entry.config.id, residence.path)
