"""Ids, rows and times as keys of LMDB."""

from __future__ import annotations

import struct
from typing import Final

import numpy as np

from llmspell.errors import InvalidId

__all__ = [
    "MAX_ID_BYTES",
    "check_document_id",
    "decode_id",
    "encode_id",
    "pack_expiry",
    "pack_rowid",
    "unpack_expiry",
    "unpack_rowid",
]

#: LMDB's keys have at most 511 bytes; one of them says what type the id has.
MAX_ID_BYTES: Final = 510
#: Chunks are called "<document>#<number>", and that must fit a record's id too.
MAX_DOCUMENT_ID_BYTES: Final = MAX_ID_BYTES - 10

pack_rowid = struct.Struct(">Q").pack
unpack_rowid = struct.Struct(">Q").unpack

#: A time in microseconds since 1970 and a row, so that the earliest comes first.
pack_expiry = struct.Struct(">QQ").pack
unpack_expiry = struct.Struct(">QQ").unpack

_INT = struct.Struct(">Q")
_SIGN: Final = 1 << 63


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


def check_document_id(identity: object) -> str:
    """The id of a document, if it can be stored; raises InvalidId."""
    if not isinstance(identity, str):
        raise InvalidId(f"a document's id must be a str, got {type(identity).__name__}")
    encode_id(identity)
    size = len(identity.encode())
    if size > MAX_DOCUMENT_ID_BYTES:
        raise InvalidId(
            f"a document's id must have at most {MAX_DOCUMENT_ID_BYTES} bytes in UTF-8, got {size}"
        )
    if identity == "\0":  # the key before all others in the table of documents
        raise InvalidId("a document's id can't be a NUL alone")
    return identity


def decode_id(key: bytes) -> str | int:
    """The external id that :func:`encode_id` made a key of."""
    if key[:1] == b"i":
        number: int = _INT.unpack_from(key, 1)[0]
        return number - _SIGN
    return key[1:].decode()
