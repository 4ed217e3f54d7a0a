"""Databases by path: a directory is open once in a process, whatever number of stores use it."""

from __future__ import annotations

import os
import threading
import weakref

from llmspell.aio import AsyncDatabase
from llmspell.database import Database
from llmspell.errors import DatabaseLocked

__all__ = ["give_back", "take"]

_LOCK = threading.Lock()
_KNOWN: weakref.WeakValueDictionary[str, Database] = weakref.WeakValueDictionary()
_OPENED: dict[str, tuple[Database, int]] = {}  # here, and by how many stores they are used


def take(source: Database | AsyncDatabase | str | os.PathLike[str]) -> Database:
    """The database itself, or that at a path: known from a former call, or opened; thread-safe.

    Each call wants one of :func:`give_back`.

    Raises:
        DatabaseLocked: it was opened elsewhere in this process; give that database.
        StorageError: it can't be opened.
    """
    if isinstance(source, AsyncDatabase):
        source = source._database
    with _LOCK:
        if isinstance(source, Database):
            # Remembered, so that a store that is read from a file finds it by its path.
            _KNOWN[os.path.realpath(source.path)] = source
            return source
        key = os.path.realpath(source)
        if key in _OPENED:
            database, users = _OPENED[key]
            _OPENED[key] = database, users + 1
            return database
        known = _KNOWN.get(key)
        try:
            database = Database(source)
        except DatabaseLocked:
            if known is None:
                raise
            return known
        _OPENED[key] = database, 1
        return database


def give_back(database: Database) -> None:
    """Close a database that :func:`take` opened, with the last that uses it."""
    with _LOCK:
        key = os.path.realpath(database.path)
        opened, users = _OPENED.get(key, (None, 0))
        if opened is not database:
            return
        if users > 1:
            _OPENED[key] = database, users - 1
            return
        del _OPENED[key]
        database.close()
