"""Hashes of all that decides what is written for a document: equal ones need no work."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from llmspell.errors import IngestError, InputError
from llmspell.rag.chunking import Chunking, splitting_way
from llmspell.rag.grammars import has_grammar
from llmspell.rag.media_types import SHEBANG_TYPES, bare_type, media_type_of
from llmspell.tenancy.documents import Blob, Document
from llmspell.tenancy.model import Metadata

__all__ = ["hash_of_blob", "hash_of_document"]

# Raised when the same content would give other chunks, so that unchanged documents are done anew.
_FORMAT: Final = 3


def hash_of_document(document: Document, chunking: Chunking, embedder: str) -> bytes:
    """Of a text and how it is split and embedded; 16 bytes.

    Raises:
        IngestError: it isn't valid Unicode.
        InputError: its metadata can't be stored.
        MissingDependency: see :func:`splitting_way`.
    """
    way = splitting_way(chunking, bare_type(document.media_type))
    settings = repr((_FORMAT, embedder, way, chunking.size, chunking.overlap))
    source = document.source or ""
    try:
        texts = (settings, document.media_type, source, _told(document.metadata), document.text)
        return _digest(text.encode() for text in texts)
    except UnicodeEncodeError as error:
        raise IngestError(f"document {document.id!r} isn't valid Unicode: {error}") from error
    except (TypeError, ValueError) as error:
        raise InputError(f"metadata of document {document.id!r}: {error}") from error


def hash_of_blob(blob: Blob, chunking: Chunking, embedder: str) -> bytes:
    """Of bytes before anything is read from them, and how that is done; 16 bytes.

    Raises:
        IngestError: its source or media type isn't valid Unicode.
        InputError: its metadata can't be stored.
    """
    declared = media_type_of(blob.name or blob.id, blob.media_type)
    # What else decides the way: the content may say that it is any of these.
    grammars = [has_grammar(kind) for kind in ([declared] if declared else SHEBANG_TYPES)]
    way = (chunking.method, grammars, chunking.size, chunking.overlap)
    settings = repr(("bytes", _FORMAT, embedder, way, declared))
    try:
        texts = (settings, blob.media_type or "", blob.source or "", _told(blob.metadata))
        return _digest([*(text.encode() for text in texts), blob.data])
    except UnicodeEncodeError as error:
        raise IngestError(f"document {blob.id!r} isn't valid Unicode: {error}") from error
    except (TypeError, ValueError) as error:
        raise InputError(f"metadata of document {blob.id!r}: {error}") from error


def _digest(parts: Iterable[bytes]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


def _told(metadata: Metadata) -> str:
    return json.dumps(metadata, sort_keys=True, default=_as_dict)


def _as_dict(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, datetime):
        return {"$time": value.isoformat()}
    raise TypeError(
        f"{type(value).__name__} is not str, int, float, bool, datetime, None, list or mapping"
    )
