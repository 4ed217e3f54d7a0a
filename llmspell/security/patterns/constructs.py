"""What backtracking engines have and RE2 lacks, found in a pattern with its place."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Construct", "first_refused"]

_LOOK_AROUND = "it looks at text that isn't part of the match; match that text too, and use a group"
_NO_MEMORY = "it depends on what a group matched, which no automaton of bounded size can remember"
_GIVES_BACK = "it forbids giving characters back, and RE2 never goes back: leave the mark out"

# What follows "(?", longest first.
_GROUPS = (
    ("<=", "look-behind", _LOOK_AROUND),
    ("<!", "negative look-behind", _LOOK_AROUND),
    ("P=", "back-reference", _NO_MEMORY),
    ("P>", "recursion", _NO_MEMORY),
    ("=", "look-ahead", _LOOK_AROUND),
    ("!", "negative look-ahead", _LOOK_AROUND),
    (">", "atomic group", _GIVES_BACK),
    ("(", "conditional", _NO_MEMORY),
    ("#", "comment", "RE2 has none: leave it out"),
    ("R", "recursion", _NO_MEMORY),
    ("&", "recursion", _NO_MEMORY),
    ("|", "branch reset", "RE2 numbers groups one way: from left to right"),
)
_ESCAPES = {
    "B": ("no word border", "RE2 looks between bytes, and finds it within characters"),
    "C": ("single byte", "it matches a byte, which may be a part of a character"),
    "G": ("end of the last match", "a match doesn't depend on the one before it"),
    "K": ("reset of the start", "use a group for the part that is wanted"),
    "N": ("named character", r"write the character itself, or \x{1F600}"),
    "R": ("line break", r"write (?:\r\n|[\n\v\f\r])"),
    "U": ("character escape", r"write the character itself, or \x{1F600}"),
    "X": ("grapheme", r"write \PM\pM*"),
    "Z": ("end of text", r"it is spelt \z here"),
    "g": ("back-reference", _NO_MEMORY),
    "k": ("back-reference", _NO_MEMORY),
    "u": ("character escape", r"write the character itself, or \x{1F600}"),
}
_INLINE_FLAGS = re.compile(r"\(\?([A-Za-z]{0,10})(?:-[A-Za-z]{0,10})?[:)]")
_FLAGS = {
    "L": "locales aren't looked at",
    "a": "classes are those of ASCII already",
    "u": "classes are those of ASCII; write \\pL or \\pN",
    "x": "write the pattern without blanks and comments",
}
_COUNT = re.compile(r"\{(?:[0-9]{1,9}(?:,[0-9]{0,9})?)\}")
_LARGEST_COUNT = 1000  # of RE2
# A character by its number, a class of Unicode by its name: braces that count nothing.
_BRACED = re.compile(r"\\(?:x\{[0-9A-Fa-f]{1,8}\}|[pP]\{\^?[A-Za-z_]{1,40}\})")


@dataclass(frozen=True, slots=True)
class Construct:
    """A part of a pattern that isn't taken: its name, its first character, and the reason."""

    name: str
    position: int
    reason: str


def first_refused(pattern: str) -> Construct | None:
    """The first construct that RE2 lacks, or has and that isn't safe; None if there is none.

    A pattern that this lets through may still be refused by RE2, for its syntax.
    """
    position = 0
    in_class = False
    repeated = False  # whether what stands before is a repetition
    while position < len(pattern):
        character = pattern[position]
        found = None
        length = 1
        if character == "\\":
            if pattern.startswith("\\Q", position):
                end = pattern.find("\\E", position + 2)
                position = len(pattern) if end < 0 else end + 2
                repeated = False
                continue
            found, length = _escape(pattern, position, in_class), _escape_length(pattern, position)
        elif in_class:
            in_class, length = _class_goes_on(pattern, position)
        elif character == "[":
            in_class = True
            length = 1 + len(re.match(r"\^?\]?", pattern[position + 1 : position + 3])[0])  # type: ignore[index]
        elif character == "(":
            found = _group(pattern, position)
            length = 2 if pattern.startswith("(?", position) else 1
        elif character in "*+?" or (count := _COUNT.match(pattern, position)):
            if repeated and character == "+":
                found = Construct("possessive repetition", position, _GIVES_BACK)
            elif character == "{" and count:
                found, length = _count(count), len(count[0])
            if found is not None:
                return found
            # "?" after a repetition makes it lazy, and is none itself.
            repeated = not (repeated and character == "?")
            position += length
            continue
        if found is not None:
            return found
        repeated = False
        position += length
    return None


def _class_goes_on(pattern: str, position: int) -> tuple[bool, int]:
    if pattern.startswith("[:", position):
        end = pattern.find(":]", position + 2)
        if end >= 0:
            return True, end + 2 - position
    return pattern[position] != "]", 1


def _escape(pattern: str, position: int, in_class: bool) -> Construct | None:
    letter = pattern[position + 1 : position + 2]
    if letter in "123456789" and letter:
        # Three octal digits are a character, in both.
        if in_class or re.match(r"\\[0-3][0-7]{2}", pattern[position : position + 4]):
            return None
        return Construct("back-reference", position, _NO_MEMORY)
    known = _ESCAPES.get(letter)
    return None if known is None else Construct(known[0], position, known[1])


def _escape_length(pattern: str, position: int) -> int:
    braced = _BRACED.match(pattern, position)
    return 2 if braced is None else len(braced[0])


def _group(pattern: str, position: int) -> Construct | None:
    if not pattern.startswith("(?", position):
        return None
    for start, name, reason in _GROUPS:
        if pattern.startswith(start, position + 2):
            return Construct(name, position, reason)
    flags = _INLINE_FLAGS.match(pattern, position)
    for letter in flags[1] if flags else "":
        if letter in _FLAGS:
            return Construct(f"flag {letter!r}", position, _FLAGS[letter])
    return None


def _count(count: re.Match[str]) -> Construct | None:
    if any(int(number) > _LARGEST_COUNT for number in re.findall("[0-9]+", count[0])):
        reason = f"RE2 counts to {_LARGEST_COUNT}; use * or +, or a smaller count"
        return Construct("large count", count.start(), reason)
    return None
