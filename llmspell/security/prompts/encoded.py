"""Pieces of a text that are another text in an encoding, or in characters that nobody sees."""

from __future__ import annotations

import base64
import binascii
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from llmspell.security.text.hidden import TAG_RUN

__all__ = ["Piece", "pieces_of"]

_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")
_HEX = re.compile(r"\b(?:(?:[0-9A-Fa-f]{2}){12,}|(?:[0-9A-Fa-f]{2}[ :]){11,}[0-9A-Fa-f]{2})\b")
_ENTITIES = re.compile(r"(?:&#(?:[0-9]{1,7}|[xX][0-9A-Fa-f]{1,6});){4,}")
_ESCAPES = re.compile(r"(?:\\(?:u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2})){4,}")
_WORD = re.compile(r"\S{8,}")
_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,}")
_ZERO_WIDTH = re.compile("[\u200b-\u200d\u2060-\u2064\ufeff]{16,}")
_FLAG_TAGS = range(0, 8)  # the longest code of a flag has six characters and an end


@dataclass(frozen=True, slots=True)
class Piece:
    """``text[start:end]`` of the original is ``decoded``; hidden if nobody sees it."""

    start: int
    end: int
    encoding: str
    decoded: str
    hidden: bool = False


def pieces_of(text: str) -> Iterator[Piece]:
    """Pieces that decode to text. All together are at most four times as long as the text."""
    for match in _BASE64.finditer(text):
        yield from _piece(match, "base64", _from_base64(match[0]))
    for match in _HEX.finditer(text):
        yield from _piece(match, "hex", _from_hex(match[0]))
    for match in _ENTITIES.finditer(text):
        yield from _piece(match, "entities", html.unescape(match[0]))
    for match in _ESCAPES.finditer(text):
        codes = re.findall(r"\\[ux]([0-9A-Fa-f]+)", match[0])
        yield from _piece(match, "escapes", "".join(chr(int(code, 16)) for code in codes))
    if "%" in text:
        for match in _WORD.finditer(text):
            if len(_PERCENT.findall(match[0])) >= 2:
                yield from _piece(match, "percent", unquote(match[0]))
    if text.isascii():
        return
    for match in TAG_RUN.finditer(text):
        decoded = "".join(chr(ord(tag) - 0xE0000) for tag in match[0])
        if len(decoded) not in _FLAG_TAGS:
            yield Piece(*match.span(), "tags", decoded, hidden=True)
    for match in _SELECTORS.finditer(text):
        data = bytes(
            code - 0xFE00 if code < 0xFE10 else code - 0xE0100 + 16 for code in map(ord, match[0])
        )
        yield Piece(*match.span(), "selectors", data.decode("utf-8", "replace"), hidden=True)
    for match in _ZERO_WIDTH.finditer(text):
        yield Piece(*match.span(), "zero-width", "", hidden=True)


def _piece(match: re.Match[str], encoding: str, decoded: str) -> Iterator[Piece]:
    if sum(map(str.isprintable, decoded)) >= 0.85 * len(decoded) and decoded:
        yield Piece(*match.span(), encoding, decoded)


def _from_base64(text: str) -> str:
    body = text.rstrip("=").replace("-", "+").replace("_", "/")
    body = body[: len(body) - (len(body) % 4 == 1)]
    try:
        return base64.b64decode(body + "=" * (-len(body) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _from_hex(text: str) -> str:
    try:
        return bytes.fromhex(text.replace(":", "").replace(" ", "")).decode()
    except ValueError:
        return ""
