"""Texts: counted, encoded, hashed, compared."""

from __future__ import annotations

import base64
import binascii
import difflib
import hashlib
import html
import urllib.parse
from typing import Any, Literal

from llmspell.tools import tool

__all__ = ["decode_text", "diff_texts", "encode_text", "hash_text", "text_statistics"]

Encoding = Literal["base64", "base64url", "hex", "url", "html"]


@tool(idempotent=True)
def text_statistics(text: str) -> dict[str, int]:
    """Count a text's characters, words, lines and bytes of UTF-8."""
    return {
        "characters": len(text),
        "words": len(text.split()),
        "lines": len(text.splitlines()),
        "bytes": len(text.encode()),
    }


@tool(idempotent=True)
def hash_text(
    text: str,
    algorithm: Literal["sha256", "sha512", "sha3_256", "blake2b", "sha1", "md5"] = "sha256",
) -> str:
    """Give the hash of a text in UTF-8, in hexadecimal digits.

    Args:
        algorithm: sha1 and md5 tell texts apart, and protect nothing.
    """
    return hashlib.new(algorithm, text.encode(), usedforsecurity=False).hexdigest()


@tool(idempotent=True)
def encode_text(text: str, encoding: Encoding) -> str:
    """Encode a text in UTF-8 as base64, hexadecimal digits, for a URL, or for HTML."""
    raw = text.encode()
    match encoding:
        case "base64":
            return base64.b64encode(raw).decode()
        case "base64url":
            return base64.urlsafe_b64encode(raw).decode()
        case "hex":
            return raw.hex()
        case "url":
            return urllib.parse.quote(text, safe="")
        case "html":
            return html.escape(text)


@tool(idempotent=True)
def decode_text(text: str, encoding: Encoding) -> str:
    """Decode a text from base64, hexadecimal digits, a URL, or HTML."""
    try:
        match encoding:
            case "base64":
                return base64.b64decode(_padded(text), validate=True).decode()
            case "base64url":
                return base64.b64decode(_padded(text), altchars=b"-_", validate=True).decode()
            case "hex":
                return bytes.fromhex(text).decode()
            case "url":
                return urllib.parse.unquote(text, errors="strict")
            case "html":
                return html.unescape(text)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"the text is no {encoding} of UTF-8: {error}") from None


@tool(idempotent=True)
def diff_texts(before: str, after: str, context_lines: int = 3) -> dict[str, Any]:
    """Show what changed between two texts, line by line, as a unified diff.

    Args:
        context_lines: unchanged lines around each change, 0 to 20.
    """
    old, new = before.splitlines(), after.splitlines()
    count = min(max(context_lines, 0), 20)
    lines = list(difflib.unified_diff(old, new, "before", "after", lineterm="", n=count))
    return {
        "is_equal": before == after,
        "added": sum(line.startswith("+") for line in lines[2:]),
        "removed": sum(line.startswith("-") for line in lines[2:]),
        "diff": "\n".join(lines),
    }


def _padded(text: str) -> bytes:
    raw = "".join(text.split()).encode("ascii").rstrip(b"=")
    return raw + b"=" * (-len(raw) % 4)
