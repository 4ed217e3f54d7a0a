"""Reading by conditions that only Python can tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from llmspell.tenancy import Hit, Record, Tenant

__all__ = ["nearest", "scan"]

PAGE: Final = 1_000


def scan(
    tenant: Tenant, filter: Mapping[str, Any] | None = None, *, vectors: bool = True
) -> Iterator[Record]:
    """All records that match, in the order of their ids; each page is charged as one API call."""
    cursor: str | None = None
    while True:
        page = tenant.scan(filter=filter, cursor=cursor, limit=PAGE, vectors=vectors)
        yield from page.records
        cursor = page.cursor
        if cursor is None:
            return


def nearest(
    tenant: Tenant,
    query: ArrayLike,
    k: int,
    filter: Mapping[str, Any] | None = None,
    keeps: Callable[[Hit], bool] | None = None,
) -> list[Hit]:
    """The k nearest hits that are kept; fewer only where no more are.

    Where ``keeps`` refuses hits it searches for four times as many, again and again; each search is
    charged.

    Args:
        query: (dim,).
        filter: of the tenant's language.
        keeps: is asked of hits, best first.
    """
    vector = np.asarray(query, dtype=np.float32)
    wanted = k
    while True:
        hits = list(tenant.search(vector, wanted, filter=filter))
        if keeps is None:
            return hits
        kept = [hit for hit in hits if keeps(hit)]
        if len(kept) >= k or len(hits) < wanted:
            return kept[:k]
        wanted *= 4
