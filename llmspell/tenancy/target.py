"""What an ingest may do to a tenant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from llmspell.config import FieldType
from llmspell.errors import InputError, MetadataError, ShapeError
from llmspell.storage import (
    Put,
    Room,
    StoredDocument,
    Write,
    check_document_id,
    encode_id,
    unpack,
)
from llmspell.tenancy.documents import SplitDocument
from llmspell.tenancy.inputs import as_vectors, check_vectors, pack_metadata, pack_text
from llmspell.tenancy.ports import Embed

if TYPE_CHECKING:
    from llmspell.tenancy.residence import Residence

__all__ = ["EMBED_LEASE_S", "Target"]

#: A model may take minutes over a batch. What a dead process was embedding is given back at once.
EMBED_LEASE_S: Final = 3_600.0


class Target:
    """Implements :class:`llmspell.tenancy.IngestTarget` for a tenant. Thread-safe."""

    def __init__(self, residence: Residence, enter: Callable[[], Room]) -> None:
        self._residence = residence
        self._enter = enter

    def document_hash(self, document_id: str) -> bytes | None:
        """Content hash of a document; empty where it lost chunks, None where it isn't there."""
        room = self._enter()
        room.flush()
        document = room.store.document(check_document_id(document_id))
        return None if document is None else document.content_hash

    def put_documents(self, batch: Sequence[SplitDocument], embed: Embed) -> None:
        """Embed and write documents in one transaction; each replaces its former self.

        Raises:
            InputError: a document that can't be stored, or two of one id.
            QuotaExceeded: documents, vectors, embeddings or storage; nothing was charged or
                written.
        """
        room = self._enter()
        puts, documents = _plan(batch, self._residence.entry.config.schema)
        slot = self._residence.slot
        room.flush()
        # Looked at, and not held while embedding: that takes seconds, in which others may write.
        slot.require_room(**_growth(room, puts, documents))
        with slot.reserve(embeddings=len(puts), lease=EMBED_LEASE_S):
            vectors = None
            if puts:
                vectors = as_vectors(embed([chunk.text for one in batch for chunk in one.chunks]))
                config = self._residence.entry.config
                check_vectors(vectors, config.metric, room.dim or config.dim)
                if len(vectors) != len(puts):
                    raise ShapeError(f"{len(puts)} chunks, but {len(vectors)} vectors")
                raw = vectors.astype("<f4", copy=False)
                puts = [put._replace(vector=raw[i].tobytes()) for i, put in enumerate(puts)]
            room.write(Write(puts=puts, vectors=vectors, documents=documents))


def _plan(
    batch: Sequence[SplitDocument], schema: Mapping[str, FieldType]
) -> tuple[list[Put], dict[str, StoredDocument]]:
    """Chunks, still without their vectors, and documents to write."""
    puts: list[Put] = []
    documents: dict[str, StoredDocument] = {}
    for document in batch:
        if document.id in documents:
            raise InputError(f"document {document.id!r} stands twice in one batch")
        if not document.content_hash:
            raise InputError(f"document {document.id!r} has an empty content hash")
        key = check_document_id(document.id)
        try:
            metadata = unpack(pack_metadata(document.metadata, schema))
        except MetadataError as error:
            raise MetadataError(f"document {document.id!r}: {error}") from None
        documents[key] = StoredDocument(
            document.content_hash, metadata, first=len(puts), length=len(document.chunks)
        )
        puts.extend(_chunk_puts(document, schema))
    return puts, documents


def _growth(
    room: Room, puts: Sequence[Put], documents: Mapping[str, StoredDocument]
) -> dict[str, int]:
    """By how much a batch makes documents and vectors more than they are."""
    came = 0
    gone: set[int] = set()
    for document_id in documents:
        old = room.store.document(document_id)
        if old is None:
            came += 1
            continue
        rows = range(old.first, old.first + old.length)
        gone.update(row for row, raw in zip(rows, room.store.fetch(rows), strict=True) if raw)
    gone.update(found[0].rowid for found in room.store.get([put.key for put in puts]) if found)
    return {"documents": came, "vectors": max(len(puts) - len(gone), 0)}


def _chunk_puts(document: SplitDocument, schema: Mapping[str, FieldType]) -> Iterator[Put]:
    for number, chunk in enumerate(document.chunks):
        metadata = {
            **document.metadata,
            "document": document.id,
            "source": document.source or document.id,
            "start": chunk.start,
            "end": chunk.end,
        }
        yield Put(
            encode_id(f"{document.id}#{number}"),
            pack_metadata(metadata, schema),
            pack_text(chunk.text),
            vector=b"",
            is_chunk=True,
        )
