"""One path beneath a root of a file sandbox: opening it, and naming what is wrong with it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from llmspell.errors import InvalidPath, PathEscape, PathNotAllowed
from llmspell.security.denials import Denials
from llmspell.security.files.directory import Directory
from llmspell.security.files.resolving import Resolver
from llmspell.security.files.roots import Root

__all__ = ["Place"]

# What systems answer where a component is a link. ENOTDIR may be a file in the path as well.
LINK_REFUSED: Final = {errno.ELOOP, errno.EMLINK, errno.ENOTDIR}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path leads: components below a root. Holds the root open."""

    root: Root
    parts: tuple[str, ...]
    given: str
    resolver: Resolver
    denials: Denials

    def open(self, flags: int, mode: int = 0) -> int:
        """A descriptor of it, whose kind isn't looked at."""
        return self.resolver.open(self.root.directory, self.parts, flags, mode)

    @contextmanager
    def directory(self) -> Iterator[Directory]:
        """The directory that it is."""
        found = self.resolver.directory(self.root.directory, self.parts)
        try:
            yield found
        finally:
            found.close()

    def above(self, length: int) -> Place:
        """The place that its first components lead to."""
        return replace(self, parts=self.parts[:length])

    @contextmanager
    def parent(self) -> Iterator[tuple[Directory, str]]:
        """The directory that holds it, and its name there."""
        with replace(self, parts=self.parts[:-1]).directory() as found:
            yield found, self.parts[-1] if self.parts else "."

    @contextmanager
    def named(self) -> Iterator[None]:
        """Turn what the kernel answers into errors that name the path as it was given."""
        try:
            yield
        except OSError as error:
            if error.errno is None:  # one of ours
                raise
            if error.errno in LINK_REFUSED:
                link = self._first_link()
                if link is not None or error.errno == errno.ELOOP:
                    raise self.escape(link) from None
            if error.errno == errno.ENAMETOOLONG:
                raise InvalidPath(f"the path {self.given[:200]!r}... is too long") from None
            raise OSError(error.errno, os.strerror(error.errno), self.given) from None

    def _first_link(self) -> str | None:
        """The first component that is a symbolic link now, for the error to say."""
        for length in range(1, len(self.parts) + 1):
            try:
                with self.above(length).parent() as (parent, name):
                    if parent.is_link(name):
                        return name
            except OSError:
                return None
        return None

    def escape(self, component: str | None) -> PathEscape:
        """The error, on record, for a link; None where a component was one for a moment."""
        what = (
            "a component was a symbolic link for a moment"
            if component is None
            else f"the component {component!r} is a symbolic link"
        )
        denial = PathEscape(
            f"beneath the root {self.root.name!r} {what}; links aren't followed",
            root=self.root.name,
            component=component,
        )
        return self.denials.noted(denial, self.given, root=self.root.name, component=component)

    def refused(self, reason: str) -> PathNotAllowed:
        """The error, on record, for what isn't allowed here; the reason follows the name."""
        name = self.parts[-1] if self.parts else "."
        denial = PathNotAllowed(
            f"{name!r} beneath the root {self.root.name!r} {reason}",
            root=self.root.name,
            component=name,
        )
        return self.denials.noted(denial, self.given, root=self.root.name, component=name)
