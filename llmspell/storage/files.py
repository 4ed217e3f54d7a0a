"""Directories that survive power loss, and a lock that a killed process can't keep."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from llmspell._hot import LockFile, leave_lock_files
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

    __slots__ = ("_file", "is_heir", "path")

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
        with storage_errors(path, "locking"):
            self._file = LockFile(path)
            try:
                last = self._file.lock()
                if last is None:
                    last = self._wait(timeout, holder)
                this = b"%d" % os.getpid()
                self.is_heir = last != this and _is_dead(last.decode(errors="replace"))
                # Each durable write takes the lock, and to make a file shorter is a write to disk
                # on ext4 (0.14 ms with its closing, beside 0.17 ms for an fsync).
                if last != this:
                    self._file.sign(this)
            except BaseException:
                self.release()
                raise

    def release(self) -> None:
        """Give the lock up; does nothing where it is given up already.

        Where an exception from elsewhere comes before, it goes with the object at the latest.
        """
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def _wait(self, timeout: float, holder: str) -> bytes:
        """Wait for another holder; gives what the file says of the last one."""
        deadline = time.monotonic() + timeout
        while (last := self._file.lock()) is None:
            if time.monotonic() >= deadline:
                by = self._file.holder().decode(errors="replace") or "unknown"
                raise DatabaseLocked(
                    f"{holder} is written by process {by}; "
                    f"waited {timeout:g} s. Close it there, or wait longer (lock_timeout)"
                )
            time.sleep(RETRY_SECONDS)
        return last


os.register_at_fork(after_in_child=leave_lock_files)


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
