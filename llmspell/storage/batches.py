"""Rows in batches that fit into memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

__all__ = ["in_batches"]

BATCH_ROWS: Final = 4_096

_T = TypeVar("_T")


def in_batches(items: Iterable[_T]) -> Iterator[list[_T]]:
    """Yield the items in lists of at most :data:`BATCH_ROWS`."""
    iterator = iter(items)
    while batch := list(islice(iterator, BATCH_ROWS)):
        yield batch
