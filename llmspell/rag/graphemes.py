"""Characters as readers see them (grapheme clusters of Unicode), around places in a text."""

from __future__ import annotations

import functools
import importlib
from typing import Any, Final

from llmspell.errors import MissingDependency

__all__ = ["clusters", "whole"]

#: Looked at on either side of a place: what is longer is cut where it must be.
_AROUND: Final = 64
#: Looked back further where a row of flags comes before, which are pairs from its beginning on.
_FLAGS: Final = 1_024


@functools.cache
def clusters() -> Any:
    """A pattern that matches one.

    Raises:
        MissingDependency: the extra ``rag`` isn't installed.
    """
    try:
        return importlib.import_module("regex").compile(r"\X")
    except ImportError as error:
        raise MissingDependency("rag", "regex") from error


def whole(text: str, start: int, end: int) -> tuple[int, int]:
    """A slice that cuts no character, in place of one that may.

    A character belongs to the slice that goes on behind it; only one that ends with white space,
    at which a slice was cut off, is made whole at the end of it. So slices that cover a text
    still do.
    """
    begins = _around(text, start)
    if begins is not None:
        start = begins[0]
    stops = _around(text, end)
    if stops is not None:
        end = stops[1] if text[end].isspace() else stops[0]
    return start, end


def _around(text: str, at: int) -> tuple[int, int] | None:
    """Where the character begins and ends that a place is within; None for one between two."""
    if not 0 < at < len(text):
        return None
    if text[at - 1 : at + 1].isascii():
        return (at - 1, at + 1) if text[at - 1 : at + 1] == "\r\n" else None
    start = max(at - _AROUND, 0)
    while start and at - start < _FLAGS and _is_flag(text[start - 1]) and _is_flag(text[start]):
        start -= 1
    stop = min(at + _AROUND, len(text))
    for found in clusters().finditer(text, start, stop):
        if found.end() > at:
            first, behind = found.span()
            is_seen_whole = (first > start or not start) and (behind < stop or stop == len(text))
            return (first, behind) if first < at and is_seen_whole else None
    return None


def _is_flag(character: str) -> bool:
    """Whether it is one of the letters of which two make a flag."""
    return "\U0001f1e6" <= character <= "\U0001f1ff"
