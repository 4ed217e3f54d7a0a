"""LMDB's errors, and the file system's, as llmspell's own."""

from __future__ import annotations

import errno
import os
from contextlib import AbstractContextManager
from pathlib import Path

import lmdb

from llmspell._hot import Naming
from llmspell.errors import CorruptFile, DatabaseLocked, StorageError, StorageFull

__all__ = ["storage_errors"]


def storage_errors(path: Path, doing: str) -> AbstractContextManager[None]:
    """Raise named errors for what goes wrong while ``doing`` something with ``path``."""
    return Naming(_named, path, doing)  # every read and write is in one


def _named(error: Exception, path: Path, doing: str) -> StorageError | None:
    """The named error for one; None where it is none of LMDB or the file system."""
    if isinstance(error, lmdb.MapFullError):
        return StorageFull(
            f"{path}: the map is full while {doing}; nothing was written. "
            "Delete data, or open the database with a larger map_size"
        )
    if isinstance(error, (lmdb.CorruptedError, lmdb.InvalidError, lmdb.PageNotFoundError)):
        return CorruptFile(f"{path}: damaged, found while {doing}: {error}")
    if isinstance(error, lmdb.ReadersFullError):
        return DatabaseLocked(f"{path}: too many readers while {doing}: {error}")
    if isinstance(error, lmdb.Error):
        # LMDB calls a write that the disk cut short an input/output error.
        was_cut_short = "Input/output error" in str(error) and _is_full(path)
        if was_cut_short or "No space left" in str(error):
            return StorageFull(f"{path}: the disk is full while {doing}")
        return StorageError(f"{path}: {error} while {doing}")
    if isinstance(error, SystemError):
        # The binding of LMDB lets some of its errors out so.
        return CorruptFile(f"{path}: damaged, found while {doing}: {error}")
    if isinstance(error, OSError) and not isinstance(error, StorageError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StorageFull(f"{path}: the disk is full while {doing}")
        return StorageError(f"{path}: {error} while {doing}")
    return None


def _is_full(path: Path) -> bool:
    """Whether the disk that a path lies on has no room left; False where that can't be told."""
    try:
        return os.statvfs(path).f_bavail == 0
    except OSError:
        return False
