"""Windows of so many tokens, which neither cut a word nor what a reader sees as one character."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from llmspell.rag.graphemes import clusters

__all__ = ["token_windows"]

#: Characters looked at for each token wanted, at first.
_CHARS_PER_TOKEN: Final = 6
#: Beyond a cut, so that what belongs to one character is seen as one.
_AHEAD: Final = 64


def token_windows(
    tokenizer: Any, text: str, *, size: int, overlap: int, max_chars: int
) -> Iterator[tuple[int, int]]:
    """Spans that follow each other through a text.

    Args:
        size: tokens of a window at most, as they are counted in the text around it.
        overlap: tokens at most of a window that the next one repeats.
        max_chars: of a window, where a token is as long as that.

    Raises:
        MissingDependency: the extra ``rag`` isn't installed.
    """
    graphemes = clusters()
    start = 0
    while start < len(text):
        offsets = _offsets(tokenizer, text, start, size, max_chars)
        limit = min(start + max_chars, len(text))
        end = offsets[size - 1][1] if len(offsets) > size else limit
        end = _before(graphemes, text, start, end)
        yield start, end
        if end == len(text):
            return
        kept = [at for at, _ in offsets[:size] if start < at < end]
        if overlap and kept:
            start = _behind(graphemes, text, start, kept[-min(overlap, len(kept))], end)
        else:
            start = end


def _offsets(
    tokenizer: Any, text: str, start: int, size: int, max_chars: int
) -> list[tuple[int, int]]:
    """Places in the text of more than ``size`` tokens, if there are as many in ``max_chars``."""
    chars = min(size * _CHARS_PER_TOKEN, max_chars)
    while True:
        encoded = tokenizer.encode(text[start : start + chars], add_special_tokens=False)
        if len(encoded.ids) > size or chars >= max_chars or start + chars >= len(text):
            return [(start + at, start + end) for at, end in encoded.offsets]
        chars = min(chars * 2, max_chars)


def _before(graphemes: Any, text: str, start: int, end: int) -> int:
    """The last place between two words up to ``end`` in the second half of a window, if any."""
    if end == len(text):
        return end
    middle = (start + end) // 2
    for at in range(end, middle, -1):
        if text[at - 1].isspace() or text[at].isspace():
            # White space and marks behind it are one character.
            return _boundary(graphemes, text, max(start, at - _AHEAD), at)
    return _boundary(graphemes, text, start, end)


def _behind(graphemes: Any, text: str, start: int, at: int, end: int) -> int:
    """The first place from ``at`` on where a word begins; ``end`` if there is none before."""
    for place in range(at, end):
        if text[place - 1].isspace() and not text[place].isspace():
            return place
    found = _boundary(graphemes, text, start, at)
    return found if found > start else end


def _boundary(graphemes: Any, text: str, start: int, end: int) -> int:
    """The last place up to ``end`` at which a character that readers see begins.

    ``start`` is taken for one where there is no other; so is ``end``, where a single character
    goes beyond what is looked at.
    """
    last = start
    for found in graphemes.finditer(text, start, min(end + _AHEAD, len(text))):
        if found.end() > end:
            break
        last = found.end()
    return last if last > start else end
