"""What an ingest may do to a tenant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from llmspell.errors import InputError, InvalidId, ShapeError
from llmspell.quota import Quota
from llmspell.storage import MAX_ID_BYTES, Put, Room, StoredDocument, encode_id, unpack
from llmspell.tenancy.inputs import as_vectors, check_vectors, pack_metadata, pack_text
from llmspell.tenancy.model import PreparedDocument
from llmspell.tenancy.residence import Residence

__all__ = ["Target"]


class Target:
    """Implements :class:`llmspell.tenancy.IngestTarget` for a tenant. Thread-safe."""

    def __init__(self, residence: Residence, enter: Callable[[], Room]) -> None:
        self._residence = residence
        self._enter = enter

    def document_hash(self, document_id: str) -> bytes | None:
        """Content hash of a document; empty where it lost chunks, None where it isn't there."""
        document = self._enter().store.document(_document_key(document_id))
        return None if document is None else document.content_hash

    def charge_embeddings(self, count: int) -> None:
        """Charge texts that are about to be embedded; raises QuotaExceeded."""
        self._residence.slot.charge(Quota.EMBEDDINGS, count)

    def put_documents(self, batch: Sequence[PreparedDocument]) -> None:
        """Write documents in one transaction; each replaces all chunks of its former self.

        Raises:
            InputError: a document that can't be stored, or two of one id.
            QuotaExceeded: documents, vectors or storage; nothing was written.
        """
        config = self._residence.entry.config
        room = self._enter()
        puts: list[Put] = []
        documents: dict[str, StoredDocument | None] = {}
        matrices = []
        for document in batch:
            if document.id in documents:
                raise InputError(f"document {document.id!r} stands twice in one batch")
            if not document.content_hash:
                raise InputError(f"document {document.id!r} has an empty content hash")
            documents[_document_key(document.id)] = StoredDocument(
                document.content_hash,
                unpack(pack_metadata(document.metadata)),
                first=len(puts),
                length=len(document.chunks),
            )
            if document.chunks:
                vectors = as_vectors(document.vectors)
                check_vectors(vectors, config.metric, room.dim or config.dim)
                if len(vectors) != len(document.chunks):
                    raise ShapeError(
                        f"document {document.id!r}: {len(document.chunks)} chunks, "
                        f"but {len(vectors)} vectors"
                    )
                matrices.append(vectors)
                puts.extend(_chunk_puts(document, vectors))
        widths = {matrix.shape[1] for matrix in matrices}
        if len(widths) > 1:
            raise ShapeError(f"vectors of several dimensions in one batch: {sorted(widths)}")
        room.write(
            puts=puts,
            vectors=np.concatenate(matrices) if matrices else None,
            documents=documents,
        )


def _chunk_puts(document: PreparedDocument, vectors: Any) -> list[Put]:
    puts = []
    for number, (chunk, vector) in enumerate(zip(document.chunks, vectors, strict=True)):
        metadata = {
            **document.metadata,
            "document": document.id,
            "start": chunk.start,
            "end": chunk.end,
        }
        puts.append(
            Put(
                encode_id(f"{document.id}#{number}"),
                pack_metadata(metadata),
                pack_text(chunk.text),
                vector.astype("<f4", copy=False).tobytes(),
                is_chunk=True,
            )
        )
    return puts


def _document_key(document_id: str) -> str:
    """The id, if it can be stored; raises InvalidId."""
    if not isinstance(document_id, str):
        raise InvalidId(f"a document's id must be a str, got {type(document_id).__name__}")
    encode_id(document_id)
    if len(document_id.encode()) > MAX_DOCUMENT_ID_BYTES:
        raise InvalidId(
            f"a document's id must have at most {MAX_DOCUMENT_ID_BYTES} bytes in UTF-8, "
            f"got {len(document_id.encode())}"
        )
    return document_id


# Chunks are called "<document>#<number>", and that must fit a record's id too.
MAX_DOCUMENT_ID_BYTES = MAX_ID_BYTES - 10
