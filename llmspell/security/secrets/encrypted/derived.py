"""HKDF (RFC 5869) and unambiguous bytes of several fields."""

from __future__ import annotations

import hmac
from typing import Final

from llmspell.security.secrets.secret import Secret

__all__ = ["derived", "fields"]

_PURPOSE: Final = b"llmspell secrets 1"


def derived(key: Secret[bytes], purpose: bytes, salt: bytes = b"") -> Secret[bytes]:
    """32 bytes for one purpose, by HKDF-SHA256 of one block; ``salt`` of a store, or none."""
    # hmac pads a key of no bytes with zeros, as the RFC wants it of a missing salt.
    drawn = hmac.digest(salt, key.reveal(), "sha256")
    return Secret(hmac.digest(drawn, fields(_PURPOSE, purpose) + b"\x01", "sha256"))


def fields(*values: str | bytes | None) -> bytes:
    """Bytes that are different for different fields: each with its kind and length before it."""
    made = bytearray()
    for value in values:
        raw = value.encode() if isinstance(value, str) else value or b""
        kind = b"n" if value is None else b"s" if isinstance(value, str) else b"b"
        made += kind + len(raw).to_bytes(8, "big") + raw
    return bytes(made)
