"""Pages of records, and records as callers see them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from llmspell.errors import InputError
from llmspell.storage import (
    NEVER,
    CatalogEntry,
    Room,
    StoredRecord,
    decode_cursor,
    encode_cursor,
    parse_filter,
)
from llmspell.tenancy.inputs import as_flag
from llmspell.tenancy.model import Record, ScanPage

__all__ = ["as_record", "scan_page"]

#: A page lies in memory as a whole.
MAX_LIMIT: Final = 100_000


def scan_page(
    room: Room,
    entry: CatalogEntry,
    filter: Mapping[str, Any] | None,
    cursor: str | None,
    limit: int,
    *,
    vectors: bool,
) -> ScanPage:
    """See :meth:`llmspell.Tenant.scan`."""
    if isinstance(limit, bool) or not isinstance(limit, (int, np.integer)):
        raise InputError(f"limit must be an int, got {type(limit).__name__}")
    if not 1 <= limit <= MAX_LIMIT:
        raise InputError(f"limit must be from 1 to {MAX_LIMIT:,}, got {limit}")
    vectors = as_flag("vectors", vectors)
    config = entry.config
    after = None if cursor is None else decode_cursor(config.id, entry.generation, cursor)
    condition = None if filter is None else parse_filter(filter, config.schema)
    # One more tells whether this page is the last.
    held = room.scan(after, int(limit) + 1, condition, vectors=vectors)
    page = held[:limit]
    following = None
    if len(held) > limit:
        following = encode_cursor(config.id, entry.generation, page[-1][0].key)
    return ScanPage(records=[as_record(*one) for one in page], cursor=following)


def as_record(stored: StoredRecord, vector: NDArray[np.float32]) -> Record:
    """A record as callers see it."""
    return Record(
        id=stored.id,
        vector=vector,
        text=stored.text,
        metadata=stored.metadata,
        created_at=_time(stored.created_us),
        updated_at=_time(stored.updated_us),
        expires_at=None if stored.expires_us == NEVER else _time(stored.expires_us),
    )


def _time(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
