"""How a record and its vector look in bytes."""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from llmspell._hot import NEVER_US, RecordBytes, checked_bytes, crc32c, encode_record
from llmspell.errors import CorruptFile
from llmspell.storage.codec import unpack
from llmspell.storage.packed_text import packed

__all__ = ["NEVER", "StoredRecord", "decode_vector", "encode_vector"]

#: Of a record that doesn't expire.
NEVER: Final = NEVER_US

_CHECKSUM = struct.Struct("<I")


class StoredRecord(RecordBytes):
    """A record in bytes, without its vector, decoded on demand; checked when it is made.

    The vector is kept apart: a search reads texts, and building an index reads vectors, each
    without the other.
    """

    __slots__ = ()

    def __init__(self, rowid: int, raw: bytes) -> None:
        """Check all of it.

        Raises:
            CorruptFile: the checksum or a length doesn't hold, or it belongs to another row.
            UnsupportedFormat: a later release wrote it.
        """
        self.check()

    @staticmethod
    def encode(
        rowid: int,
        *,
        key: bytes,
        metadata: bytes,
        text: bytes | None,
        vector_bytes: int,
        created_us: int,
        updated_us: int,
        expires_us: int,
        is_chunk: bool,
    ) -> bytes:
        """Bytes of a record; ``key`` and ``metadata`` are encoded already.

        The text of a chunk is compressed where that makes it shorter.
        """
        times = created_us, updated_us, expires_us
        short = packed(text) if is_chunk and text is not None else None
        kept = text if short is None else short
        return encode_record(
            rowid, key, metadata, kept, vector_bytes, *times, is_chunk, short is not None
        )

    def with_metadata(self, metadata: bytes, updated_us: int) -> bytes:
        """Bytes of the same record with other metadata, encoded."""
        return self.encode(
            self.rowid,
            key=self.key,
            metadata=metadata,
            text=self.raw_text,
            vector_bytes=self.vector_bytes,
            created_us=self.created_us,
            updated_us=updated_us,
            expires_us=self.expires_us,
            is_chunk=self.is_chunk,
        )

    @property
    def metadata(self) -> dict[str, Any]:
        """A dict of its own."""
        decoded: dict[str, Any] = unpack(self.raw_metadata)
        return decoded


def encode_vector(rowid: int, vector: bytes) -> bytes:
    """Bytes of a vector: CRC-32C seeded with the row id, then little-endian float32."""
    return checked_bytes(vector, rowid & 0xFFFFFFFF)


def decode_vector(rowid: int, raw: bytes | None) -> NDArray[np.float32]:
    """The (dim,) vector that :func:`encode_vector` encoded, read-only; raises CorruptFile."""
    if raw is None:
        raise CorruptFile(f"vector {rowid}: missing")
    body = memoryview(raw)[4:]
    if (
        not len(body)
        or len(body) % 4
        or crc32c(body, rowid & 0xFFFFFFFF) != _CHECKSUM.unpack_from(raw)[0]
    ):
        raise CorruptFile(f"vector {rowid}: its checksum does not match")
    return np.frombuffer(body, dtype="<f4")
