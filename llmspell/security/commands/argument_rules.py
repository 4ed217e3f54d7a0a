"""What one argument of a program may be."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from typing import Protocol

from llmspell.errors import ConfigError, SecurityError
from llmspell.security.files.file_sandbox import FileSandbox

__all__ = ["ArgumentRule", "Matching", "OneOf", "PathBeneath", "Text"]


class ArgumentRule(Protocol):
    """Looks at one argument, or at the value of an option."""

    def check(self, argument: str) -> str:
        """The argument as the program is to get it; ValueError with the reason where it mayn't."""
        ...


class Text:
    """Any text up to ``max_characters`` characters. For programs that only read it as text."""

    def __init__(self, max_characters: int = 4096) -> None:
        self._max_characters = max_characters

    def check(self, argument: str) -> str:
        """The argument as it is."""
        if len(argument) > self._max_characters:
            raise ValueError(f"has {len(argument)} characters, of {self._max_characters} allowed")
        return argument


class Matching:
    """Text that a regular expression of :mod:`re` matches as a whole; the expression is trusted."""

    def __init__(self, pattern: str, *, max_characters: int = 256) -> None:
        try:
            self._pattern = re.compile(pattern)
        except re.error as error:
            raise ConfigError(f"the pattern {pattern!r} can't be compiled: {error}") from error
        self._max_characters = max_characters

    def check(self, argument: str) -> str:
        """The argument as it is."""
        if len(argument) > self._max_characters:
            raise ValueError(f"has {len(argument)} characters, of {self._max_characters} allowed")
        if not self._pattern.fullmatch(argument):
            raise ValueError(f"doesn't match {self._pattern.pattern}")
        return argument


class OneOf:
    """One of some words."""

    def __init__(self, words: Iterable[str]) -> None:
        if isinstance(words, str):
            raise ConfigError("words is one str; give several, or a tuple of one")
        self._words = frozenset(words)

    def check(self, argument: str) -> str:
        """The argument as it is."""
        if argument not in self._words:
            raise ValueError(f"is none of {', '.join(sorted(self._words))}")
        return argument


class PathBeneath:
    """A file or directory beneath a sandbox's roots, which the program gets as an absolute path.

    So it is the same file in whatever directory the program runs, and never looks like a flag. No
    component may be a symbolic link, nor the file a FIFO or a device, when the command is
    validated; the program opens it later, and by its path: where others may change the directory
    meanwhile, run the program confined as well.

    Args:
        sandbox: whose roots; a path that is to be written must be beneath a writable one.
        must_exist: False lets through a file that is yet to be made, in a directory that is there.
        writes: whether the program writes it.
    """

    def __init__(
        self, sandbox: FileSandbox, *, must_exist: bool = True, writes: bool = False
    ) -> None:
        self._sandbox = sandbox
        self._must_exist = must_exist
        self._writes = writes

    def check(self, argument: str) -> str:
        """The absolute path."""
        try:
            return self._checked(argument)
        except (SecurityError, OSError) as error:
            raise ValueError(f"can't be used: {error}") from error

    def _checked(self, argument: str) -> str:
        absolute = self._sandbox.absolute(argument, writes=self._writes)
        try:
            found = self._sandbox.stat(absolute)
        except FileNotFoundError:
            if self._must_exist:
                raise
            found = self._sandbox.stat(os.path.dirname(absolute))
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            raise ValueError("is a FIFO, a device or a socket")
        return absolute
