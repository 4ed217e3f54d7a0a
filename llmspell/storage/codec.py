"""Values in bytes, each with its own checksum.

LMDB has none: it would hand out a flipped bit as if it had been written so. A checksum is CRC-32C.
All integers in keys are big-endian, so that LMDB's order is theirs; in values they are
little-endian.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]

from llmspell._hot import STORE_FORMAT, checked_bytes, crc32c
from llmspell.errors import CorruptFile, UnsupportedFormat

__all__ = [
    "FORMAT",
    "UNDECODABLE",
    "pack",
    "pack_checked",
    "unpack",
    "unpack_checked",
    "with_checksum",
    "without_checksum",
]

#: Version of all that lies in LMDB; a store of another one is refused.
FORMAT: Final = STORE_FORMAT

#: What a checksum covers was written so, but not by llmspell where decoding it raises one of these.
UNDECODABLE: Final = (
    *(KeyError, OverflowError, RecursionError, TypeError, ValueError),
    struct.error,
)

_CHECKSUM = struct.Struct("<I")


def pack(value: object) -> bytes:
    """A JSON-like value as msgpack; an aware datetime in it as a timestamp, to the microsecond."""
    packed: bytes = msgpack.packb(value, datetime=True)
    return packed


def unpack(raw: bytes | memoryview) -> Any:
    """The value that :func:`pack` packed; a time in UTC."""
    return msgpack.unpackb(raw, timestamp=3)


def pack_checked(value: Mapping[str, Any]) -> bytes:
    """A mapping as msgpack with a checksum before it."""
    return with_checksum(pack(dict(value)))


def unpack_checked(what: str, raw: bytes | None) -> dict[str, Any]:
    """The mapping that :func:`pack_checked` packed; raises CorruptFile."""
    value: dict[str, Any] = unpack(without_checksum(what, raw, 1))
    return value


def with_checksum(body: bytes) -> bytes:
    """The bytes with their checksum before them."""
    return checked_bytes(body)


def without_checksum(what: str, raw: bytes | None, least: int) -> bytes:
    """The bytes that :func:`with_checksum` was given, ``least`` or more; raises CorruptFile."""
    if raw is None:
        raise CorruptFile(f"{what}: missing")
    body = raw[4:]
    if len(body) < least or crc32c(body) != _CHECKSUM.unpack_from(raw)[0]:
        if body and zlib.crc32(body) == _CHECKSUM.unpack_from(raw)[0]:  # as version 1 had them
            raise UnsupportedFormat(f"{what}: version 1, expected {FORMAT}")
        raise CorruptFile(f"{what}: the checksum does not match")
    return body
