"""Files and folders to documents.

Nothing is passed over in silence: what can't be taken comes out as :class:`Skipped`.
"""

from __future__ import annotations

import codecs
import io
import os
import re
import stat
import tokenize
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Final

from llmspell.errors import IngestError
from llmspell.tenancy.model import Document, MetadataValue
from llmspell.tenancy.ports import IngestSource

__all__ = ["MAX_FILE_BYTES", "Pending", "Skipped", "find", "load"]

MAX_FILE_BYTES: Final = 16 << 20

_MEDIA_TYPES: Final = {
    ".txt": "text/plain",
    ".text": "text/plain",
    ".rst": "text/plain",
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".html": "text/html",
    ".htm": "text/html",
    ".xhtml": "text/html",
    ".py": "text/x-python",
    ".pyi": "text/x-python",
    ".pyw": "text/x-python",
}
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
_HTML_START: Final = re.compile(
    r"\s*(?:<\?xml[^>]*>\s*)?<(?:!doctype\s+html|html)\b", re.IGNORECASE
)
_PYTHON_SHEBANG: Final = re.compile(r"#!.*\bpython")
_CONTROL_BYTES: Final = bytes(set(range(32)) - set(b"\t\n\r\f\x1b"))


@dataclass(frozen=True, slots=True)
class Skipped:
    """A source that gives no document, and why; what of its name isn't Unicode is escaped."""

    source: str
    reason: str

    def __post_init__(self) -> None:
        # The source is printed, and a name that isn't UTF-8 can't be.
        printable = self.source.encode(errors="backslashreplace").decode()
        object.__setattr__(self, "source", printable)

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Pending:
    """A regular file that is to be read; ``id`` is its path as given, with forward slashes."""

    id: str
    path: Path


def find(source: IngestSource) -> Iterable[Document | Pending | Skipped]:
    """What there is in a source, in a fixed order; no file is opened.

    Folders are searched to the bottom, by name. Hidden entries, symbolic links, ``__pycache__``
    and what is not a regular file are skipped.

    Returns:
        A list, or a lazy iterator where ``source`` is an iterator itself.

    Raises:
        IngestError: a path that doesn't exist, or no source.
    """
    if isinstance(source, str | PathLike | Document):
        return list(_find_one(source))
    if not isinstance(source, Iterable):
        raise _no_source(source)
    found = (item for one in source for item in _find_one(one))
    return list(found) if isinstance(source, Collection) else found


def load(pending: Pending, *, max_bytes: int = MAX_FILE_BYTES) -> Document | Skipped:
    """Read a file as text.

    Its type goes by extension, else by content; its encoding by byte order mark, by what it
    declares, as UTF-8, else as Windows-1252. Line ends become line
    feeds. The metadata holds ``media_type``, and ``encoding`` unless UTF-8.
    """
    try:
        with pending.path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        return Skipped(pending.id, error.strerror or str(error))
    if len(data) > max_bytes:
        return Skipped(pending.id, f"larger than {max_bytes:,} bytes")
    if _is_binary(data):
        return Skipped(pending.id, "binary")
    media_type = _MEDIA_TYPES.get(pending.path.suffix.lower())
    text, encoding = _decode(data, media_type)
    metadata: dict[str, MetadataValue] = {"media_type": media_type or _sniff(text)}
    if encoding != "utf-8":
        metadata["encoding"] = encoding
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return Document(pending.id, text, metadata, str(metadata["media_type"]))


def _no_source(source: object) -> IngestError:
    return IngestError(
        f"a source must be a path, a Document or an iterable of either, got {type(source).__name__}"
    )


def _find_one(source: str | PathLike[str] | Document) -> Iterator[Document | Pending | Skipped]:
    if isinstance(source, Document):
        yield source
        return
    if not isinstance(source, str | PathLike):
        raise _no_source(source)
    path = Path(source)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise IngestError(f"{os.fspath(source)!r} can't be read: {error}") from error
    if stat.S_ISDIR(mode):
        yield from _walk(path)
    elif stat.S_ISREG(mode):
        yield Pending(path.as_posix(), path)
    else:
        yield Skipped(path.as_posix(), "not a regular file")


def _walk(folder: Path) -> Iterator[Pending | Skipped]:
    waiting: list[Path | Pending | Skipped] = [folder]  # the last one is next
    while waiting:
        item = waiting.pop()
        if isinstance(item, Path):
            waiting.extend(reversed(_entries(item)))
        else:
            yield item


def _entries(folder: Path) -> list[Path | Pending | Skipped]:
    """What stands in a folder, by name; a folder in it as its path."""
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        return [Skipped(folder.as_posix(), error.strerror or str(error))]
    return [_entry(folder / entry.name, entry) for entry in entries]


def _entry(path: Path, entry: os.DirEntry[str]) -> Path | Pending | Skipped:
    if entry.name.startswith("."):
        return Skipped(path.as_posix(), "hidden")
    if entry.is_symlink():
        return Skipped(path.as_posix(), "symbolic link; give its target as a source of its own")
    if entry.name == "__pycache__":
        return Skipped(path.as_posix(), "compiled Python")
    if entry.is_dir(follow_symlinks=False):
        return path
    if entry.is_file(follow_symlinks=False):
        return Pending(path.as_posix(), path)
    return Skipped(path.as_posix(), "not a regular file")


def _is_binary(data: bytes) -> bool:
    if data.startswith(tuple(bom for bom, _ in _BOMS)):
        return False
    head = data[:_SNIFFED_BYTES]
    control = len(head) - len(head.translate(None, _CONTROL_BYTES))
    return b"\0" in head or head.startswith(b"%PDF-") or control * 20 > len(head)


def _decode(data: bytes, media_type: str | None) -> tuple[str, str]:
    for encoding in (*_declared_encodings(data, media_type), "utf-8"):
        try:
            return data.decode(encoding), "utf-8" if encoding == "utf-8-sig" else encoding
        except (UnicodeError, LookupError):
            continue
    return data.decode(_FALLBACK_ENCODING, errors="replace"), _FALLBACK_ENCODING


def _declared_encodings(data: bytes, media_type: str | None) -> Iterator[str]:
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            yield encoding
            return
    if media_type == "text/x-python":
        try:
            label = tokenize.detect_encoding(io.BytesIO(data).readline)[0]
        except SyntaxError:  # an encoding that Python doesn't know
            return
        larger: Mapping[str, str] = {}
    elif media_type == "text/html" and (match := _HTML_CHARSET.search(data[:1_024])):
        label = match[1].decode("ascii").lower()
        larger = _WEB_ENCODINGS
    else:
        return
    try:
        codec = codecs.lookup(label).name
    except LookupError:
        return
    if codec.startswith(("utf-8", "utf-16", "utf-32")):
        yield "utf-8"  # wider units would have hidden the declaration
    elif codec not in _NO_ENCODINGS:
        yield larger.get(codec, label)


def _sniff(text: str) -> str:
    if _HTML_START.match(text):
        return "text/html"
    if _PYTHON_SHEBANG.match(text):
        return "text/x-python"
    return "text/plain"
