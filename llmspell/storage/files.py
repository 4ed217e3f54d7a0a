"""Directories that survive power loss, and a lock that a killed process can't keep."""

from __future__ import annotations

import fcntl
import io
import os
import shutil
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from llmspell.errors import DatabaseLocked
from llmspell.storage.errors import storage_errors

__all__ = [
    "FileLock",
    "disk_bytes",
    "erase_directory",
    "make_directory",
    "sync_directory",
    "unfinished_directory",
    "write_all",
]

RETRY_SECONDS: Final = 0.01


def sync_directory(path: Path) -> None:
    """Make the entries of a directory durable: a rename or a new file in it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Make a directory and its parents, each durable in the one above it.

    What is there already may have been made by a process that was killed before it synced that.
    Since everyone syncs a directory before making the next in it, that is the deepest one alone.

    Raises:
        StorageError: one can't be made, or made durable.
    """
    missing = []
    with storage_errors(path, "making the directory"):
        while not path.is_dir():
            missing.append(path)
            path = path.parent
        # One in a directory that we mayn't read is none that a process like this one made.
        with suppress(PermissionError):
            sync_directory(path.parent)
        for directory in reversed(missing):
            directory.mkdir(exist_ok=True)
            sync_directory(directory.parent)


def unfinished_directory(path: Path) -> Path:
    """Where a directory is made that has its name once it is complete."""
    return path.with_name(path.name + ".new")


def erase_directory(path: Path) -> None:
    """Remove a directory with all that is in it, durably, where it is there.

    What was to become one, and was cut short, goes too.

    Raises:
        StorageError: that it went can't be made durable.
    """
    shutil.rmtree(path, ignore_errors=True)
    shutil.rmtree(unfinished_directory(path), ignore_errors=True)
    # A note that there is something to remove may go behind this.
    with storage_errors(path, "removing"), suppress(FileNotFoundError):
        sync_directory(path.parent)


def write_all(descriptor: int, raw: bytes) -> None:
    """Write all of some bytes, of which the system may take a part at a time."""
    rest = memoryview(raw)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def disk_bytes(path: Path) -> int:
    """Bytes that the files beneath a directory take on disk; 0 where there is none."""
    total = 0
    for file in path.rglob("*"):
        with suppress(FileNotFoundError):
            # LMDB's map is a sparse file of a far larger size.
            total += file.stat().st_blocks * 512
    return total


class FileLock:
    """An exclusive lock on a file, held by this process until released or dead.

    It is flock's: the kernel drops it with the process, and another handle of the same process
    is refused like a stranger. A child made by fork gives up its copy, so that it can't keep the
    lock alive after the parent.

    Attributes:
        is_heir: whether the last other holder is dead, and may have left something half done.
    """

    __slots__ = ("__weakref__", "_file", "is_heir", "path")

    def __init__(self, path: Path, *, timeout: float, holder: str) -> None:
        """Take the lock.

        Args:
            path: made where missing; its content is the holder's process id, for people.
            timeout: seconds to wait for another holder.
            holder: what is locked, for the error.

        Raises:
            DatabaseLocked: another holder kept it for longer than ``timeout``.
        """
        self.path = path
        deadline = time.monotonic() + timeout
        with storage_errors(path, "locking"):
            # Unlike a number, it closes itself where an exception from elsewhere lets it fall.
            self._file = io.FileIO(path, "a+")
            # A child that is forked from here on gives up its copy.
            _HELD.add(self)
            try:
                descriptor = self._file.fileno()
                while not _try_lock(descriptor):
                    if time.monotonic() >= deadline:
                        raise DatabaseLocked(
                            f"{holder} is written by process {_holder(descriptor)}; "
                            f"waited {timeout:g} s. Close it there, or wait longer (lock_timeout)"
                        )
                    time.sleep(RETRY_SECONDS)
                last, this = _holder(descriptor), str(os.getpid())
                self.is_heir = last != this and _is_dead(last)
                # Each durable write takes the lock, and to make a file shorter is a write to disk
                # on ext4 (0.14 ms with its closing, beside 0.17 ms for an fsync).
                if last != this:
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, this.encode(), 0)
            except BaseException:
                self.release()
                raise

    def release(self) -> None:
        """Give the lock up; does nothing where it is given up already.

        Where an exception from elsewhere comes between, it goes with the object at the latest.
        """
        if not self._file.closed:
            try:
                # Closing alone would leave it locked while a child just forked still has its copy.
                fcntl.flock(self._file, fcntl.LOCK_UN)
            finally:
                self._file.close()
        _HELD.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()

    def _leave_to_parent(self) -> None:
        """Close the copy that a forked child got; unlocking it would unlock the parent's."""
        self._file.close()

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self.release()


_HELD: weakref.WeakSet[FileLock] = weakref.WeakSet()


def _release_in_child() -> None:
    for lock in list(_HELD):
        lock._leave_to_parent()
    _HELD.clear()


os.register_at_fork(after_in_child=_release_in_child)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_dead(holder: str) -> bool:
    if not holder.isdecimal():
        return False
    try:
        os.kill(int(holder), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _holder(descriptor: int) -> str:
    return os.pread(descriptor, 20, 0).decode(errors="replace") or "unknown"
