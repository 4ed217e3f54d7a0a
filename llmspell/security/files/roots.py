"""The directories that a file sandbox is made of, and which of them a path belongs to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import NoReturn

from llmspell.errors import ConfigError, PathNotAllowed
from llmspell.security.files.path_validator import path_components, path_text
from llmspell.security.files.resolving import ON_THE_WAY

__all__ = ["Root", "locate", "open_roots"]

PathArgument = str | os.PathLike[str]


class Root:
    """A directory that is held open. Closed with its last use, not before."""

    __slots__ = ("descriptor", "is_writable", "name", "spellings")

    def __init__(self, path: PathArgument, *, is_writable: bool) -> None:
        self.descriptor = -1  # before anything may raise: __del__ looks at it
        text = path_text(path)
        if not os.path.isabs(text):
            raise ConfigError(f"the root {text!r} isn't an absolute path")
        named = path_components(text, text)
        self.name = "/" + "/".join(named)
        self.is_writable = is_writable
        # Links that lead to the root are the operator's, who names it, and are followed once.
        real = os.path.realpath(self.name)
        try:
            self.descriptor = os.open(real, ON_THE_WAY)
        except OSError as error:
            raise ConfigError(
                f"the root {self.name!r} can't be opened: {error.strerror}; make it first"
            ) from error
        self.spellings = (named, path_components(real))

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        if self.descriptor >= 0:
            close(self.descriptor)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        # A copy would have the same number, and close what the number stands for by then.
        raise TypeError(
            "a file sandbox holds directories open, and can't be copied or pickled; make another"
        )

    def below(self, parts: tuple[str, ...]) -> tuple[str, ...] | None:
        """What is left of the components of an absolute path below this; None where it isn't."""
        for spelling in self.spellings:
            if parts[: len(spelling)] == spelling:
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
        parts = path_components(text)
    else:
        parts = roots[0].spellings[1] + path_components(text, roots[0].name)
    found: tuple[Root, tuple[str, ...]] | None = None
    for root in roots:
        below = root.below(parts)
        if below is not None and (found is None or len(below) < len(found[1])):
            found = root, below
    if found is None:
        names = ", ".join(root.name for root in roots)
        raise PathNotAllowed(f"the path {text[:200]!r} is beneath none of the roots: {names}")
    return found
