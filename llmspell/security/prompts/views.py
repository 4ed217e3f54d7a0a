"""Ways of reading a text, each with the place in the original of every character.

Rules are written for plain lower-case text. A view is that: folded, with what hides taken out, or
read as somebody reads who knows the trick (leet, letters set apart, rot13, backwards).
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from llmspell.security.text.look_alikes import latin_of_mixed_words

__all__ = ["View", "fold", "views_of"]

_MAX_EXPANSION = 4  # of a character; there are ligatures of a whole sentence
_QUOTES = frozenset(
    "\"'`\u00b4\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u00ab\u00bb\u2039\u203a"
    "\u300c\u300d\u300e\u300f\uff02\uff07"
)
_AS_SPACE = frozenset("*_~|\u3000")
_LEET = str.maketrans("431057@$", "aeiostas")
_LEET_WORD = re.compile(r"[a-z0-9@$]{2,40}")
# Letters, each apart from the next by one separator.
_APART = re.compile(r"(?:[a-z][ .\-,/]){5,}[a-z](?![a-z])")


@dataclass(frozen=True, slots=True)
class View:
    """A reading of a text; ``starts[i]`` and ``ends[i]`` are where its character i comes from."""

    name: str
    text: str
    starts: list[int]
    ends: list[int]

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The span of the original that a span of this view comes from."""
        first, last = start, max(end - 1, start)
        return (
            min(self.starts[first], self.starts[last]),
            max(self.ends[first], self.ends[last]),
        )


@lru_cache(8192)
def fold(character: str) -> str:
    """What a character is to a rule: plain, in lower case, without marks; empty if it hides."""
    if character in _QUOTES:
        return ""
    if character in "\n\r\v\f\x85\u2028\u2029":
        return "\n"
    if character in _AS_SPACE or character.isspace():
        return " "
    plain = unicodedata.normalize("NFKD", character.casefold())
    if len(plain) > _MAX_EXPANSION:
        return character
    # Marks go, of whatever script: the rules have lost theirs in the same way.
    return "".join(
        " " if part.isspace() else part
        for part in plain
        if unicodedata.category(part)[0] not in "CM"
    )


def views_of(text: str) -> Iterator[View]:
    """The folded text first; then those other readings that differ from it."""
    folded = _folded(text)
    yield folded
    latin = latin_of_mixed_words(folded.text)
    if latin != folded.text:
        yield View("look-alikes", latin, folded.starts, folded.ends)
    leet = _LEET_WORD.sub(_from_leet, latin)
    if leet != latin:
        yield View("leet", leet, folded.starts, folded.ends)
    apart = _joined(latin, folded)
    if apart.text:
        yield apart
    yield View("rot13", codecs.encode(latin, "rot13"), folded.starts, folded.ends)
    yield View("reversed", latin[::-1], folded.starts[::-1], folded.ends[::-1])


def _folded(text: str) -> View:
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    last = ""
    for index, character in enumerate(text):
        plain = fold(character)
        if plain in (" ", "\n") and last in (" ", "\n"):
            # One blank for many; a line break outweighs spaces.
            if plain == "\n":
                parts[-1] = last = "\n"
            continue
        for part in plain:
            parts.append(part)
            starts.append(index)
            ends.append(index + 1)
            last = part
    return View("", "".join(parts), starts, ends)


def _from_leet(match: re.Match[str]) -> str:
    word = match[0]
    if word.isalpha() or not any(letter.isalpha() for letter in word):
        return word
    return word.translate(_LEET)


def _joined(text: str, folded: View) -> View:
    """Letters that are set apart, together; a line for each run of them."""
    parts: list[str] = []
    at: list[int] = []
    for match in _APART.finditer(text):
        kept = [index for index in range(*match.span()) if text[index].isalpha()]
        parts += [text[index] for index in kept]
        at += kept
        if kept:
            parts.append("\n")
            at.append(kept[-1])
    return View(
        "apart", "".join(parts), [folded.starts[i] for i in at], [folded.ends[i] for i in at]
    )
