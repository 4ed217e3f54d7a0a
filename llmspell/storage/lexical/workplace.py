"""Where a process keeps its copy of a lexical index while the room is open."""

from __future__ import annotations

import shutil
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from llmspell.errors import StorageError
from llmspell.storage.errors import storage_errors
from llmspell.storage.files import FileLock

__all__ = ["Workplace"]

_PATTERN: Final = "lexical-*.work"
_LOCK: Final = "owner.lock"
_ATTEMPTS: Final = 3


class Workplace:
    """A directory in a room that belongs to one process, and goes with it.

    The kernel frees its lock with the process: whoever comes next removes what a dead one left.
    """

    __slots__ = ("_lock", "path")

    def __init__(self, room: Path) -> None:
        """Make one, and remove those of the dead.

        Raises:
            StorageError: it can't be made.
        """
        _sweep(room)
        for attempt in range(_ATTEMPTS):
            #: Where the engine's files lie.
            self.path = room / f"lexical-{uuid.uuid4().hex}.work" / "index"
            try:
                self._make()
            except StorageError:
                # Until it is locked, whoever sweeps takes it for one of the dead.
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                return

    def close(self) -> None:
        """Remove it; does nothing the second time."""
        shutil.rmtree(self.path.parent, ignore_errors=True)
        self._lock.release()

    def _make(self) -> None:
        with storage_errors(self.path, "making the directory"):
            self.path.parent.mkdir()
            self._lock = FileLock(self.path.parent / _LOCK, timeout=0.0, holder=str(self.path))
            try:
                self.path.mkdir()
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _sweep(room: Path) -> None:
    for path in room.glob(_PATTERN):
        with suppress(StorageError, OSError):
            if not (path / _LOCK).exists():
                path.rmdir()
                continue
            with FileLock(path / _LOCK, timeout=0.0, holder=str(path)):
                shutil.rmtree(path, ignore_errors=True)
