"""Ingested documents as callers see them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice

import numpy as np

from llmspell.errors import IdNotFound, InputError
from llmspell.storage import (
    CatalogEntry,
    Room,
    StoredDocument,
    check_document_id,
    decode_cursor,
    decode_id,
    encode_cursor,
    encode_id,
)
from llmspell.tenancy.documents import DocumentInfo, DocumentPage
from llmspell.tenancy.model import Record
from llmspell.tenancy.scan import MAX_LIMIT, as_record

__all__ = ["chunks_of", "document_info", "document_page"]


def document_info(room: Room, document_id: str) -> DocumentInfo:
    """See :meth:`llmspell.Tenant.document`."""
    room.flush()
    stored = room.store.document(check_document_id(document_id))
    if stored is None:
        raise _missing(document_id)
    return _as_info(document_id, stored)


def chunks_of(room: Room, document_id: str, *, vectors: bool) -> list[Record]:
    """See :meth:`llmspell.Tenant.chunks`."""
    room.flush()
    now_us = room.views.now_us()
    with room.store.moment() as moment:
        stored = moment.document(check_document_id(document_id))
        if stored is None:
            raise _missing(document_id)
        held = list(moment.chunks(stored, vectors=vectors))
    return [as_record(*one) for one in held if one[0].expires_us > now_us]


def document_page(room: Room, entry: CatalogEntry, cursor: str | None, limit: int) -> DocumentPage:
    """See :meth:`llmspell.Tenant.documents`."""
    if isinstance(limit, bool) or not isinstance(limit, (int, np.integer)):
        raise InputError(f"limit must be an int, got {type(limit).__name__}")
    if not 1 <= limit <= MAX_LIMIT:
        raise InputError(f"limit must be from 1 to {MAX_LIMIT:,}, got {limit}")
    of = entry.config.id, entry.generation
    after = "" if cursor is None else str(decode_id(decode_cursor(*of, cursor)))
    room.flush()
    with room.store.moment() as moment:
        # One more tells whether this page is the last.
        held = list(islice(moment.documents(after), int(limit) + 1))
    page = [_as_info(*one) for one in held[:limit]]
    following = encode_cursor(*of, encode_id(page[-1].id)) if len(held) > limit else None
    return DocumentPage(documents=page, cursor=following)


def _as_info(document_id: str, stored: StoredDocument) -> DocumentInfo:
    return DocumentInfo(
        id=document_id,
        version=stored.version,
        content_hash=stored.content_hash.hex(),
        source=stored.source,
        metadata=stored.metadata,
        chunks=len(stored.rows),
        created_at=_time(stored.created_us),
        updated_at=_time(stored.updated_us),
    )


def _missing(document_id: str) -> IdNotFound:
    return IdNotFound(f"no document {document_id!r}")


def _time(us: int | None) -> datetime:
    return _EPOCH + timedelta(microseconds=us or 0)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
