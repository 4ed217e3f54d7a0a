"""One LMDB environment: opened once a process, closed when no reader is inside."""

from __future__ import annotations

import os
import shutil
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import lmdb

from llmspell.errors import (
    ClosedError,
    CommitFailed,
    CorruptFile,
    DatabaseLocked,
    StorageError,
    StorageFull,
    UseAfterFork,
)
from llmspell.storage.ahead import grow_ahead, wanted_ahead
from llmspell.storage.errors import storage_errors
from llmspell.storage.files import make_directory, sync_directory, unfinished_directory
from llmspell.storage.healing import (
    DATA,
    has_reached_disk,
    is_marked,
    make_lmdb,
    mark,
    open_lmdb,
    reopen,
)
from llmspell.storage.permits import Permit, Permits
from llmspell.storage.readers import DeadReaders, describe_oldest
from llmspell.storage.transaction import Transaction

__all__ = ["DEFAULT_MAP_SIZE", "Environment"]

# Virtual and sparse: it costs address space, not memory or disk, and is never resized under load.
DEFAULT_MAP_SIZE: Final = 64 << 30

#: Seconds that putting an environment right waits for transactions under way, before each try.
READERS_END_SECONDS: Final = 5.0

_FORK_HINT: Final = (
    "open in the process that this one was forked from; start it by spawn, or open after the fork"
)


_T = TypeVar("_T")

# Reentrant: the collector may close a forgotten environment while this is held.
_LOCK = threading.RLock()
_OPEN: weakref.WeakValueDictionary[str, Environment] = weakref.WeakValueDictionary()
# What a forked child inherits it keeps and leaves alone: closing an environment there would clear
# the parent's slots in the table of readers, and pages under the parent's reads could be reused.
_INHERITED: dict[str, Environment] = {}


