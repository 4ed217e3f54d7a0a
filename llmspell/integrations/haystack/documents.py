"""Haystack's documents as records, and back."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmspell.errors import DimensionMismatch
from llmspell.integrations.haystack.framework import ByteStream, Document, SparseEmbedding
from llmspell.integrations.matching import Found
from llmspell.integrations.metadata import UNEMBEDDED, from_fields, to_fields

__all__ = ["to_document", "to_fields_of", "to_vectors"]


def to_fields_of(document: Document) -> dict[str, Any]:
    """Metadata of the record of a document."""
    beside: dict[str, Any] = {}
    if document.blob is not None:
        blob = document.blob
        beside["blob"] = {"data": blob.data, "meta": blob.meta, "mime_type": blob.mime_type}
    if document.sparse_embedding is not None:
        beside["sparse_embedding"] = document.sparse_embedding.to_dict()
    if document.score is not None:
        beside["score"] = document.score
    fields = to_fields(document.meta, beside)
    if document.embedding is None:
        fields[UNEMBEDDED] = True
    return fields


def to_vectors(documents: Sequence[Document], dim: int) -> NDArray[np.float32]:
    """Vectors of the records of documents, (n, dim); one without an embedding has one by its id.

    Unlike a constant these spread, as an index of neighbours needs it.

    Raises:
        DimensionMismatch: an embedding of another length.
    """
    vectors = np.empty((len(documents), dim), dtype=np.float32)
    for row, document in zip(vectors, documents, strict=True):
        embedding = document.embedding
        if embedding is None:
            digest = hashlib.blake2b(document.id.encode(errors="replace"), digest_size=8).digest()
            row[:] = np.random.default_rng(int.from_bytes(digest)).normal(size=dim)
        elif len(embedding) != dim:
            raise DimensionMismatch(
                f"document {document.id!r}: an embedding of length {dim} expected, "
                f"got {len(embedding)}",
                expected=dim,
                actual=len(embedding),
            )
        else:
            row[:] = embedding
    return vectors


def to_document(
    found: Found, *, score: float | None = None, vector: NDArray[np.float32] | None = None
) -> Document:
    """The document of a record.

    Args:
        score: of a search; that which the document had where None.
        vector: (dim,) of the record; None leaves the embedding out.
    """
    fields = found.metadata
    meta, beside = from_fields(fields)
    blob, sparse = beside.get("blob"), beside.get("sparse_embedding")
    has_vector = vector is not None and vector.size and UNEMBEDDED not in fields
    return Document(
        id=str(found.id),
        content=found.text,
        blob=None if blob is None else ByteStream(**blob),
        meta=meta,
        score=beside.get("score") if score is None else score,
        embedding=vector.tolist() if vector is not None and has_vector else None,
        sparse_embedding=None if sparse is None else SparseEmbedding.from_dict(sparse),
    )
