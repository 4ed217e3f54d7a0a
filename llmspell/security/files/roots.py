"""The directories that a file sandbox is made of, and which of them a path belongs to."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from llmspell.errors import ConfigError, PathNotAllowed
from llmspell.security.files.directory import open_directory
from llmspell.security.files.path_validator import (
    check_windows_name,
    path_components,
    path_text,
)

__all__ = ["PathArgument", "Root", "absolute_path", "locate", "open_roots"]

PathArgument = str | os.PathLike[str]


class Root:
    """A directory that is held open. Let go of with its last use, not before."""

    __slots__ = ("directory", "is_writable", "name", "spellings")

    def __init__(self, path: PathArgument, *, is_writable: bool) -> None:
        text = path_text(path)
        if not os.path.isabs(text):
            raise ConfigError(f"the root {text!r} isn't an absolute path")
        named = absolute_components(text, text)
        self.name = absolute_path(named)
        self.is_writable = is_writable
        # Links that lead to the root are the operator's, who names it, and are followed once.
        real = os.path.realpath(self.name)
        try:
            self.directory = open_directory(real)
        except OSError as error:
            raise ConfigError(
                f"the root {self.name!r} can't be opened: {error.strerror}; make it first"
            ) from error
        self.spellings = (named, absolute_components(real))

    def below(self, parts: tuple[str, ...]) -> tuple[str, ...] | None:
        """What is left of the components of an absolute path below this; None where it isn't."""
        for spelling in self.spellings:
            if _as_compared(parts[: len(spelling)]) == _as_compared(spelling):
                return parts[len(spelling) :]
        return None


def open_roots(writable: Iterable[PathArgument], read_only: Iterable[PathArgument]) -> list[Root]:
    """The roots, opened, in the order given.

    Raises:
        ConfigError: there is none, one isn't a directory, or two disagree.
    """
    for paths in (writable, read_only):
        if isinstance(paths, str | os.PathLike):
            raise ConfigError("roots is one path; give several, or a tuple of one")
    roots = [
        *(Root(path, is_writable=True) for path in writable),
        *(Root(path, is_writable=False) for path in read_only),
    ]
    if not roots:
        raise ConfigError("a sandbox needs a root; give a directory that is there")
    for outer in roots:
        for inner in roots:
            within = outer.below(inner.spellings[1])
            if inner is outer or within is None:
                continue
            if not within:
                raise ConfigError(f"the root {inner.name!r} is given twice, or under two names")
            if outer.is_writable and not inner.is_writable:
                raise ConfigError(
                    f"the read-only root {inner.name!r} lies in the writable {outer.name!r},"
                    " through which it could be moved and written; give them apart"
                )
    return roots


def locate(roots: list[Root], path: PathArgument) -> tuple[Root, tuple[str, ...]]:
    """The innermost root that a path lies beneath, and its components below that.

    A relative path is one of the first root.

    Raises:
        InvalidPath: it is none.
        PathEscape: a component is ``..``.
        PathNotAllowed: it is beneath no root.
    """
    text = path_text(path)
    if os.path.isabs(text):
        parts = absolute_components(text)
    else:
        below_first = path_components(_with_slashes(text), roots[0].name)
        parts = roots[0].spellings[1] + below_first
    found: tuple[Root, tuple[str, ...]] | None = None
    for root in roots:
        below = root.below(parts)
        if below is not None and (found is None or len(below) < len(found[1])):
            found = root, below
    if found is None:
        names = ", ".join(root.name for root in roots)
        raise PathNotAllowed(f"the path {text[:200]!r} is beneath none of the roots: {names}")
    if sys.platform == "win32":
        for name in found[1]:
            check_windows_name(name)
    return found


def absolute_components(text: str, root: str = "") -> tuple[str, ...]:
    """The drive of an absolute path, which is empty but on Windows, and the components behind it.

    Raises:
        PathEscape: a component is ``..``.
    """
    drive, rest = os.path.splitdrive(text)
    return (drive, *path_components(_with_slashes(rest), root))


def absolute_path(parts: tuple[str, ...]) -> str:
    """The path of what :func:`absolute_components` gives."""
    return parts[0] + os.sep + os.sep.join(parts[1:])


def _with_slashes(text: str) -> str:
    return text.replace(os.sep, "/")


def _as_compared(parts: tuple[str, ...]) -> tuple[str, ...]:
    # Windows takes names for the same that differ in case.
    return tuple(map(os.path.normcase, parts))
