"""Where an export or a snapshot goes to and comes from: a path, or a binary file that is open."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from llmspell.errors import InputError
from llmspell.storage.errors import storage_errors
from llmspell.storage.export_file import BinaryReader
from llmspell.storage.files import sync_directory

__all__ = ["ExportSource", "as_path", "export_source", "export_target"]


class ExportSource(NamedTuple):
    """A file to read.

    Args:
        rewind: goes back to where it stood; None where the file can't.
    """

    file: BinaryReader
    name: str
    rewind: Callable[[], object] | None


@contextmanager
def export_target(
    file: str | os.PathLike[str] | BinaryIO, doing: str = "exporting"
) -> Iterator[Callable[[bytes], None]]:
    """Give what writes bytes to a file; a path has all of them, durably, or is as it was.

    Args:
        file: a path, or a binary file that is written from where it stands.
        doing: what errors say.

    Raises:
        InputError: neither a path nor a binary file, or a path of what isn't a plain file.
        StorageError: the file can't be written.
    """
    path = _as_path(file)
    if path is None:
        _require("write", file)
        yield _writer(file, _name(file), doing)
        return
    # Neither a link nor a device, as /dev/stdout and /dev/null, gives way to a file.
    if path.is_symlink():
        path = path.resolve()
    if path.exists() and not path.is_file():
        raise InputError(
            f"{path} is not a plain file; give another path, or open it and give the binary file"
        )
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    with storage_errors(path, doing):
        opened = unfinished.open("xb", buffering=0)
    try:
        with opened:
            yield _writer(opened, path, doing)
            with storage_errors(path, doing):
                os.fsync(opened.fileno())
        with storage_errors(path, doing):
            unfinished.replace(path)
            sync_directory(path.parent)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink()
        raise


@contextmanager
def export_source(
    file: str | os.PathLike[str] | BinaryIO, doing: str = "importing"
) -> Iterator[ExportSource]:
    """Give a file to read, from where it stands; as :func:`export_target`."""
    path = _as_path(file)
    if path is None:
        _require("read", file)
        reader = _Reader(file, _name(file), doing)  # type: ignore[arg-type]
        yield ExportSource(reader, str(reader.path), reader.rewinder())
        return
    with storage_errors(path, doing):
        opened = path.open("rb")
    with opened:
        reader = _Reader(opened, path, doing)
        yield ExportSource(reader, str(path), reader.rewinder())


class _Reader:
    """Reads, and names the file in errors."""

    def __init__(self, file: BinaryIO, path: Path, doing: str) -> None:
        self._file = file
        self._doing = doing
        self.path = path

    def read(self, size: int, /) -> bytes:
        with storage_errors(self.path, self._doing):
            part: Any = self._file.read(size)
        if not isinstance(part, bytes):
            raise InputError(f"{self.path}: a binary file was expected, it read {type(part)}")
        return part

    def rewinder(self) -> Callable[[], object] | None:
        seekable = getattr(self._file, "seekable", None)
        if seekable is None or not seekable():
            return None
        start = self._file.tell()
        return lambda: self._file.seek(start)


def _writer(file: Any, path: Path, doing: str) -> Callable[[bytes], None]:
    def write(raw: bytes) -> None:
        rest = memoryview(raw)
        with storage_errors(path, doing):
            while rest:
                taken = file.write(rest)
                # A raw file may take a part; one that says nothing took all.
                rest = rest[len(rest) if taken is None else taken :]

    return write


def as_path(path: object) -> Path:
    """A path that a caller gave.

    Raises:
        InputError: it isn't a path, or is one that no file system takes.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(f"a path was expected, got {type(path).__name__}")
    text = os.fspath(path)
    if not isinstance(text, str):
        raise InputError(f"a path must be a str or a Path, got {type(text).__name__}")
    if "\0" in text:
        raise InputError(f"a path must not hold NUL, got {text!r}")
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        raise InputError(f"a path must be valid Unicode: {error}") from None
    return Path(text)


def _as_path(file: object) -> Path | None:
    return as_path(file) if isinstance(file, (str, os.PathLike)) else None


def _require(method: str, file: object) -> None:
    if not callable(getattr(file, method, None)):
        raise InputError(
            f"a path or an open binary file was expected, got {type(file).__name__}, "
            f"which has no {method}()"
        )
    if hasattr(file, "encoding"):
        raise InputError(
            f"a binary file was expected, got a {type(file).__name__} of text; open it in a mode "
            "with b"
        )


def _name(file: object) -> Path:
    name = getattr(file, "name", None)
    return Path(name if isinstance(name, str) else type(file).__name__)
