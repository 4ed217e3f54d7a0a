"""Letters of one script that look like those of another."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any

from llmspell.errors import MissingDependency

__all__ = ["latin_of_mixed_words", "latin_skeleton", "mixed_words"]

_WORD = re.compile(r"[^\W\d_]{2,}")
# Scripts that are written together, UTS 39, section 5.2.
_TOGETHER = (
    frozenset({"LATIN", "HAN", "HIRAGANA", "KATAKANA"}),
    frozenset({"LATIN", "HAN", "BOPOMOFO"}),
    frozenset({"LATIN", "HAN", "HANGUL"}),
)
_OF_NO_SCRIPT = frozenset({"COMMON", "INHERITED", "Unknown"})


def latin_skeleton(text: str) -> str:
    """The text with each character that looks like an ASCII letter replaced by that letter.

    As long as the text, so that positions stay. For comparing, not for showing: other scripts
    lose their letters.

    Raises:
        MissingDependency: the extra ``security`` isn't installed.
    """
    return text if text.isascii() else text.translate(_latin())


def latin_of_mixed_words(text: str) -> str:
    """:func:`latin_skeleton` of the words that mix scripts; others as they are."""
    if text.isascii():
        return text
    parts: list[str] = []
    position = 0
    for start, end, _ in mixed_words(text, unmistakable=True):
        parts += (text[position:start], latin_skeleton(text[start:end]))
        position = end
    parts.append(text[position:])
    return "".join(parts)


def mixed_words(text: str, *, unmistakable: bool) -> Iterator[tuple[int, int, str]]:
    """Start and end of words of several scripts that aren't written together, and what is mixed.

    With ``unmistakable`` only those with a letter that looks like one of another of its scripts:
    "kΩ" is none, "paypal" with a Cyrillic letter is.

    Raises:
        MissingDependency: the extra ``security`` isn't installed.
    """
    if text.isascii():
        return
    for match in _WORD.finditer(text):
        word = match[0]
        if word.isascii():
            continue
        scripts = {script for letter in set(word) if (script := _script(letter))}
        if len(scripts) < 2 or any(scripts <= together for together in _TOGETHER):
            continue
        alike = sorted(letter for letter in set(word) if _looks_like(letter) & scripts)
        if alike or not unmistakable:
            shown = ", ".join(f"U+{ord(letter):04X}" for letter in alike[:4])
            detail = "/".join(sorted(scripts)) + (f", look-alikes {shown}" if shown else "")
            yield match.start(), match.end(), detail


def _confusables() -> Any:
    try:
        return importlib.import_module("confusable_homoglyphs.confusables")
    except ImportError as error:
        raise MissingDependency("security", "confusable-homoglyphs") from error


@cache
def _latin() -> dict[int, str]:
    table = {}
    for letter, alike in _confusables().confusables_data.items():
        if len(letter) == 1 and not letter.isascii():
            ascii_letters = [
                entry["c"] for entry in alike if entry["c"].isascii() and entry["c"].isalpha()
            ]
            if ascii_letters and len(ascii_letters[0]) == 1:
                table[ord(letter)] = ascii_letters[0]
    return table


@lru_cache(4096)
def _script(letter: str) -> str:
    """The script of a letter; empty for one of none, or of several."""
    script = str(_confusables().alias(letter))
    return "" if script in _OF_NO_SCRIPT else script


@lru_cache(4096)
def _looks_like(letter: str) -> frozenset[str]:
    """Scripts, other than its own, with a letter that looks like this one, if it isn't ASCII."""
    if letter.isascii():
        return frozenset()
    found = _confusables().confusables_data.get(letter) or ()
    scripts = {_script(entry["c"]) for entry in found if len(entry["c"]) == 1}
    return frozenset(scripts - {"", _script(letter)})
