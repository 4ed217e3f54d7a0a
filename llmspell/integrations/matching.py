"""Reading by conditions that only Python can tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from llmspell.tenancy import Hit, Record, Tenant

__all__ = ["MOST_RETRIEVED", "Found", "nearest", "scan", "widened"]

PAGE: Final = 1_000
#: Hits that ``Tenant.retrieve`` gives at most.
MOST_RETRIEVED: Final = 10_000


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


class Found(Protocol):
    """What is common to records and hits."""

    @property
    def id(self) -> str | int: ...
    @property
    def text(self) -> str | None: ...
    @property
    def metadata(self) -> dict[str, Any]: ...


_FoundT = TypeVar("_FoundT", bound=Found)


def nearest(
    tenant: Tenant,
    query: ArrayLike,
    k: int,
    filter: Mapping[str, Any] | None = None,
    keeps: Callable[[Hit], bool] | None = None,
) -> list[Hit]:
    """The k nearest hits that are kept; fewer only where no more are.

    Args:
        query: (dim,).
        filter: of the tenant's language.
        keeps: is asked of hits, best first; see :func:`widened`.
    """
    vector = np.asarray(query, dtype=np.float32)
    return widened(lambda wanted: tenant.search(vector, wanted, filter=filter), k, keeps)


def widened(
    search: Callable[[int], Iterable[_FoundT]],
    k: int,
    keeps: Callable[[_FoundT], bool] | None,
    most: int | None = None,
) -> list[_FoundT]:
    """The k best hits that are kept; fewer only where there are no more among the ``most`` best.

    Where ``keeps`` refuses hits it searches for four times as many, again and again; each search is
    charged.

    Args:
        search: gives as many as it is asked for, best first; fewer where there are no more.
        most: that may be asked for.
    """
    wanted = k
    while True:
        hits = list(search(wanted))
        if keeps is None:
            return hits
        kept = [hit for hit in hits if keeps(hit)]
        if len(kept) >= k or len(hits) < wanted or wanted == most:
            return kept[:k]
        wanted = 4 * wanted if most is None else min(4 * wanted, most)
