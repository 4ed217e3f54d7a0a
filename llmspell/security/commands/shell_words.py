"""A command line split into words, where a shell would take each word as it stands."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable
from typing import Final

from llmspell.errors import InvalidCommand

__all__ = ["MAX_BYTES", "require_size", "split_words"]

# shlex takes time quadratic in the length of a word.
MAX_BYTES: Final = 65536

# What POSIX's sh, or bash, reads as more than a character outside of quotes.
_UNQUOTED: Final = {
    ";": "';' begins another command",
    "|": "'|' pipes to another command",
    "&": "'&' begins another command",
    "<": "'<' redirects",
    ">": "'>' redirects",
    "`": "'`' runs a command",
    "(": "'(' begins a subshell",
    ")": "')' ends a subshell",
    "*": "'*' stands for names of files",
    "?": "'?' stands for names of files",
    "[": "'[' stands for names of files",
    "\n": "a line break begins another command",
}
# A dollar sign before anything else is one.
_EXPANSION: Final = re.compile(r"\$[A-Za-z0-9_{(\[@*#?$!-]")
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")
_RESERVED: Final = {
    *("!", "{", "}", "case", "do", "done", "elif", "else", "esac", "fi", "for", "function", "if"),
    *("in", "select", "then", "time", "until", "while"),
}
_BLANK: Final = " \t"
_QUOTE: Final = "quote it with '...' to have it as a character, or pass a list of words"


def split_words(line: str, *, max_bytes: int = MAX_BYTES) -> list[str]:
    """The words of a command line, as sh would pass them to the program.

    Args:
        line: at most ``max_bytes``, as the file system encodes it.
        max_bytes: splitting takes time that grows with its square.

    Raises:
        InvalidCommand: a shell would do more than split it, it has no words, or is too long; the
            message says what, and ``position`` where.
    """
    if not isinstance(line, str):
        raise InvalidCommand(f"a command line is a str, not {type(line).__name__}")
    require_size([line], max_bytes)
    _refuse_what_needs_a_shell(line)
    words = shlex.split(line, posix=True)
    if not words:
        raise InvalidCommand("the command line is empty; it begins with a program")
    first = line.split(maxsplit=1)[0]
    if first in _RESERVED:
        raise InvalidCommand(
            f"the command line begins with {first!r}, a word of the shell", position=0
        )
    if _ASSIGNMENT.match(first):
        raise InvalidCommand("the command line sets a variable, which needs a shell", position=0)
    return words


def require_size(words: Iterable[str], max_bytes: int) -> None:
    """Refuse words that no program can get, or that are too long together."""
    try:
        size = sum(len(os.fsencode(word)) + 1 for word in words)
    except UnicodeEncodeError:
        raise InvalidCommand("a word can't be encoded, so no program can get it") from None
    if size > max_bytes + 1:
        raise InvalidCommand(f"a command of {size - 1} bytes is longer than {max_bytes}")


def _refuse_what_needs_a_shell(line: str) -> None:
    quote = ""
    opened_at = 0
    braces: list[int] = []
    at = 0
    while at < len(line):
        mark = line[at]
        if mark == "\0":
            raise InvalidCommand("the command line holds a NUL character", position=at)
        if quote == "'":
            quote = "" if mark == "'" else quote
        elif mark == "\\":
            _refuse_escape(line, at, quoted=bool(quote))
            at += 1
        elif mark == "`" or (mark == "$" and _EXPANSION.match(line, at)):
            what = "runs a command" if mark == "`" else "expands a variable or a command"
            raise InvalidCommand(f"{mark!r} {what}, which needs a shell; {_QUOTE}", position=at)
        elif quote:
            quote = "" if mark == quote else quote
        elif mark in "'\"":
            quote, opened_at = mark, at
        else:
            _refuse_unquoted(line, at)
            _refuse_several_words(line, at, braces)
        at += 1
    if quote:
        raise InvalidCommand(f"the quote {quote} isn't closed", position=opened_at)


def _refuse_escape(line: str, at: int, *, quoted: bool) -> None:
    """Where a backslash means to a shell what it doesn't mean to shlex, or nothing."""
    following = line[at + 1 : at + 2]
    if following in {"", "\n"}:
        raise InvalidCommand("a backslash ends the line, and nothing follows", position=at)
    if following == "\0":
        raise InvalidCommand("the command line holds a NUL character", position=at + 1)
    if quoted and following in "$`":
        raise InvalidCommand(
            f"an escaped {following!r} in double quotes is read in two ways; use single quotes",
            position=at,
        )


def _refuse_unquoted(line: str, at: int) -> None:
    mark = line[at]
    begins_word = at == 0 or line[at - 1] in _BLANK
    if mark in _UNQUOTED:
        reason = _UNQUOTED[mark]
    elif mark == "~" and (begins_word or line[at - 1] in "=:"):
        reason = "'~' stands for a home directory"
    elif mark == "#" and begins_word:
        reason = "'#' begins a comment"
    elif mark == "$" and line[at + 1 : at + 2] in {"'", '"'}:
        reason = "'$' before a quote gives it another meaning"
    elif mark < " " and mark not in _BLANK:
        raise InvalidCommand(f"the control character U+{ord(mark):04X} isn't quoted", position=at)
    else:
        return
    raise InvalidCommand(f"{reason}, which needs a shell; {_QUOTE}", position=at)


def _refuse_several_words(line: str, at: int, braces: list[int]) -> None:
    """Where bash makes several words of one; ``braces`` are those open in the word so far."""
    mark = line[at]
    if mark in _BLANK:
        braces.clear()
    elif mark == "{":
        braces.append(at)
    elif mark == "}" and braces:
        braces.pop()
    elif braces and (mark == "," or line.startswith("..", at)):
        raise InvalidCommand(
            f"'{{' stands for several words, which needs a shell; {_QUOTE}", position=braces[-1]
        )
