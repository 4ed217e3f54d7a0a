"""Rooms that are made beside the tenants' own, and what a process that died left of them."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from llmspell.errors import StorageError
from llmspell.storage.errors import storage_errors
from llmspell.storage.files import FileLock, make_directory, sync_directory

__all__ = ["STAGING", "StagedRoom", "remove_abandoned"]

_LOG = logging.getLogger("llmspell")

#: Where they are, in the data directory.
STAGING: Final = "staging"
_LOCK: Final = "staging.lock"
TIMEOUT: Final = 30.0


class StagedRoom:
    """A room to be, under a name of its own. For one thread; use it in ``with``.

    Its process holds a lock, so that others can tell it from one that was left by a process that
    died.
    """

    __slots__ = ("_directory", "_lock", "key", "path")

    def __init__(self, root: Path, key: bytes) -> None:
        """Make a directory for it.

        Args:
            root: the data directory.
            key: of the tenant to be.
        """
        self.key = key
        self._directory = root / STAGING / key.hex()
        #: Where to make it: an empty directory.
        self.path = self._directory / "room"
        with _area(root):
            make_directory(self._directory)
            self._lock = FileLock(self._directory / "lock", timeout=0.0, holder=key.hex())
        try:
            make_directory(self.path)
        except BaseException:
            self.remove()
            self._lock.release()
            raise

    def move(self, path: Path) -> None:
        """Give it its name, durably; what is in it is durable already."""
        with storage_errors(path, "moving a tenant's data"):
            make_directory(path.parent)
            self.path.rename(path)
            sync_directory(path.parent)

    def __enter__(self) -> StagedRoom:
        return self

    def __exit__(self, *exc: object) -> None:
        """Let others remove it, where :meth:`remove` was not called."""
        self._lock.release()

    def remove(self) -> None:
        """Remove what is left here."""
        shutil.rmtree(self._directory, ignore_errors=True)


def remove_abandoned(root: Path, erase: Callable[[bytes], None]) -> None:
    """Remove rooms whose makers died; one that can't be stays for the next time.

    Args:
        root: the data directory, in which there is a directory of staged rooms.
        erase: given its key, removes what such a room is beside this: it may have its name already
            without being listed.
    """
    if not any((root / STAGING).iterdir()):
        return
    with _area(root):
        for directory in (root / STAGING).iterdir():
            try:
                lock = FileLock(directory / "lock", timeout=0.0, holder=directory.name)
            except StorageError:
                continue  # its maker lives, or has just removed it
            with lock:
                try:
                    erase(bytes.fromhex(directory.name))
                except (StorageError, ValueError) as error:
                    _LOG.warning("%s: left by a process that died: %s", directory, error)
                    continue
                shutil.rmtree(directory, ignore_errors=True)


def _area(root: Path) -> FileLock:
    """Keeps others from taking a directory for one that was left, before it is locked."""
    make_directory(root)
    return FileLock(root / _LOCK, timeout=TIMEOUT, holder=str(root))
