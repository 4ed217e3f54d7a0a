"""A file that one process at a time has locked: by flock(2), or by the locks of Windows."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["LockFile", "leave_lock_files", "locked"]

_PAUSE: Final = 0.005

if sys.platform == "win32":
    import msvcrt

    # Behind all that is ever in the file: what is locked nobody else can read.
    _PLACE: Final = 1 << 30
    _HOLDER_BYTES: Final = 20

    class LockFile:
        """What :class:`llmspell._hot.LockFile` is on other systems."""

        def __init__(self, path: str | os.PathLike[str]) -> None:
            self._descriptor = -1
            self._is_locked = False
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOINHERIT | os.O_BINARY)

        def lock(self) -> bytes | None:
            """Lock it: what it says of its last holder; None where another one has it."""
            os.lseek(self._descriptor, _PLACE, os.SEEK_SET)
            try:
                msvcrt.locking(self._descriptor, msvcrt.LK_NBLCK, 1)
            except PermissionError:
                return None
            self._is_locked = True
            return self.holder()

        def holder(self) -> bytes:
            """The first bytes of it, which say who locked it last."""
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            return os.read(self._descriptor, _HOLDER_BYTES)

        def sign(self, holder: bytes) -> None:
            """Say in it who has locked it, in place of all that it said."""
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, holder)

        def close(self) -> None:
            """Unlock and close it; does nothing the second time."""
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor < 0:
                return
            try:
                if self._is_locked:
                    os.lseek(descriptor, _PLACE, os.SEEK_SET)
                    msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
            finally:
                os.close(descriptor)

        def __del__(self) -> None:
            self.close()

    def leave_lock_files() -> None:
        """For a forked child, of which there is none here."""

    @contextmanager
    def locked(path: str | os.PathLike[str]) -> Iterator[None]:
        """Alone among the threads and processes that lock that file; made where missing."""
        file = LockFile(path)
        try:
            while file.lock() is None:
                time.sleep(_PAUSE)
            yield
        finally:
            file.close()

else:
    import fcntl

    from llmspell._hot import LockFile, leave_lock_files

    @contextmanager
    def locked(path: str | os.PathLike[str]) -> Iterator[None]:
        """Alone among the threads and processes that lock that file; made where missing."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            # Not by closing alone: a child that was forked meanwhile has it open too.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)
