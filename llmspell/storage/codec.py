"""How records, log entries and counters look in bytes; each carries its own checksum.

LMDB has none: it would hand out a flipped bit as if it had been written so. All integers in
keys are big-endian, so that LMDB's order is theirs; in values they are little-endian.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgpack  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray

from llmspell.errors import CorruptFile, InvalidId, UnsupportedFormat

__all__ = [
    "FORMAT",
    "MAX_ID_BYTES",
    "Change",
    "Counters",
    "StoredRecord",
    "decode_id",
    "decode_vector",
    "encode_id",
    "encode_vector",
    "pack",
    "pack_checked",
    "pack_rowid",
    "unpack",
    "unpack_checked",
    "unpack_rowid",
]

#: Version of everything in this module; a store of a later one is refused.
FORMAT: Final = 1

#: LMDB's keys have at most 511 bytes; one of them says what type the id has.
MAX_ID_BYTES: Final = 510

pack_rowid = struct.Struct(">Q").pack
unpack_rowid = struct.Struct(">Q").unpack

_INT = struct.Struct(">Q")
_SIGN: Final = 1 << 63
_CHECKSUM = struct.Struct("<I")
_CHANGE = struct.Struct("<BQII")
_HEADER = struct.Struct("<IBBHqqIIII")
_HEADER_BYTES: Final = _HEADER.size
_HAS_TEXT: Final = 1
_IS_CHUNK: Final = 2


def encode_id(identity: object) -> bytes:
    """Key of an external id: its type, then its bytes. Unequal ids never share a key.

    Raises:
        InvalidId: neither str nor int, or too large.
    """
    if isinstance(identity, str):
        try:
            key = identity.encode()
        except UnicodeEncodeError as error:
            raise InvalidId(f"an id must be valid Unicode, got {identity!r}: {error}") from None
        if not 1 <= len(key) <= MAX_ID_BYTES:
            raise InvalidId(
                f"a str id must have 1 to {MAX_ID_BYTES} bytes in UTF-8, got {len(key)}"
            )
        return b"s" + key
    if isinstance(identity, (int, np.integer)) and not isinstance(identity, bool):
        number = int(identity)
        if not -_SIGN <= number < _SIGN:
            raise InvalidId(f"an int id must fit 64 bits with a sign, got {number}")
        return b"i" + _INT.pack(number + _SIGN)
    raise InvalidId(f"an id must be str or int, got {type(identity).__name__}: {identity!r}")


def decode_id(key: bytes) -> str | int:
    """The external id that :func:`encode_id` made a key of."""
    if key[:1] == b"i":
        number: int = _INT.unpack_from(key, 1)[0]
        return number - _SIGN
    return key[1:].decode()


class StoredRecord:
    """A record in bytes, without its vector, decoded on demand.

    Layout: CRC-32 of all that follows, seeded with the row id; version and flags; times; lengths
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
        if zlib.crc32(memoryview(raw)[4:], rowid & 0xFFFFFFFF) != fields[0]:
            raise CorruptFile(f"record {rowid}: its checksum does not match")
        if fields[1] != FORMAT:
            raise UnsupportedFormat(f"record {rowid}: version {fields[1]}, expected {FORMAT}")
        if len(raw) != _HEADER_BYTES + fields[6] + fields[7] + fields[8]:
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
        is_chunk: bool,
    ) -> bytes:
        """Bytes of a record; ``key`` and ``metadata`` are encoded already."""
        flags = (0 if text is None else _HAS_TEXT) | (_IS_CHUNK if is_chunk else 0)
        text = text or b""
        sizes = len(key), len(metadata), len(text), vector_bytes
        header = _HEADER.pack(0, FORMAT, flags, 0, created_us, updated_us, *sizes)
        checked = b"".join((header[4:], key, metadata, text))
        return _CHECKSUM.pack(zlib.crc32(checked, rowid & 0xFFFFFFFF)) + checked

    @property
    def key(self) -> bytes:
        """Key of the external id, see :func:`encode_id`."""
        return self._raw[_HEADER_BYTES : _HEADER_BYTES + self._fields[6]]

    @property
    def metadata(self) -> dict[str, Any]:
        """A dict of its own."""
        start = _HEADER_BYTES + self._fields[6]
        decoded: dict[str, Any] = unpack(self._raw[start : start + self._fields[7]])
        return decoded

    @property
    def text(self) -> str | None:
        """None where the record has none."""
        if not self._fields[2] & _HAS_TEXT:
            return None
        return self._raw[_HEADER_BYTES + self._fields[6] + self._fields[7] :].decode()

    @property
    def created_us(self) -> int:
        """Microseconds since 1970, UTC."""
        return int(self._fields[4])

    @property
    def updated_us(self) -> int:
        """Microseconds since 1970, UTC."""
        return int(self._fields[5])

    @property
    def is_chunk(self) -> bool:
        """Whether it is a piece of an ingested document."""
        return bool(self._fields[2] & _IS_CHUNK)

    @property
    def storage(self) -> int:
        """Bytes that the storage quota counts: id, metadata, text and vector."""
        return sum(self._fields[6:10])


