"""How a record and its vector look in bytes."""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from llmspell._hot import crc32c
from llmspell.errors import CorruptFile, UnsupportedFormat
from llmspell.storage.codec import FORMAT, unpack

__all__ = ["NEVER", "StoredRecord", "decode_vector", "encode_vector"]

#: Of a record that doesn't expire.
NEVER: Final = (1 << 63) - 1

_CHECKSUM = struct.Struct("<I")
_HEADER = struct.Struct("<IBBHqqqIIII")
_HEADER_BYTES: Final = _HEADER.size
_HAS_TEXT: Final = 1
_IS_CHUNK: Final = 2
_FLAGS, _CREATED, _UPDATED, _EXPIRES, _KEY, _METADATA, _TEXT, _VECTOR = 2, 4, 5, 6, 7, 8, 9, 10


class StoredRecord:
    """A record in bytes, without its vector, decoded on demand.

    Layout: CRC-32C of all that follows, seeded with the row id; version and flags; times; lengths
    of the parts and of the vector; then the key of the id, metadata, text. The vector is kept
    apart: a search reads texts, and building an index reads vectors, each without the other.
    """

    __slots__ = ("_fields", "_raw", "rowid")

    def __init__(self, rowid: int, raw: bytes) -> None:
        """Check all of it.

        Raises:
            CorruptFile: the checksum or a length doesn't hold, or it belongs to another row.
            UnsupportedFormat: a later release wrote it.
        """
        if len(raw) < _HEADER_BYTES:
            raise CorruptFile(f"record {rowid}: {len(raw)} bytes, expected {_HEADER_BYTES} or more")
        self._fields = fields = _HEADER.unpack_from(raw)
        if crc32c(memoryview(raw)[4:], rowid & 0xFFFFFFFF) != fields[0]:
            raise CorruptFile(f"record {rowid}: its checksum does not match")
        if fields[1] != FORMAT:
            raise UnsupportedFormat(f"record {rowid}: version {fields[1]}, expected {FORMAT}")
        if len(raw) != _HEADER_BYTES + fields[_KEY] + fields[_METADATA] + fields[_TEXT]:
            raise CorruptFile(f"record {rowid}: its lengths do not add up")
        self.rowid = rowid
        self._raw = raw

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
        """Bytes of a record; ``key`` and ``metadata`` are encoded already."""
        flags = (0 if text is None else _HAS_TEXT) | (_IS_CHUNK if is_chunk else 0)
        text = text or b""
        times = created_us, updated_us, expires_us
        sizes = len(key), len(metadata), len(text), vector_bytes
        header = _HEADER.pack(0, FORMAT, flags, 0, *times, *sizes)
        checked = b"".join((header[4:], key, metadata, text))
        return _CHECKSUM.pack(crc32c(checked, rowid & 0xFFFFFFFF)) + checked

    def with_metadata(self, metadata: bytes, updated_us: int) -> bytes:
        """Bytes of the same record with other metadata, encoded."""
        fields = self._fields
        return self.encode(
            self.rowid,
            key=self.key,
            metadata=metadata,
            text=self._raw[self._text_at :] if fields[_FLAGS] & _HAS_TEXT else None,
            vector_bytes=fields[_VECTOR],
            created_us=fields[_CREATED],
            updated_us=updated_us,
            expires_us=fields[_EXPIRES],
            is_chunk=self.is_chunk,
        )

    @property
    def _text_at(self) -> int:
        return _HEADER_BYTES + int(self._fields[_KEY]) + int(self._fields[_METADATA])

    @property
    def key(self) -> bytes:
        """Key of the external id, see :func:`llmspell.storage.ids.encode_id`."""
        return self._raw[_HEADER_BYTES : _HEADER_BYTES + self._fields[_KEY]]

    @property
    def raw_metadata(self) -> bytes:
        """Metadata as they are stored."""
        return self._raw[_HEADER_BYTES + self._fields[_KEY] : self._text_at]

    @property
    def metadata(self) -> dict[str, Any]:
        """A dict of its own."""
        decoded: dict[str, Any] = unpack(self.raw_metadata)
        return decoded

    @property
    def text(self) -> str | None:
        """None where the record has none."""
        return self._raw[self._text_at :].decode() if self._fields[_FLAGS] & _HAS_TEXT else None

    @property
    def created_us(self) -> int:
        """Microseconds since 1970, UTC."""
        return int(self._fields[_CREATED])

    @property
    def updated_us(self) -> int:
        """Microseconds since 1970, UTC."""
        return int(self._fields[_UPDATED])

    @property
    def expires_us(self) -> int:
        """Microseconds since 1970, UTC; :data:`NEVER` where it doesn't expire."""
        return int(self._fields[_EXPIRES])

    @property
    def is_chunk(self) -> bool:
        """Whether it is a piece of an ingested document."""
        return bool(self._fields[_FLAGS] & _IS_CHUNK)

    @property
    def vector_bytes(self) -> int:
        """Length of its vector in bytes."""
        return int(self._fields[_VECTOR])

    @property
    def storage(self) -> int:
        """Bytes that the storage quota counts: id, metadata, text and vector."""
        return sum(self._fields[_KEY:])


def encode_vector(rowid: int, vector: bytes) -> bytes:
    """Bytes of a vector: CRC-32C seeded with the row id, then little-endian float32."""
    return _CHECKSUM.pack(crc32c(vector, rowid & 0xFFFFFFFF)) + vector


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
