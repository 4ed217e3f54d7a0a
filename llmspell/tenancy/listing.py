"""Ingested documents as callers see them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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

__all__ = ["chunks_of", "document_info", "document_page", "text_parts"]


def document_info(room: Room, document_id: str) -> DocumentInfo:
    """See :meth:`llmspell.Tenant.document`."""
    room.flush()
    stored = room.store.document(check_document_id(document_id))
    if stored is None:
        raise _missing(document_id)
    return _as_info(document_id, stored)


def chunks_of(
    room: Room, document_id: str, *, vectors: bool, max_chars: int | None
) -> list[Record]:
    """See :meth:`llmspell.Tenant.chunks`."""
    if max_chars is not None and (
        isinstance(max_chars, bool) or not isinstance(max_chars, int) or max_chars < 1
    ):
        raise InputError(f"max_chars must be an int of at least 1, got {max_chars!r}")
    room.flush()
    now_us = room.views.now_us()
    with room.store.moment() as moment:
        stored = moment.document(check_document_id(document_id))
        if stored is None:
            raise _missing(document_id)
        held = moment.chunks(stored, vectors=vectors)
        found = (as_record(*one) for one in held if one[0].expires_us > now_us)
        return list(found) if max_chars is None else _up_to(max_chars, found, document_id)


def _up_to(max_chars: int, chunks: Iterable[Record], document_id: str) -> list[Record]:
    """The chunks, where the text that they have together is no longer; reads no more of it."""
    read: list[Record] = []

    def reading() -> Iterator[Record]:
        for chunk in chunks:
            read.append(chunk)
            yield chunk

    chars = 0
    for part in text_parts(reading()):
        chars += len(part)
        if chars > max_chars:
            raise InputError(
                f"the document {document_id!r} has more than {max_chars:,} characters, the most "
                "that are read at once; search in it"
            )
    return read


def text_parts(chunks: Iterable[Record]) -> Iterator[str]:
    """The text that chunks of one document have together, in parts.

    What two of them share comes once, and white space between two is one line break.
    """
    reached: int | None = None
    for chunk in chunks:
        text = chunk.text or ""
        start, end = chunk.metadata["start"], chunk.metadata["end"]
        assert isinstance(start, int) and isinstance(end, int)
        shared = 0 if reached is None else reached - start
        if shared < 0:
            yield "\n"
        # What was written over its text since stands for itself.
        yield text[max(shared, 0) :] if len(text) == end - start else text
        reached = end if reached is None else max(reached, end)


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
