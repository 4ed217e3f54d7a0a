"""Bytes to text, by the encoding that they are in."""

from __future__ import annotations

import codecs
import io
import re
import tokenize
from collections.abc import Iterator, Mapping
from typing import Final

__all__ = ["decode", "is_binary"]

_SNIFFED_BYTES: Final = 8_192
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark begins it
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What the encoding standard for the web reads bytes as that declare nothing and aren't UTF-8.
_FALLBACK_ENCODING: Final = "cp1252"
# Whom the same standard reads by a larger encoding than they declare, by Python's names.
_WEB_ENCODINGS: Final = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "euc_kr": "cp949",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
}
# Codecs that no file is written in, or that decode to what isn't valid Unicode.
_NO_ENCODINGS: Final = {
    "charmap",
    "idna",
    "punycode",
    "raw-unicode-escape",
    "undefined",
    "unicode-escape",
    "utf-7",
}
_HTML_CHARSET: Final = re.compile(
    rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE
)
_CONTROL_BYTES: Final = bytes(set(range(32)) - set(b"\t\n\r\f\x1b"))


def is_binary(data: bytes) -> bool:
    """Whether bytes are no text in any encoding, by their first ones."""
    if data.startswith(tuple(bom for bom, _ in _BOMS)):
        return False
    head = data[:_SNIFFED_BYTES]
    control = len(head) - len(head.translate(None, _CONTROL_BYTES))
    return b"\0" in head or control * 20 > len(head)


def decode(data: bytes, media_type: str | None, charset: str | None = None) -> tuple[str, str]:
    """Text of some bytes, and its encoding's name; line ends become line feeds.

    The encoding goes by byte order mark, by ``charset``, which a server said, by what the bytes
    declare, as UTF-8, else as Windows-1252, which takes anything.
    """
    text, encoding = _decode(data, media_type, charset)
    return text.replace("\r\n", "\n").replace("\r", "\n"), encoding


def _decode(data: bytes, media_type: str | None, charset: str | None) -> tuple[str, str]:
    for encoding in (*_declared_encodings(data, media_type, charset), "utf-8"):
        try:
            return data.decode(encoding), "utf-8" if encoding == "utf-8-sig" else encoding
        except (UnicodeError, LookupError):
            continue
    return data.decode(_FALLBACK_ENCODING, errors="replace"), _FALLBACK_ENCODING


def _declared_encodings(data: bytes, media_type: str | None, charset: str | None) -> Iterator[str]:
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            yield encoding
            return
    larger: Mapping[str, str]
    if charset is not None:
        label, larger = charset.lower(), _WEB_ENCODINGS
    elif media_type == "text/x-python":
        try:
            label = tokenize.detect_encoding(io.BytesIO(data).readline)[0]
        except SyntaxError:  # an encoding that Python doesn't know
            return
        larger = {}
    elif media_type == "text/html" and (match := _HTML_CHARSET.search(data[:1_024])):
        label = match[1].decode("ascii").lower()
        larger = _WEB_ENCODINGS
    else:
        return
    try:
        codec = codecs.lookup(label).name
    except (LookupError, ValueError):  # ValueError: with a character that no name has
        return
    if codec.startswith(("utf-8", "utf-16", "utf-32")):
        yield "utf-8"  # wider units would have hidden the declaration
    elif codec not in _NO_ENCODINGS:
        yield larger.get(codec, label)
