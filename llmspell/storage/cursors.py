"""Cursors of scans: opaque strings that name the last key of a page."""

from __future__ import annotations

import base64
import binascii
import struct
from typing import Final

from llmspell._hot import crc32c
from llmspell.errors import InvalidCursor
from llmspell.storage.ids import decode_id, encode_id

__all__ = ["decode_cursor", "encode_cursor"]

_HEAD: Final = struct.Struct("<IBQ")  # checksum, version, generation
VERSION: Final = 1
#: The longest that is looked at: head and key, by base64, and room to spare.
MAX_CHARS: Final = 1_024


def encode_cursor(tenant: str, generation: int, key: bytes) -> str:
    """The cursor that goes on behind a key; its checksum is seeded with the tenant's id."""
    body = _HEAD.pack(0, VERSION, generation)[4:] + key
    checksum = struct.pack("<I", crc32c(body, crc32c(tenant.encode())))
    return base64.urlsafe_b64encode(checksum + body).decode().rstrip("=")


def decode_cursor(tenant: str, generation: int, cursor: object) -> bytes:
    """The key that a cursor of this tenant names.

    Raises:
        InvalidCursor: it is another tenant's, a former one's of the same id, damaged or none.
    """
    if not isinstance(cursor, str):
        raise InvalidCursor(f"a cursor is the str that a page gave, got {type(cursor).__name__}")
    try:
        if len(cursor) > MAX_CHARS:
            raise ValueError("too long")
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        _, version, of = _HEAD.unpack_from(raw)
        key = raw[_HEAD.size :]
        # What encodes to another string was changed where base64 has bits to spare.
        is_whole = version == VERSION and encode_cursor(tenant, of, key) == cursor
        is_whole = is_whole and encode_id(decode_id(key)) == key
    except (ValueError, struct.error, binascii.Error):
        is_whole, of = False, generation
    if not is_whole:
        raise InvalidCursor("the cursor is damaged, or another tenant's; begin again without it")
    if of != generation:
        raise InvalidCursor(
            f"the cursor is of generation {of} of this tenant, which is generation {generation} "
            "now: it was dropped and made again; begin again without it"
        )
    return key
