"""What a rule is: an opening, the rest, and a check of what was found."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from llmspell.errors import UnsafePattern
from llmspell.security.redaction.bounds import bounds

__all__ = ["CONTEXT", "Check", "Rule", "any_value"]

# Characters before a match that a check or a look-behind may look at.
CONTEXT = 64

Check = Callable[[re.Match[str], str], bool]
Repeats = Callable[[re.Match[str], re.Match[str]], bool]


def any_value(match: re.Match[str], value: str) -> bool:
    """Take whatever matched."""
    return True


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of secret and how it is found.

    ``opening`` is the short beginning that every match has, ``rest`` what follows it; the secret
    is the named group that matched, or all of the match. ``keywords`` are in lower case: a text
    that holds none of them holds no opening, in whatever case. ``settles`` is the number of
    characters after a match that could still make it another one. ``repeats`` says of a match and
    the last that the check ruled out before whether it is ruled out by the same: so that those that
    have an end in common take no time that grows with their number. Patterns match ASCII classes
    alone.

    Raises:
        UnsafePattern: the work of one attempt has no bound, or too large a one.
    """

    kind: str
    keywords: tuple[str, ...]
    opening: str
    rest: str = ""
    check: Check = any_value
    flags: int = 0
    settles: int = 24
    repeats: Repeats | None = None
    pattern: re.Pattern[str] = field(init=False)
    opens: re.Pattern[str] = field(init=False)
    width: int = field(init=False)
    opening_width: int = field(init=False)

    def __post_init__(self) -> None:
        flags = self.flags | re.ASCII
        whole = self.opening + self.rest
        # One more, for the character after the match that a check may look at.
        object.__setattr__(self, "width", bounds(whole, flags).width + 1)
        opening = bounds(self.opening, flags)
        if opening.least < 1:  # a border matches no text that is empty, and yet takes nothing
            raise UnsafePattern(f"the pattern of {self.kind} may match without taking a character")
        object.__setattr__(self, "opening_width", opening.width + 1)
        object.__setattr__(self, "pattern", re.compile(whole, flags))
        object.__setattr__(self, "opens", re.compile(self.opening, flags))

    def value(self, match: re.Match[str]) -> tuple[int, int] | None:
        """Start and end of the secret in a match, or None if the check rules it out."""
        # Named groups are values, and one of them takes part in a match.
        start, end = match.span(match.lastgroup or 0)
        return (start, end) if end > start and self.check(match, match.string[start:end]) else None

    def is_repeat(self, match: re.Match[str], refused: re.Match[str] | None) -> bool:
        """Whether what ruled out an earlier match of the same text rules this one out as well."""
        return refused is not None and self.repeats is not None and self.repeats(match, refused)

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Start and end of each secret of this kind, found from left to right."""
        position = 0
        refused: re.Match[str] | None = None
        while (match := self.pattern.search(text, position)) is not None:
            if self.is_repeat(match, refused):
                position = match.start() + 1
                continue
            found = self.value(match)
            if found is None:
                position, refused = match.start() + 1, match
            else:
                position = match.end()
                yield found