def encode_vector(rowid: int, vector: bytes) -> bytes:
    """Bytes of a vector: CRC-32 seeded with the row id, then little-endian float32."""
    return _CHECKSUM.pack(zlib.crc32(vector, rowid & 0xFFFFFFFF)) + vector


def decode_vector(rowid: int, raw: bytes | None) -> NDArray[np.float32]:
    """The (dim,) vector that :func:`encode_vector` encoded, read-only; raises CorruptFile."""
    if raw is None:
        raise CorruptFile(f"vector {rowid}: missing")
    body = memoryview(raw)[4:]
    if (
        not len(body)
        or len(body) % 4
        or zlib.crc32(body, rowid & 0xFFFFFFFF) != _CHECKSUM.unpack_from(raw)[0]
    ):
        raise CorruptFile(f"vector {rowid}: its checksum does not match")
    return np.frombuffer(body, dtype="<f4")


class Change(NamedTuple):
    """An entry of the log: rows that came, which are consecutive, and rows that went."""

    first: int
    added: int
    removed: NDArray[np.uint64]

    def encode(self) -> bytes:
        """Bytes of the entry."""
        head = _CHANGE.pack(FORMAT, self.first, self.added, len(self.removed))
        return _with_checksum(head + self.removed.astype("<u8").tobytes())

    @classmethod
    def decode(cls, sequence: int, raw: bytes) -> Change:
        """The entry of some bytes; raises CorruptFile and UnsupportedFormat."""
        body = _without_checksum(f"log entry {sequence}", raw, _CHANGE.size)
        version, first, added, removed = _CHANGE.unpack_from(body)
        if version != FORMAT:
            raise UnsupportedFormat(f"log entry {sequence}: version {version}, expected {FORMAT}")
        if len(body) != _CHANGE.size + 8 * removed:
            raise CorruptFile(f"log entry {sequence}: {len(body)} bytes, {removed} rows")
        return cls(first, added, np.frombuffer(body, "<u8", offset=_CHANGE.size))


class Counters(NamedTuple):
    """What the store knows of itself; written in the transaction that changes it.

    Args:
        next_rowid: of the next record; rows are never used again.
        sequence: of the last entry of the log.
        documents, vectors: held now.
        storage: bytes held now, see :attr:`StoredRecord.storage`.
        dim: of all vectors; 0 until the first ones are written.
    """

    next_rowid: int = 1
    sequence: int = 0
    documents: int = 0
    vectors: int = 0
    storage: int = 0
    dim: int = 0

    def encode(self) -> bytes:
        """Bytes of the counters."""
        return _with_checksum(struct.pack("<6Q", *self))

    @classmethod
    def decode(cls, raw: bytes | None) -> Counters:
        """The counters of some bytes; raises CorruptFile."""
        return cls(*struct.unpack("<6Q", _without_checksum("counters", raw, 48)))


def pack(value: object) -> bytes:
    """A JSON-like value as msgpack; an aware datetime in it as a timestamp, to the microsecond."""
    packed: bytes = msgpack.packb(value, datetime=True)
    return packed


def unpack(raw: bytes | memoryview) -> Any:
    """The value that :func:`pack` packed; a time in UTC."""
    return msgpack.unpackb(raw, timestamp=3)


def pack_checked(value: Mapping[str, Any]) -> bytes:
    """A mapping as msgpack with a checksum before it."""
    return _with_checksum(pack(dict(value)))


def unpack_checked(what: str, raw: bytes | None) -> dict[str, Any]:
    """The mapping that :func:`pack_checked` packed; raises CorruptFile."""
    value: dict[str, Any] = unpack(_without_checksum(what, raw, 1))
    return value


def _with_checksum(body: bytes) -> bytes:
    return _CHECKSUM.pack(zlib.crc32(body)) + body


def _without_checksum(what: str, raw: bytes | None, least: int) -> bytes:
    if raw is None:
        raise CorruptFile(f"{what}: missing")
    body = raw[4:]
    if len(body) < least or zlib.crc32(body) != _CHECKSUM.unpack_from(raw)[0]:
        raise CorruptFile(f"{what}: the checksum does not match")
    return body
