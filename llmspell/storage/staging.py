"""Tenants in the making: rooms beside the others', keys, and what a process that died left."""

from __future__ import annotations

import logging
import shutil
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from llmspell.errors import StorageError
from llmspell.storage.errors import storage_errors
from llmspell.storage.files import FileLock, make_directory, sync_directory

__all__ = ["STAGING", "StagedKeys", "StagedRoom", "is_any_abandoned", "remove_abandoned"]

_LOG = logging.getLogger("llmspell")

#: Where they are, in the data directory.
STAGING: Final = "staging"
_LOCK: Final = "staging.lock"
_KEYS: Final = "keys"
_KEY_BYTES: Final = 16
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


class StagedKeys:
    """Keys of tenants to be that have no rooms yet, but slots of the ledger. Use it in ``with``.

    Made in a transaction of the catalog, so that nobody else makes tenants of the same keys. It is
    for a process that dies, and not synced: that it was there is of no use after a power cut.
    """

    __slots__ = ("_directory", "_lock")

    def __init__(self, root: Path, keys: Sequence[bytes]) -> None:
        """Note them in the data directory ``root``."""
        self._directory = root / STAGING / f"{_KEYS}-{uuid.uuid4().hex}"
        with storage_errors(self._directory, "making tenants"):
            with _area(root):
                self._directory.mkdir(parents=True)
                self._lock = FileLock(self._directory / "lock", timeout=0.0, holder=_KEYS)
            try:
                (self._directory / _KEYS).write_bytes(b"".join(keys))
            except BaseException:
                self.__exit__()
                raise

    def __enter__(self) -> StagedKeys:
        return self

    def __exit__(self, *exc: object) -> None:
        """Forget them: they are listed, or their slots are freed."""
        shutil.rmtree(self._directory, ignore_errors=True)
        self._lock.release()


def is_any_abandoned(root: Path) -> bool:
    """Whether there is anything for :func:`remove_abandoned`."""
    if not (root / STAGING).is_dir() or not any((root / STAGING).iterdir()):
        return False
    with _area(root):
        for directory in (root / STAGING).iterdir():
            try:
                FileLock(directory / "lock", timeout=0.0, holder=directory.name).release()
            except StorageError:
                continue  # its maker lives, or has just removed it
            return True
    return False


def remove_abandoned(
    root: Path, erase: Callable[[bytes], None], free: Callable[[Iterable[bytes]], None]
) -> None:
    """Remove what makers left that died; what can't be stays for the next time.

    Args:
        root: the data directory, in which there is a directory of what is staged.
        erase: given its key, removes what a room is beside this: it may have its name already
            without being listed.
        free: given keys, frees the slots of those that are not listed.
    """
    with _area(root):
        for directory in (root / STAGING).iterdir():
            try:
                lock = FileLock(directory / "lock", timeout=0.0, holder=directory.name)
            except StorageError:
                continue  # its maker lives, or has just removed it
            with lock:
                try:
                    if directory.name.startswith(_KEYS):
                        free(_keys_in(directory / _KEYS))
                    else:
                        erase(bytes.fromhex(directory.name))
                except (StorageError, ValueError) as error:
                    _LOG.warning("%s: left by a process that died: %s", directory, error)
                    continue
                shutil.rmtree(directory, ignore_errors=True)


def _keys_in(path: Path) -> list[bytes]:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return []
    return [raw[at : at + _KEY_BYTES] for at in range(0, len(raw), _KEY_BYTES)]


def _area(root: Path) -> FileLock:
    """Keeps others from taking a directory for one that was left, before it is locked."""
    return FileLock(root / _LOCK, timeout=TIMEOUT, holder=str(root))
