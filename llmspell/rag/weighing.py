"""What documents take in memory, before they are read, while they are split and while they wait."""

from __future__ import annotations

import sys
from typing import Final

from llmspell.rag.media_types import CSV, HTML, JSON_LINES, TSV, bare_type, media_type_of
from llmspell.rag.sources import Item, Skipped
from llmspell.tenancy.documents import Blob, Document, SplitDocument, WebPage

__all__ = ["bytes_to_keep", "bytes_to_read", "bytes_to_split"]

#: Bytes held at most for each byte that is read: as they are, as text, parsed, and in chunks.
#: By the peak of resident memory over 3 MiB it is 12 of text, and 15 of HTML that is read in this
#: process and has a character beyond U+FFFF.
_WORK: Final = 14
_WORK_ON_HTML: Final = 18
#: Of tables and JSON lines, where all of a file is one record of the shortest fields, or a list of
#: empty ones; and of what isn't known yet, which may be such a file, or a PDF file that unpacks.
_WORK_ON_ANY: Final = 28
#: Of a page whose size nobody knows yet: what a broker lets through by default.
_PAGE_BYTES: Final = 8 << 20
#: Bytes for each character of a text that is split, beside the text itself. By the peak of resident
#: memory over 3,000,000 characters it is less than one of ASCII, and four of others.
_WORK_ON_TEXT: Final = 5
#: What a chunk takes beside its text and vectors.
_CHUNK_BYTES: Final = 1_024
#: A vector as it is made, as it is checked, and as it is written.
_VECTOR_COPIES: Final = 3


def bytes_to_read(item: Item, max_file_bytes: int) -> int:
    """Bytes that reading and splitting an item takes at most."""
    if isinstance(item, Skipped):
        return 0
    if isinstance(item, Document):
        return _work(bare_type(item.media_type)) * len(item.text)
    if isinstance(item, WebPage):
        return _WORK_ON_ANY * min(_PAGE_BYTES, max_file_bytes)
    if isinstance(item, Blob):
        size, media_type = len(item.data), media_type_of(item.name or item.id, item.media_type)
    else:
        media_type = media_type_of(item.path.name)
        try:
            size = item.path.stat().st_size
        except OSError:
            size = 0  # reading it will say what is wrong
    return _work(media_type) * min(size, max_file_bytes)


def _work(media_type: str | None) -> int:
    """For each byte."""
    if media_type in (None, CSV, TSV, JSON_LINES):
        return _WORK_ON_ANY
    return _WORK_ON_HTML if media_type == HTML else _WORK


def bytes_to_split(text: str) -> int:
    """Bytes that a text and its splitting take at most."""
    return sys.getsizeof(text) + _WORK_ON_TEXT * len(text)


def bytes_to_keep(document: SplitDocument, dim: int) -> int:
    """Bytes that a document takes while it waits, and while it is embedded and written."""
    chunk = _CHUNK_BYTES + 4 * dim * _VECTOR_COPIES
    return sum(2 * len(one.text) + chunk for one in document.chunks)
