"""Parts of a long text, so that what splits it is never given much at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

__all__ = ["sections", "sections_between_voids"]

# The splitter's time grows with the square of a run of white space: a minute for 300,000.
_VOID: Final = re.compile(r"\s{256,}")
# Every so many characters one, of which each of these runs has 16 in a row.
_STRIDE: Final = 16
_SPACES: Final = re.compile(r"\s{16}")
_BORDERS: Final = [
    re.compile(border) for border in (r"\n\n(?=\S)", r"\n", r"[.!?]\s|[\u3002\uff01\uff1f]", r"\s")
]


def sections_between_voids(
    text: str, start: int, end: int, at_once: int
) -> Iterator[tuple[int, int]]:
    """As :func:`sections`, without long runs of white space."""
    for begin, stop in _between_voids(text, start, end):
        yield from sections(text, begin, stop, at_once)


def sections(text: str, start: int, end: int, at_once: int) -> Iterator[tuple[int, int]]:
    """Spans of ``at_once`` characters at most that end at a border, where there is one."""
    while end - start > at_once:
        stop = _last_border(text, start + at_once // 2, start + at_once)
        yield start, stop
        start = stop
    if end > start:
        yield start, end


def _last_border(text: str, first: int, last: int) -> int:
    for border in _BORDERS:
        ends = [found.end() for found in border.finditer(text, first, last)]
        if ends:
            return ends[-1]
    return last


def _between_voids(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    # Most texts need no closer look at each character.
    if not _SPACES.search(text[start:end:_STRIDE]):
        yield start, end
        return
    for void in _VOID.finditer(text, start, end):
        if void.start() > start:
            yield start, void.start()
        start = void.end()
    if end > start:
        yield start, end
