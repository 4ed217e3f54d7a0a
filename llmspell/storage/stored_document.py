"""An ingested document as it lies in a tenant's store."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from llmspell.storage.codec import pack, unpack

__all__ = ["OF_A_CHUNK", "StoredDocument"]

#: Metadata of a chunk that an ingest writes and no update changes.
OF_A_CHUNK: Final = ("document", "source", "version", "start", "end")


class StoredDocument(NamedTuple):
    """An ingested document.

    Args:
        content_hash: of what it was ingested from; empty where a chunk was removed or replaced by
            its own id since. A document goes with the last of its chunks.
        metadata: of the document.
        rows: of its chunks that live, in the order of its text. In a write, -1 - n is the row that
            the write's n-th put gets.
        version: 1 at first, and one more with each ingest that changed it.
        source: where it comes from.
        embedder: the model that made its chunks' vectors; empty where nobody said.
        created_us: when it was first written, in microseconds since 1970; None is now.
        updated_us: when this version of it was.
    """

    content_hash: bytes
    metadata: dict[str, Any]
    rows: tuple[int, ...]
    version: int = 1
    source: str = ""
    embedder: str = ""
    created_us: int | None = None
    updated_us: int | None = None

    def settled(self, first: int, now_us: int) -> StoredDocument:
        """As it is to be stored, where the first put of its write gets row ``first``."""
        return self._replace(
            rows=tuple(row if row >= 0 else first - 1 - row for row in self.rows),
            created_us=now_us if self.created_us is None else self.created_us,
            updated_us=now_us if self.updated_us is None else self.updated_us,
        )

    def encode(self) -> bytes:
        """Bytes of it."""
        return pack(self._asdict())

    @classmethod
    def decode(cls, raw: bytes) -> StoredDocument:
        """The document of some bytes, whose checksum was checked."""
        document = cls(**unpack(raw))
        return document._replace(rows=tuple(document.rows))
