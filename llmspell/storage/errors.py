"""LMDB's errors, and the file system's, as llmspell's own."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb

from llmspell.errors import CorruptFile, DatabaseLocked, StorageError, StorageFull

__all__ = ["storage_errors"]


@contextmanager
def storage_errors(path: Path, doing: str) -> Iterator[None]:
    """Raise named errors for what goes wrong while ``doing`` something with ``path``."""
    try:
        yield
    except lmdb.MapFullError as error:
        raise StorageFull(
            f"{path}: the map is full while {doing}; nothing was written. "
            "Delete data, or open the database with a larger map_size"
        ) from error
    except (lmdb.CorruptedError, lmdb.InvalidError, lmdb.PageNotFoundError) as error:
        raise CorruptFile(f"{path}: damaged, found while {doing}: {error}") from error
    except lmdb.ReadersFullError as error:
        raise DatabaseLocked(f"{path}: too many readers while {doing}: {error}") from error
    except lmdb.Error as error:
        # LMDB calls a write that the disk cut short an input/output error.
        was_cut_short = "Input/output error" in str(error) and _is_full(path)
        if was_cut_short or "No space left" in str(error):
            raise StorageFull(f"{path}: the disk is full while {doing}") from error
        raise StorageError(f"{path}: {error} while {doing}") from error
    except SystemError as error:
        # The binding of LMDB lets some of its errors out so.
        raise CorruptFile(f"{path}: damaged, found while {doing}: {error}") from error
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(f"{path}: the disk is full while {doing}") from error
        raise StorageError(f"{path}: {error} while {doing}") from error


def _is_full(path: Path) -> bool:
    """Whether the disk that a path lies on has no room left; False where that can't be told."""
    try:
        return os.statvfs(path).f_bavail == 0
    except OSError:
        return False
