"""What there is in a source: files, documents, bytes, and what is passed over.

Nothing is passed over in silence: what can't be taken comes out as :class:`Skipped`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Final, TypeAlias

from llmspell.errors import IngestError, InputError, InvalidId
from llmspell.tenancy.documents import Blob, Document, WebPage
from llmspell.tenancy.ports import IngestSource

__all__ = ["Found", "Item", "Pending", "Skipped", "find", "name_of"]


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


Source: TypeAlias = str | PathLike[str] | Document | Blob | WebPage

#: Characters of a path in a message: what was meant as a text has any number.
_SHOWN: Final = 200

_NONE: Final = type(None)
_TYPES: Final[Mapping[type, Mapping[str, tuple[type, ...]]]] = {
    Document: {
        **{"id": (str,), "text": (str,), "metadata": (Mapping,)},
        **{"media_type": (str,), "source": (str, _NONE)},
    },
    Blob: {
        **{"id": (str,), "data": (bytes, bytearray), "metadata": (Mapping,)},
        **{"media_type": (str, _NONE), "name": (str, _NONE), "source": (str, _NONE)},
    },
    WebPage: {"url": (str,), "id": (str, _NONE), "metadata": (Mapping,)},
}


class Found:
    """What there is in a source, in a fixed order; found as it is asked for, again each time.

    Args:
        sources: of the caller, each checked where they aren't an iterator.
        is_one: they are one file or document, which the caller named.
    """

    def __init__(self, sources: Iterable[Source], *, is_one: bool = False) -> None:
        self._sources = sources
        self.is_one = is_one

    def __iter__(self) -> Iterator[Item]:
        for source in self._sources:
            yield from _find_one(source)

    def count(self) -> int | None:
        """How much there is, by a look through all folders; None of an iterator."""
        return sum(1 for _ in self) if isinstance(self._sources, Collection) else None


def find(source: IngestSource) -> Found:
    """What there is in a source, in a fixed order; no file is opened.

    Folders are searched to the bottom, by name. Hidden entries, symbolic links, ``__pycache__``
    and what is not a regular file are skipped.

    Raises:
        IngestError: a path that doesn't exist, or no source.
    """
    if isinstance(source, str | PathLike | Document | Blob | WebPage):
        sources: Iterable[Source] = [source]
    elif isinstance(source, bytes | bytearray | memoryview):
        raise IngestError("bytes need an id: give Blob(id, data)")
    elif isinstance(source, Collection):
        sources = list(source)
    elif isinstance(source, Iterable):
        return Found(source)
    else:
        raise _no_source(source)
    are_folders = [
        not isinstance(one, Document | Blob | WebPage) and stat.S_ISDIR(_mode(one))
        for one in sources
    ]
    return Found(sources, is_one=are_folders == [False])


def name_of(item: Item) -> str:
    """Id of an item."""
    if isinstance(item, Skipped):
        return item.source
    return (item.id or item.url) if isinstance(item, WebPage) else item.id


def _no_source(source: object) -> IngestError:
    return IngestError(
        "a source must be a path, a Document, a Blob, a WebPage or an iterable of these, got "
        f"{type(source).__name__}"
    )


def _mode(source: object) -> int:
    """What kind of file a path leads to; raises IngestError."""
    if not isinstance(source, str | PathLike):
        raise _no_source(source)
    try:
        return Path(source).stat().st_mode
    except (OSError, ValueError) as error:
        given = repr(os.fspath(source))
        shown = given if len(given) <= _SHOWN else f"{given[:_SHOWN]}…"
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        what = ""
        if isinstance(source, str):
            is_url = source.startswith(("http://", "https://"))
            what = "WebPage(url) for a page" if is_url else "Document(id, text) for a text"
            what = f"; give {what}"
        raise IngestError(f"{shown} can't be read: {why}{what}") from error


def _find_one(source: Source) -> Iterator[Item]:
    if isinstance(source, Document | Blob | WebPage):
        _check(source)
        yield source
        return
    mode = _mode(source)
    path = Path(source)
    if stat.S_ISDIR(mode):
        yield from _walk(path)
    elif stat.S_ISREG(mode):
        yield Pending(path.as_posix(), path)
    else:
        yield Skipped(path.as_posix(), "not a regular file")


def _check(source: Document | Blob | WebPage) -> None:
    """Raises InputError for a value of another type than its name has."""
    of = next(kind for kind in _TYPES if isinstance(source, kind))
    for name, types in _TYPES[of].items():
        value: object = getattr(source, name)
        if not isinstance(value, types):
            wanted = " or ".join(one.__name__ for one in types if one is not _NONE)
            error = InvalidId if name == "id" else InputError
            raise error(f"{name} of a {of.__name__} must be {wanted}, got {type(value).__name__}")


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
