"""A file that nobody vouches for: every read is checked against its size first."""

from __future__ import annotations

import os
import stat
import struct
import weakref
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from llmspell.errors import CorruptFile, StorageError

__all__ = ["Cursor", "File"]


class File:
    """Reads at stated places; closed when collected. Thread-safe.

    It reads and doesn't map: a mapped file that another process cuts short ends this one with
    SIGBUS, and pages that were read once stay counted as ours.

    Raises:
        StorageError: the file can't be opened, or is none.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        try:
            # Without O_NONBLOCK the open of a named pipe waits for its writer.
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (OSError, ValueError) as error:
            raise StorageError(f"can't open {self.path}: {error}") from error
        weakref.finalize(self, os.close, self._descriptor)
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise StorageError(f"{self.path} is not a file")
        self.size = status.st_size

    def read(self, offset: int, length: int, what: str) -> bytes:
        """Return ``length`` bytes.

        Raises:
            CorruptFile: they lie past the end; the message names ``what``.
            StorageError: the disk failed.
        """
        if offset + length > self.size:
            raise self.corrupt(
                f"{what} would end at byte {offset + length:,} of a file of {self.size:,}"
            )
        parts = []
        while length:
            try:
                part = os.pread(self._descriptor, min(length, 1 << 30), offset)
            except OSError as error:
                raise StorageError(f"can't read {self.path}: {error}") from error
            if not part:
                raise self.corrupt(f"it was cut short while {what} were read")
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def array(self, offset: int, dtype: DTypeLike, count: int, what: str) -> NDArray[Any]:
        """Return ``count`` elements; errors as for :meth:`read`."""
        kind = np.dtype(dtype)
        return np.frombuffer(self.read(offset, kind.itemsize * count, what), kind, count)

    def corrupt(self, problem: str) -> CorruptFile:
        """The error that says what doesn't hold."""
        return CorruptFile(f"{self.path} is damaged: {problem}")


class Cursor:
    """Reads a file from a place onwards, field by field."""

    def __init__(self, file: File, at: int = 0) -> None:
        self.file = file
        self.at = at

    def fields(self, layout: str, what: str) -> tuple[Any, ...]:
        """Read little-endian fields of the :mod:`struct` layout."""
        form = struct.Struct("<" + layout)
        content = self.file.read(self.at, form.size, what)
        self.at += form.size
        return form.unpack(content)

    def skip(self, length: int, what: str) -> int:
        """Pass over bytes that must be there; gives where they begin."""
        start = self.at
        if start + length > self.file.size:
            raise self.file.corrupt(
                f"{what} would end at byte {start + length:,} of a file of {self.file.size:,}"
            )
        self.at += length
        return start

    def end(self) -> None:
        """Require that nothing follows."""
        if self.at != self.file.size:
            raise self.file.corrupt(
                f"its parts end at byte {self.at:,}, the file at {self.file.size:,}"
            )
