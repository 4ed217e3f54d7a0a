"""Files and bytes to documents: by what they are, to the text that is split.

What can't be taken comes out as :class:`Skipped`, with the reason.
"""

from __future__ import annotations

from typing import Final

from llmspell.errors import IngestError
from llmspell.rag.decoding import decode, is_binary
from llmspell.rag.media_types import (
    CSV,
    HTML,
    JSON_LINES,
    PLAIN,
    TSV,
    bare_type,
    charset_of,
    container_type,
    is_page,
    media_type_of,
    sniff,
)
from llmspell.rag.parsers import Parsers
from llmspell.rag.records import csv_to_text, json_lines_to_text
from llmspell.rag.sources import Pending, Skipped
from llmspell.tenancy.documents import Blob, Document
from llmspell.tenancy.model import Metadata, MetadataValue

__all__ = ["MAX_FILE_BYTES", "load", "read", "readable"]

MAX_FILE_BYTES: Final = 16 << 20


def read(item: Pending | Blob, *, max_bytes: int = MAX_FILE_BYTES) -> Blob | Skipped:
    """The bytes of a file, or those that there are; of ``max_bytes`` at most."""
    blob = _read(item, max_bytes) if isinstance(item, Pending) else item
    if isinstance(blob, Blob) and len(blob.data) > max_bytes:
        return Skipped(blob.id, f"larger than {max_bytes:,} bytes")
    return blob


def load(
    item: Pending | Blob, *, max_bytes: int = MAX_FILE_BYTES, parsers: Parsers | None = None
) -> Document | Skipped:
    """Read a file or bytes as a document.

    PDF and DOCX are known by their content; other types go by what is declared, else by extension,
    else by content. The metadata holds ``media_type``, ``encoding`` unless UTF-8, and ``title``
    where a PDF or DOCX file has one, beside what a blob has of its own.

    Raises:
        MissingDependency, SandboxUnavailable: a PDF or DOCX file can't be read here.
    """
    blob = read(item, max_bytes=max_bytes)
    if isinstance(blob, Skipped):
        return blob
    container = container_type(blob.data)
    if container is not None:
        return _parsed(blob, container, parsers or Parsers())
    if is_binary(blob.data):
        return Skipped(blob.id, "binary")
    declared = media_type_of(blob.name or blob.id, blob.media_type)
    text, encoding = decode(blob.data, declared, charset_of(blob.media_type))
    # "Text" is said of anything; a page says itself what it is.
    media_type = HTML if declared == PLAIN and is_page(text) else declared or sniff(text)
    metadata: dict[str, MetadataValue] = {"media_type": media_type}
    if encoding != "utf-8":
        metadata["encoding"] = encoding
    return Document(blob.id, text, {**metadata, **blob.metadata}, media_type, blob.source)


def _parsed(blob: Blob, container: str, parsers: Parsers) -> Document | Skipped:
    try:
        parsed = parsers.parse(blob.data, container)
    except IngestError as error:
        return Skipped(blob.id, str(error))
    metadata: dict[str, MetadataValue] = {"media_type": container}
    if parsed.title:
        metadata["title"] = parsed.title
    metadata |= blob.metadata
    return Document(blob.id, parsed.text, metadata, parsed.media_type, blob.source)


def readable(document: Document, parsers: Parsers) -> tuple[str, str, Metadata]:
    """The text of a document that is split, its media type, and metadata with its title.

    HTML becomes Markdown; CSV and JSON lines become a paragraph for each record. Spans of chunks
    are those of this text.

    Raises:
        IngestError: the text isn't what its media type says, or takes more than it may.
    """
    media_type = bare_type(document.media_type)
    if media_type == HTML:
        parsed = parsers.parse(document.text.encode(), HTML)
        title = parsed.title
        metadata = {"title": title, **document.metadata} if title else document.metadata
        return parsed.text, parsed.media_type, metadata
    if media_type in (CSV, TSV):
        delimiter = "\t" if media_type == TSV else None
        return csv_to_text(document.text, delimiter=delimiter), PLAIN, document.metadata
    if media_type == JSON_LINES:
        return json_lines_to_text(document.text), PLAIN, document.metadata
    return document.text, media_type, document.metadata


def _read(pending: Pending, max_bytes: int) -> Blob | Skipped:
    try:
        with pending.path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        return Skipped(pending.id, error.strerror or str(error))
    return Blob(pending.id, data, name=pending.path.name)
