"""Hashes of all that decides what is written for a document: equal ones need no work."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from llmspell.errors import IngestError, MetadataError
from llmspell.rag.chunking import Chunking, splitting_way
from llmspell.rag.grammars import has_grammar
from llmspell.rag.media_types import SHEBANG_TYPES, bare_type, media_type_of
from llmspell.storage import pack
from llmspell.tenancy.documents import Blob, Document
from llmspell.tenancy.inputs import plain_metadata
from llmspell.tenancy.model import Metadata

__all__ = ["hash_of_blob", "hash_of_document"]

# Raised when the same content would give other chunks, so that unchanged documents are done anew.
_FORMAT: Final = 4


def hash_of_document(document: Document, chunking: Chunking, embedder: str) -> bytes:
    """Of a text and how it is split and embedded; 16 bytes.

    Raises:
        IngestError: it isn't valid Unicode.
        MetadataError: its metadata can't be stored.
        MissingDependency: see :func:`splitting_way`.
    """
    way = splitting_way(chunking, bare_type(document.media_type))
    settings = repr((_FORMAT, embedder, way, chunking.size, chunking.overlap))
    source = document.source or ""
    texts = (settings, document.media_type, source)
    return _digest(document.id, document.metadata, texts, lambda: document.text.encode())


def hash_of_blob(blob: Blob, chunking: Chunking, embedder: str) -> bytes:
    """Of bytes before anything is read from them, and how that is done; 16 bytes.

    Raises:
        IngestError: its source or media type isn't valid Unicode.
        MetadataError: its metadata can't be stored.
    """
    declared = media_type_of(blob.name or blob.id, blob.media_type)
    # What else decides the way: the content may say that it is any of these.
    grammars = [has_grammar(kind) for kind in ([declared] if declared else SHEBANG_TYPES)]
    way = (chunking.method, grammars, chunking.size, chunking.overlap)
    settings = repr(("bytes", _FORMAT, embedder, way, declared))
    texts = (settings, blob.media_type or "", blob.source or "")
    return _digest(blob.id, blob.metadata, texts, lambda: blob.data)


def _digest(
    identity: str, metadata: Metadata, texts: Sequence[str], content: Callable[[], bytes]
) -> bytes:
    """Of all of it, each part told apart from the next."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        told = pack(_sorted(plain_metadata(metadata)))
        for part in (*(text.encode() for text in texts), told, content()):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
    except MetadataError as error:
        raise MetadataError(f"document {identity!r}: {error}") from None
    except UnicodeEncodeError as error:
        raise IngestError(f"document {identity!r} isn't valid Unicode: {error}") from error
    return digest.digest()


def _sorted(value: Any) -> Any:
    """The value with the keys of its mappings in one order."""
    if isinstance(value, dict):
        return {key: _sorted(inner) for key, inner in sorted(value.items())}
    return [_sorted(inner) for inner in value] if isinstance(value, list) else value
