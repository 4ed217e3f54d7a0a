"""Named errors for those of the full-text engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmspell.errors import LlmspellError, StorageError, StorageFull

__all__ = ["engine_errors"]


@contextmanager
def engine_errors(path: Path, doing: str) -> Iterator[None]:
    """Raise named errors for the engine's, which have no base of their own."""
    try:
        yield
    except LlmspellError:
        raise
    except Exception as error:
        if "No space left" in str(error) or "os error 28" in str(error):
            raise StorageFull(f"{path}: the disk is full while {doing}") from error
        raise StorageError(f"{path}: {error} while {doing}") from error