class Environment:
    """An LMDB environment and its named databases. Thread-safe.

    Commits are synchronous, the map is written through the file and never in place (WRITEMAP),
    and read transactions aren't bound to threads (NOTLS).

    After a commit that may have left disk and page cache apart it takes no transaction until it was
    closed, opened again and put right: see :mod:`llmspell.storage.healing`. The write that failed
    sees to that, and where it can't, whoever comes next; others wait meanwhile.
    """

    __slots__ = (
        "__weakref__",
        "_data",
        "_dead_readers",
        "_env",
        "_has_one_writer",
        "_key",
        "_least",
        "_map_size",
        "_permits",
        "_reads_only",
        "_reopening",
        "_size",
        "_state",
        "_verified",
        "_wanted",
        "databases",
        "end_bytes",
        "page_bytes",
        "path",
    )

    def __init__(
        self,
        path: Path,
        databases: Iterable[bytes],
        *,
        map_size: int,
        has_one_writer: bool = False,
        reads_first: bool = False,
    ) -> None:
        """Open an environment that :meth:`create` made.

        Args:
            has_one_writer: writers take turns outside of it, until :meth:`write` has returned: so
                it can tell what became of a write whose commit failed.
            reads_first: open it for reads, without waiting for the writer of another process; the
                first write opens it anew, and waits for that with all reads of this process unless
                writers take turns outside.

        Raises:
            CorruptFile: it isn't there, lacks a database, or LMDB refuses it.
            DatabaseLocked: this process has it open already.
            UseAfterFork: it was open when this process was forked.
        """
        self.path = path
        self._permits = Permits()
        self._dead_readers = DeadReaders()
        self._state: type[Exception] | None = None
        self._map_size = map_size
        self._has_one_writer = has_one_writer
        self._reads_only = reads_first and not is_marked(path)
        # Number of a transaction that is committed, and of the last one that the file was found to
        # have when it was opened again.
        self._least = 0
        self._verified = 0
        # Held while it is closed or opened again. Reentrant: the collector may close one then.
        self._reopening = threading.RLock()
        self._key = os.path.realpath(path)
        with _LOCK:
            if self._key in _INHERITED:
                raise UseAfterFork(f"{path}: {_FORK_HINT}")
            if self._key in _OPEN:
                raise DatabaseLocked(f"{path}: open in this process already; use that handle")
            _OPEN[self._key] = self
        try:
            if not (path / DATA).is_file():
                raise CorruptFile(f"{path}: {DATA} is missing")
            with storage_errors(path, "opening"):
                names = list(databases)
                # Who left it behind a failed commit may have been another process, and have died.
                if self._reads_only:
                    opened = open_lmdb(path, names, map_size=map_size, reads_only=True)
                else:
                    act = reopen if is_marked(path) else open_lmdb
                    opened = act(path, names, map_size=map_size)
        except BaseException:
            with _LOCK:
                del _OPEN[self._key]
            raise
        self._env: lmdb.Environment = opened.env
        self._data = os.fspath(path / DATA)
        #: Up to the end of the last page in use, as the last write of this process found it.
        self.end_bytes = 0
        self._size = 0
        self._wanted = 1  # by which it looks at the file's size before its first commit
        #: Bytes of a page.
        self.page_bytes: int = self._env.stat()["psize"]
        self.databases = opened.databases

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
        beside = unfinished_directory(path)
        with storage_errors(path, "creating"):
            shutil.rmtree(beside, ignore_errors=True)
            make_directory(beside)
            names = list(databases)
            # One fsync at the end is enough, where a crash before the rename leaves nothing.
            env = make_lmdb(beside, names, map_size=16 << 20)
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
        permit = self._permits.take() or self._admit()
        try:
            txn = self._env.begin(db=self.databases[database])
            try:
                return list(map(txn.get, keys))
            finally:
                txn.abort()
        except lmdb.PanicError:
            self._doubt()
        except lmdb.Error as error:
            if not self._found_dead_readers(error):
                with storage_errors(self.path, "reading"):
                    raise
        finally:
            self._permits.give_back(permit)
        # A commit failed just now, and nothing can begin before it is put right; or there is a
        # place again that a dead reader had.
        return self.get_many(database, keys)

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A read transaction: everything in it is seen at one moment."""
        begun = False
        while not begun:
            permit = self._permits.take() or self._admit()
            try:
                with storage_errors(self.path, "reading"), self._env.begin() as txn:
                    begun = True
                    yield cast(Transaction, txn)
            except StorageError as error:
                if begun:
                    raise
                if isinstance(error.__cause__, lmdb.PanicError):
                    self._doubt()
                elif not self._found_dead_readers(error.__cause__):
                    raise
            finally:
                self._permits.give_back(permit)

    def write(self, body: Callable[[Transaction], _T]) -> _T:
        """Run ``body`` in a write transaction: durable when this returns, undone where it raises.

        Use the transaction from one thread. Of several writers, in any process, the later ones
        wait. An exception from elsewhere, as KeyboardInterrupt, may come behind the commit; it
        leaves no transaction open, which a context manager of our own couldn't promise.

        Raises:
            CommitFailed: the disk failed; says whether the write is there all the same.
            StorageFull: the map or the disk is full; nothing was written.
        """
        if self._reads_only:
            self._open_for_writes()
        while True:
            permit = self._permits.take() or self._admit()
            number = 0
            was_committing = False
            is_doubtful = False
            try:
                with storage_errors(self.path, "writing"):
                    try:
                        self._dead_readers.clear(self._env)
                        with self._env.begin(write=True) as txn:
                            if self._state is CommitFailed:
                                raise lmdb.PanicError("a commit before it failed")
                            number = txn.id()
                            self._least = number - 1
                            self.end_bytes = self.page_bytes * (self._env.info()["last_pgno"] + 1)
                            result = body(cast(Transaction, txn))
                            self._grow_ahead()
                            was_committing = True
                    except BaseException as error:
                        is_doubtful = has_reached_disk(error, was_committing=was_committing)
                        if is_doubtful:
                            self._doubt()
                        if isinstance(error, lmdb.MapFullError):
                            self._env.reader_check()  # the next write may have more room
                        raise
                return result
            except StorageError as error:
                if not is_doubtful:
                    if isinstance(error.__cause__, lmdb.MapFullError):
                        raise StorageFull(f"{error}{describe_oldest(self._env)}") from error
                    raise
                failure = error
            finally:
                self._permits.give_back(permit)
            if number:
                raise self._outcome(number, failure) from failure
            # It didn't begin, behind the failure of another one: that is put right first.

    def copy_to(self, descriptor: int, txn: Transaction) -> None:
        """Write, without its free pages, what a read transaction shows, from its thread or another.

        Writes go on meanwhile.
        """
        with storage_errors(self.path, "copying"):
            self._env.copyfd(descriptor, compact=True, txn=cast(lmdb.Transaction, txn))

    def close(self) -> None:
        """Close when the last transaction has ended; new ones are refused from now on.

        Where an exception from elsewhere comes between, the next call goes on.
        """
        with _LOCK:
            if self._state is UseAfterFork:
                return
            self._state = ClosedError
        with self._reopening:
            self._close()

    def _grow_ahead(self) -> None:
        # The file never becomes shorter: what it had is enough where it leaves enough.
        if self._size - self.end_bytes < self._wanted:
            self._size = grow_ahead(self._data, self.end_bytes, self.page_bytes, self._map_size)
            self._wanted = wanted_ahead(self._size, self.page_bytes)

    def _close(self) -> None:
        self._permits.take_all_back()
        self._env.close()
        # Last: opened twice in a process, LMDB loses its locks.
        with _LOCK:
            if _OPEN.get(self._key) is self:
                del _OPEN[self._key]

    def __del__(self) -> None:
        if getattr(self, "_env", None) is not None:
            self.close()

    def _admit(self) -> Permit:
        """Make one more permit and take it: all others are in use, or the environment isn't."""
        while True:
            with _LOCK:
                if self._state is None:
                    return self._permits.add()
                if self._state is UseAfterFork:
                    raise UseAfterFork(f"{self.path}: {_FORK_HINT}")
                if self._state is ClosedError:
                    raise ClosedError(f"{self.path}: closed")
            self._reopen()

    def _found_dead_readers(self, error: BaseException | None) -> bool:
        """Whether all places of readers were taken, and dead ones had some of them."""
        return isinstance(error, lmdb.ReadersFullError) and self._env.reader_check() > 0

    def _doubt(self) -> None:
        """Take no transaction from now on until it was put right."""
        mark(self.path)
        with _LOCK:
            if self._state is None:
                self._state = CommitFailed

    def _reopen(self) -> None:
        """Close, open again and put right, where no other thread has done so meanwhile.

        Raises:
            StorageError: transactions under way don't end, or the disk fails still. The next
                transaction tries again.
            CorruptFile: the file isn't what it must be.
        """
        with self._reopening, storage_errors(self.path, "opening again behind a failed commit"):
            if self._state is not CommitFailed:
                return
            if not self._permits.take_all_back(READERS_END_SECONDS):
                raise StorageError(
                    f"{self.path}: a commit failed, and reads that began before it go on for more "
                    f"than {READERS_END_SECONDS:g} s (an export, or a page that is read slowly). "
                    "It is verified when they have ended; try again then"
                )
            self._env.close()
            found = reopen(
                self.path,
                list(self.databases),
                map_size=self._map_size,
                least=self._least,
            )
            with _LOCK:
                # Where it is closed meanwhile, who does so waits for this.
                self._env, self.databases, self._verified = found
                if self._state is CommitFailed:
                    self._permits.renew()
                    self._state = None

    def _open_for_writes(self) -> None:
        """Close and open anew what was open for reads; others wait meanwhile, for each other too.

        Raises:
            StorageError: that failed; the next transaction tries again, and verifies the file.
        """
        with self._reopening, storage_errors(self.path, "opening it for writes"):
            with _LOCK:
                if not self._reads_only or self._state is not None:
                    return
                # Whoever wants a transaction waits for what is held here.
                self._state = lmdb.ReadonlyError
            try:
                if not self._permits.take_all_back(READERS_END_SECONDS):
                    raise StorageError(
                        f"{self.path}: reads go on for more than {READERS_END_SECONDS:g} s, and "
                        "the first write waits for them; nothing was written"
                    )
                self._env.close()
                opened = open_lmdb(self.path, list(self.databases), map_size=self._map_size)
            except BaseException:
                with _LOCK:
                    self._reads_only = False
                    if self._state is lmdb.ReadonlyError:
                        self._state = CommitFailed
                raise
            with _LOCK:
                self._env, self.databases, _ = opened
                self._reads_only = False
                if self._state is lmdb.ReadonlyError:
                    self._permits.renew()
                    self._state = None

    def _outcome(self, number: int, failure: StorageError) -> StorageError:
        """Put it right, and say what became of transaction ``number``."""
        try:
            self._reopen()
        except StorageError as error:
            return CommitFailed(
                f"{failure}; whether the write is there isn't known before the file is verified, "
                f"which failed: {error}",
                is_durable=None,
            )
        if self._state is not None:
            return CommitFailed(
                f"{failure}; it was closed before the file was verified, so that whether the write "
                "is there isn't known",
                is_durable=None,
            )
        if self._verified < number:
            if isinstance(failure, (StorageFull, CorruptFile)):
                return failure
            return CommitFailed(f"{failure}; nothing was written", is_durable=False)
        if self._verified > number or not self._has_one_writer:
            return CommitFailed(
                f"{failure}; others may have written since: look whether the write is there",
                is_durable=None,
            )
        return CommitFailed(
            f"{failure}; the write is there, and durable all the same", is_durable=True
        )

    def _abandon(self) -> None:
        """Leave the environment to the parent process, of which this is a child."""
        self._state = UseAfterFork
        self._permits.renew()


def _abandon_all() -> None:
    global _LOCK
    _LOCK = threading.RLock()
    for environment in list(_OPEN.values()):
        environment._abandon()
        _INHERITED[environment._key] = environment
    _OPEN.clear()


os.register_at_fork(after_in_child=_abandon_all)
