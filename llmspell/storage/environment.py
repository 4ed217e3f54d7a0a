"""One LMDB environment: opened once a process, closed when no reader is inside."""

from __future__ import annotations

import os
import shutil
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol, Self, TypeVar, cast

import lmdb

from llmspell.errors import ClosedError, CorruptFile, DatabaseLocked, UseAfterFork
from llmspell.storage.errors import storage_errors
from llmspell.storage.files import make_directory, sync_directory

__all__ = ["DEFAULT_MAP_SIZE", "Cursor", "Environment", "Transaction"]

# Virtual and sparse: it costs address space, not memory or disk, and is never resized under load.
DEFAULT_MAP_SIZE: Final = 64 << 30

# LMDB's own default of 126 is shared by all threads of all processes.
MAX_READERS: Final = 1_024

# Read transactions kept for reuse: beginning one anew costs a lock, taking a spare 0.3 us.
MAX_SPARE_TXNS: Final = 16

CLOSE_POLL_SECONDS: Final = 0.001

_FORK_HINT: Final = (
    "open in the process that this one was forked from; start it by spawn, or open after the fork"
)


class Cursor(Protocol):
    """What we use of ``lmdb.Cursor``; values are always copied out of the map, as bytes."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...
    def first(self) -> bool: ...
    def last(self) -> bool: ...
    def next(self) -> bool: ...
    def prev(self) -> bool: ...
    def set_key(self, key: bytes) -> bool: ...
    def set_range(self, key: bytes) -> bool: ...
    def key(self) -> bytes: ...
    def value(self) -> bytes: ...
    def delete(self) -> bool: ...
    def iternext(self) -> Iterator[tuple[bytes, bytes]]: ...
    def putmulti(
        self, items: Iterable[tuple[bytes, bytes]], *, append: bool = False
    ) -> tuple[int, int]: ...


class Transaction(Protocol):
    """What we use of ``lmdb.Transaction``; values are always copied out of the map, as bytes."""

    def get(self, key: bytes, *, db: Any) -> bytes | None: ...
    def pop(self, key: bytes, *, db: Any) -> bytes | None: ...
    def put(self, key: bytes, value: bytes, *, db: Any) -> bool: ...
    def delete(self, key: bytes, *, db: Any) -> bool: ...
    def cursor(self, db: Any) -> Cursor: ...
    def stat(self, db: Any) -> dict[str, int]: ...


_T = TypeVar("_T")

# Reentrant: the collector may close a forgotten environment while this is held.
_LOCK = threading.RLock()
_OPEN: weakref.WeakValueDictionary[str, Environment] = weakref.WeakValueDictionary()
# What a forked child inherits it keeps and leaves alone: closing an environment there would clear
# the parent's slots in the table of readers, and pages under the parent's reads could be reused.
_INHERITED: dict[str, Environment] = {}


class _Permit:
    """Held by each transaction; one that an exception from elsewhere let fall counts no more."""

    __slots__ = ("__weakref__", "thread")

    def __init__(self) -> None:
        self.thread = threading.get_ident()


class Environment:
    """An LMDB environment and its named databases. Thread-safe.

    Commits are synchronous, the map is written through the file and never in place (WRITEMAP),
    and read transactions aren't bound to threads (NOTLS).
    """

    __slots__ = (
        "__weakref__",
        "_alive",
        "_env",
        "_key",
        "_permits",
        "_state",
        "databases",
        "path",
    )

    def __init__(self, path: Path, databases: Iterable[bytes], *, map_size: int) -> None:
        """Open an environment that :meth:`create` made.

        Raises:
            CorruptFile: it isn't there, lacks a database, or LMDB refuses it.
            DatabaseLocked: this process has it open already.
            UseAfterFork: it was open when this process was forked.
        """
        self.path = path
        self._permits: deque[_Permit] = deque()
        self._alive: weakref.WeakSet[_Permit] = weakref.WeakSet()
        self._state: type[Exception] | None = None
        self._key = os.path.realpath(path)
        with _LOCK:
            if self._key in _INHERITED:
                raise UseAfterFork(f"{path}: {_FORK_HINT}")
            if self._key in _OPEN:
                raise DatabaseLocked(f"{path}: open in this process already; use that handle")
            if not (path / "data.mdb").is_file():
                raise CorruptFile(f"{path}: data.mdb is missing")
            with storage_errors(path, "opening"):
                names = list(databases)
                env = _open(path, names, map_size=map_size)
                try:
                    _complete(path / "data.mdb", env)
                    self.databases = {name: env.open_db(name, create=False) for name in names}
                except lmdb.NotFoundError as error:
                    env.close()
                    raise CorruptFile(f"{path}: a database is missing: {error}") from error
                except BaseException:
                    env.close()
                    raise
            self._env: lmdb.Environment = env
            _OPEN[self._key] = self

    @staticmethod
    def create(
        path: Path,
        databases: Iterable[bytes],
        fill: Callable[[Transaction, dict[bytes, Any]], None],
    ) -> None:
        """Make an environment that is complete and durable before it has its name.

        Args:
            path: directory to be; what is there under this name is replaced.
            databases: names of its databases.
            fill: writes the first content.
        """
        beside = path.with_name(path.name + ".new")
        with storage_errors(path, "creating"):
            shutil.rmtree(beside, ignore_errors=True)
            make_directory(beside)
            names = list(databases)
            # One fsync at the end is enough, where a crash before the rename leaves nothing.
            env = _open(beside, names, map_size=16 << 20, is_sync=False)
            try:
                opened = {name: env.open_db(name) for name in names}
                with env.begin(write=True) as txn:
                    fill(cast(Transaction, txn), opened)
                env.sync(True)
            finally:
                env.close()
            sync_directory(beside)
            shutil.rmtree(path, ignore_errors=True)
            beside.rename(path)
            sync_directory(path.parent)

    def get_many(self, database: bytes, keys: Sequence[bytes]) -> list[bytes | None]:
        """Read the values of some keys at one moment; None where a key isn't there."""
        try:
            permit = self._permits.pop()
        except IndexError:
            permit = self._admit()
        permit.thread = threading.get_ident()
        try:
            txn = self._env.begin(db=self.databases[database])
            try:
                return list(map(txn.get, keys))
            finally:
                txn.abort()
        except lmdb.Error:
            with storage_errors(self.path, "reading"):
                raise
        finally:
            self._permits.append(permit)

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A read transaction: everything in it is seen at one moment."""
        try:
            permit = self._permits.pop()
        except IndexError:
            permit = self._admit()
        permit.thread = threading.get_ident()
        try:
            with storage_errors(self.path, "reading"), self._env.begin() as txn:
                yield cast(Transaction, txn)
        finally:
            self._permits.append(permit)

    def write(self, body: Callable[[Transaction], _T]) -> _T:
        """Run ``body`` in a write transaction: durable when this returns, undone where it raises.

        Use the transaction from one thread. Of several writers, in any process, the later ones
        wait. An exception from elsewhere, as KeyboardInterrupt, may come behind the commit; it
        leaves no transaction open, which a context manager of our own couldn't promise.
        """
        try:
            permit = self._permits.pop()
        except IndexError:
            permit = self._admit()
        permit.thread = threading.get_ident()
        try:
            with storage_errors(self.path, "writing"), self._env.begin(write=True) as txn:
                return body(cast(Transaction, txn))
        finally:
            self._permits.append(permit)

    def copy_to(self, descriptor: int, txn: Transaction) -> None:
        """Write, without its free pages, what a read transaction shows, from its thread or another.

        Writes go on meanwhile.
        """
        with storage_errors(self.path, "copying"):
            self._env.copyfd(descriptor, compact=True, txn=cast(lmdb.Transaction, txn))

    def stat_bytes(self) -> int:
        """Bytes that the data file takes on disk."""
        return (self.path / "data.mdb").stat().st_blocks * 512

    def close(self) -> None:
        """Close when the last transaction has ended; new ones are refused from now on.

        Where an exception from elsewhere comes between, the next call goes on.
        """
        with _LOCK:
            if self._state is UseAfterFork:
                return
            self._state = ClosedError
        # A transaction holds a permit; unmapping under one would crash the process. What this
        # thread still holds, it lost to an exception from elsewhere, whose traceback keeps it.
        # Looked at one by one: where the collector takes an environment with its permits, those are
        # gone already, and the set still counts them.
        this = threading.get_ident()
        while True:
            try:
                # A traceback may keep one alive that was given back.
                self._alive.discard(self._permits.pop())
            except IndexError:
                if all(permit.thread == this for permit in self._alive):
                    break
                time.sleep(CLOSE_POLL_SECONDS)
        self._env.close()
        # Last: opened twice in a process, LMDB loses its locks.
        with _LOCK:
            if _OPEN.get(self._key) is self:
                del _OPEN[self._key]

    def __del__(self) -> None:
        if getattr(self, "_env", None) is not None:
            self.close()

    def _admit(self) -> _Permit:
        """Make one more permit and take it: all others are in use."""
        with _LOCK:
            if self._state is not None:
                raise self._refusal()
            permit = _Permit()
            self._alive.add(permit)
            return permit

    def _refusal(self) -> Exception:
        if self._state is UseAfterFork:
            return UseAfterFork(f"{self.path}: {_FORK_HINT}")
        return ClosedError(f"{self.path}: closed")

    def _abandon(self) -> None:
        """Leave the environment to the parent process, of which this is a child."""
        self._state = UseAfterFork
        self._permits = deque()


def _open(
    path: Path, names: Sequence[bytes], *, map_size: int, is_sync: bool = True
) -> lmdb.Environment:
    env = lmdb.open(
        str(path),
        map_size=map_size,
        max_dbs=len(names),
        max_readers=MAX_READERS,
        max_spare_txns=MAX_SPARE_TXNS,
        create=True,
        readahead=False,
        sync=is_sync,
        metasync=is_sync,
        writemap=False,
        lock=True,
    )
    env.reader_check()
    return env


def _complete(path: Path, env: lmdb.Environment) -> None:
    """Let the file reach to the last page that LMDB counts: what is mapped behind its end kills.

    Free pages at the end may never have been written; so many zeros do for them. Of a file that was
    cut off they are pages that LMDB refuses.
    """
    end = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    size = path.stat().st_size
    if end > env.info()["map_size"]:
        raise CorruptFile(f"{path}: it counts {end} bytes, more than its map has")
    if size < end:
        with path.open("r+b") as file:
            # This never makes it shorter, whatever another process adds meanwhile.
            os.posix_fallocate(file.fileno(), size, end - size)


def _abandon_all() -> None:
    global _LOCK
    _LOCK = threading.RLock()
    for environment in list(_OPEN.values()):
        environment._abandon()
        _INHERITED[environment._key] = environment
    _OPEN.clear()


os.register_at_fork(after_in_child=_abandon_all)
