"""A corpus of any size from real text: Python's own sources and documentation, over and over."""

from __future__ import annotations

import pydoc_data.topics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks.corpus import library_files

__all__ = ["write_corpus"]

#: Characters between two headings: less than a chunk has, so that none of them comes twice.
_PART: Final = 1_500
_FILE: Final = 64_000


def write_corpus(folder: Path, size: int) -> tuple[int, int]:
    """Write ``size`` bytes of text files, or up to one file more, into ``folder``.

    The texts are the standard library's files and the topics of ``help()``, in a fixed order, and
    the same again, several to a file of 64 kB or more. Each has a heading before every 1,500
    characters or so that says which copy of what it is; the rest of a chunk is as it is in Python.

    Returns:
        Files and bytes.
    """
    texts = [(name, _parts(text)) for name, text in _texts()]
    files = written = copy = 0
    while written < size:
        copy += 1
        (folder / f"{copy:04}").mkdir(parents=True)
        for number, raw in enumerate(_joined(copy, texts)):
            if written >= size:
                break
            written += (folder / f"{copy:04}" / f"{number:04}.txt").write_bytes(raw)
            files += 1
    return files, written


def _joined(copy: int, texts: Sequence[tuple[str, Sequence[bytes]]]) -> Iterator[bytes]:
    """The contents of a copy's files."""
    file = bytearray()
    for name, parts in texts:
        for place, part in enumerate(parts, 1):
            file += f"Copy {copy} of {name}, part {place}\n\n".encode() + part
        if len(file) >= _FILE:
            yield bytes(file)
            file.clear()
    if file:
        yield bytes(file)


def _texts() -> Iterator[tuple[str, str]]:
    for file in library_files():
        try:
            yield file.stem, file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    yield from sorted(pydoc_data.topics.topics.items())


def _parts(text: str) -> list[bytes]:
    """Cut at the end of the line behind every 1,500 characters."""
    parts, begin = [], 0
    while begin < len(text):
        end = text.find("\n", begin + _PART) + 1 or len(text)
        parts.append(text[begin:end].encode())
        begin = end
    return parts
