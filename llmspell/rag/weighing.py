"""What documents take in memory, before they are read and while they wait."""

from __future__ import annotations

from typing import Final

from llmspell.rag.sources import Item, Pending, Skipped
from llmspell.tenancy.documents import Blob, Document, SplitDocument, WebPage

__all__ = ["bytes_to_keep", "bytes_to_read"]

#: Bytes held at most for each byte that is read: as they are, as text, parsed, and in chunks.
_WORK: Final = 12
#: Of a page whose size nobody knows yet: what a broker lets through by default.
_PAGE_BYTES: Final = 8 << 20
#: What a chunk takes beside its text and vectors.
_CHUNK_BYTES: Final = 1_024
#: A vector as it is made, as it is checked, and as it is written.
_VECTOR_COPIES: Final = 3


def bytes_to_read(item: Item, max_file_bytes: int) -> int:
    """Bytes that reading and splitting an item takes at most."""
    if isinstance(item, Skipped):
        return 0
    if isinstance(item, Pending):
        try:
            size = item.path.stat().st_size
        except OSError:
            size = 0  # reading it will say what is wrong
    elif isinstance(item, WebPage):
        size = _PAGE_BYTES
    else:
        size = len(item.data) if isinstance(item, Blob) else len(item.text)
        if isinstance(item, Document):
            return _WORK * size
    return _WORK * min(size, max_file_bytes)


def bytes_to_keep(document: SplitDocument, dim: int) -> int:
    """Bytes that a document takes while it waits, and while it is embedded and written."""
    chunk = _CHUNK_BYTES + 4 * dim * _VECTOR_COPIES
    return sum(2 * len(one.text) + chunk for one in document.chunks)
