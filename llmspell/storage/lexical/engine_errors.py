"""Named errors for those of the full-text engine."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from llmspell.errors import LlmspellError, StorageError, StorageFull

__all__ = ["engine_errors"]

#: The engine gives an error of the system as a text alone.
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def engine_errors(path: Path, doing: str) -> Iterator[None]:
    """Raise named errors for the engine's, which have no base of their own."""
    try:
        yield
    except LlmspellError:
        raise
    except Exception as error:
        if any(f"os error {number})" in str(error) for number in _FULL):
            raise StorageFull(f"{path}: the disk is full while {doing}") from error
        raise StorageError(f"{path}: {error} while {doing}") from error
