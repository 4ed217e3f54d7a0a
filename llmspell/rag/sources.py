"""What there is in a source: files, documents, bytes, and what is passed over.

Nothing is passed over in silence: what can't be taken comes out as :class:`Skipped`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TypeAlias

from llmspell.errors import IngestError
from llmspell.tenancy.documents import Blob, Document, WebPage
from llmspell.tenancy.ports import IngestSource

__all__ = ["Item", "Pending", "Skipped", "find"]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A source that gives no document, and why; what of its name isn't Unicode is escaped."""

    source: str
    reason: str

    def __post_init__(self) -> None:
        # The source is printed, and a name that isn't UTF-8 can't be.
        printable = self.source.encode(errors="backslashreplace").decode()
        object.__setattr__(self, "source", printable)

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Pending:
    """A regular file that is to be read; ``id`` is its path as given, with forward slashes."""

    id: str
    path: Path


Item: TypeAlias = Document | Blob | WebPage | Pending | Skipped
"""What comes out of a source."""


def find(source: IngestSource) -> Iterable[Item]:
    """What there is in a source, in a fixed order; no file is opened.

    Folders are searched to the bottom, by name. Hidden entries, symbolic links, ``__pycache__``
    and what is not a regular file are skipped.

    Returns:
        A list, or a lazy iterator where ``source`` is an iterator itself.

    Raises:
        IngestError: a path that doesn't exist, or no source.
    """
    if isinstance(source, str | PathLike | Document | Blob | WebPage):
        return list(_find_one(source))
    if isinstance(source, bytes | bytearray | memoryview):
        raise IngestError("bytes need an id: give Blob(id, data)")
    if not isinstance(source, Iterable):
        raise _no_source(source)
    found = (item for one in source for item in _find_one(one))
    return list(found) if isinstance(source, Collection) else found


def _no_source(source: object) -> IngestError:
    return IngestError(
        "a source must be a path, a Document, a Blob, a WebPage or an iterable of these, got "
        f"{type(source).__name__}"
    )


def _find_one(source: str | PathLike[str] | Document | Blob | WebPage) -> Iterator[Item]:
    if isinstance(source, Document | Blob | WebPage):
        yield source
        return
    if not isinstance(source, str | PathLike):
        raise _no_source(source)
    path = Path(source)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise IngestError(f"{os.fspath(source)!r} can't be read: {error}") from error
    if stat.S_ISDIR(mode):
        yield from _walk(path)
    elif stat.S_ISREG(mode):
        yield Pending(path.as_posix(), path)
    else:
        yield Skipped(path.as_posix(), "not a regular file")


def _walk(folder: Path) -> Iterator[Pending | Skipped]:
    waiting: list[Path | Pending | Skipped] = [folder]  # the last one is next
    while waiting:
        item = waiting.pop()
        if isinstance(item, Path):
            waiting.extend(reversed(_entries(item)))
        else:
            yield item


def _entries(folder: Path) -> list[Path | Pending | Skipped]:
    """What stands in a folder, by name; a folder in it as its path."""
    try:
        with os.scandir(folder) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        return [Skipped(folder.as_posix(), error.strerror or str(error))]
    return [_entry(folder / entry.name, entry) for entry in entries]


def _entry(path: Path, entry: os.DirEntry[str]) -> Path | Pending | Skipped:
    if entry.name.startswith("."):
        return Skipped(path.as_posix(), "hidden")
    if entry.is_symlink():
        return Skipped(path.as_posix(), "symbolic link; give its target as a source of its own")
    if entry.name == "__pycache__":
        return Skipped(path.as_posix(), "compiled Python")
    if entry.is_dir(follow_symlinks=False):
        return path
    if entry.is_file(follow_symlinks=False):
        return Pending(path.as_posix(), path)
    return Skipped(path.as_posix(), "not a regular file")
