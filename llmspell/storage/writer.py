"""How the writes of one process reach a tenant's log: in turn, and several in one commit."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from llmspell.config import TenantConfig
from llmspell.errors import (
    ClosedError,
    DatabaseLocked,
    FlushFailed,
    LlmspellError,
    QuotaExceeded,
    StorageError,
    TenantSuspended,
)
from llmspell.index import check_rows
from llmspell.quota import Slot, told_after
from llmspell.storage.commits import Committer
from llmspell.storage.files import FileLock
from llmspell.storage.flusher import Flusher
from llmspell.storage.member import Member
from llmspell.storage.queue import WriteQueue
from llmspell.storage.store import TenantStore
from llmspell.storage.views import Views
from llmspell.storage.write import Applied, Write

__all__ = ["Writer"]

#: The longest lease there is: what waits stays reserved. That of a dead process ends with it.
HOLD_LEASE_S: Final = 86_400.0

#: An exception from elsewhere may keep who commits from giving the word to those who wait.
TURN_SECONDS: Final = 1.0


class Writer:
    """The writes of this process to one tenant. Thread-safe.

    Threads that write at once share a commit: one of them leads, and takes with it what the others
    have put into the queue. With "batch" and "async" upserts may wait there when their calls have
    returned. All are committed in the order of the queue, so that what a crash leaves is what a
    number of the first of them did.
    """

    __slots__ = (
        "__weakref__",
        "_commits",
        "_config",
        "_flusher",
        "_holder",
        "_inside",
        "_led_by",
        "_lock_path",
        "_lock_timeout",
        "_path",
        "_queue",
        "_slot",
        "_views",
        "lock",
    )

    def __init__(
        self,
        path: Path,
        config: TenantConfig,
        slot: Slot,
        store: TenantStore,
        views: Views,
        flusher: Flusher,
        *,
        lock_timeout: float,
    ) -> None:
        """Write to an open room; ``lock_timeout`` is what a write waits for another process."""
        self._path = path
        self._lock_path = path / "writer.lock"
        self._holder = f"tenant {config.id!r}"
        self._config = config
        self._slot = slot
        self._views = views
        self._flusher = flusher
        self._lock_timeout = lock_timeout
        #: Who has it, and the lock of the file, is the only writer.
        self.lock = threading.RLock()
        self._queue = WriteQueue(flusher, views.await_flush)
        self._led_by = 0
        self._inside = 0
        self._commits = Committer(config.id, slot, store, views, self._queue)
        views.flush_by(self.flush)

    @property
    def tenant(self) -> str:
        """Id of the tenant."""
        return self._config.id

    @property
    def has_written(self) -> bool:
        """Whether this process has changed anything."""
        return self._commits.has_written

    @property
    def is_closed(self) -> bool:
        """Whether closing has begun."""
        return self._queue.is_closed

    def write(self, write: Write) -> Applied:
        """Write a batch durably, behind all that waits.

        Raises:
            DatabaseLocked: another process writes for longer than the timeout.
            FlushFailed: what waits before it can't be committed; nothing of it was written.
            LlmspellError: see :meth:`TenantStore.apply`; nothing was written.
            BaseException: from elsewhere, as KeyboardInterrupt; the batch is written or not, and
                what was done of it is finished before the next operation.
        """
        self._require_outside()
        member = Member(self._checked(write))
        try:
            self._require_writable()
            self._queue.add(member)
            self._finish(member)
        finally:
            self._queue.withdraw(member)
        return member.outcome()

    def submit(self, write: Write) -> None:
        """Write an upsert as the policy says: durably, or so that it waits for a commit.

        Where that may take the tenant beyond a quota it is written at once, which tells.
        """
        # Of a first write nobody knows whether another process writes one of another dimension.
        if self._flusher.policy.durability == "sync" or not self._views.counters.dim:
            self.write(write)
            return
        if self._commits.failure is not None:
            self.flush()
        write = self._checked(write)
        # What the caller does with its array behind this call mustn't reach the index.
        waiting = write if write.vectors is None else write._replace(vectors=write.vectors.copy())
        member = self._held(waiting)
        if member is None:
            self.write(write)
            return
        try:
            self._require_writable()
            is_due = self._queue.acknowledge(member)
            if member.is_acknowledged:
                self._flusher.notice(self, at_once=is_due)
                return
            self._finish(member)
        finally:
            self._queue.withdraw(member)
        member.outcome()

    def write_as(self, plan: Callable[[], Write]) -> Applied:
        """Write what is decided while nobody else can write, behind all that waits."""
        self._require_outside()
        with self.alone():
            self._require_writable()
            self._commits.commit_waiting()
            self._views.refresh()
            member = Member(self._checked(plan()))
            self._commits.commit([member])
        return member.outcome()

    def flush(self) -> None:
        """Commit all that was acknowledged; raises FlushFailed where that fails, and keeps it."""
        # In a commit's own thread there is nothing that could be waited for.
        if self._queue.waiting and self._inside != threading.get_ident():
            self._flush(self._lock_timeout)

    def flush_now(self) -> None:
        """As :meth:`flush`; raises DatabaseLocked rather than wait for another process."""
        self._flush(0.0)

    @contextmanager
    def alone(self, timeout: float | None = None) -> Iterator[None]:
        """Keep all other writers out, in this process and in others; raises DatabaseLocked."""
        timeout = self._lock_timeout if timeout is None else timeout
        with told_after(), self.lock, self._file_lock(timeout), self._is_inside():
            yield

    def close(self, *, commit: bool) -> None:
        """Refuse writes from now on; the caller holds :attr:`lock`.

        Args:
            commit: first commit what waits; where that fails nothing is closed. Else it is dropped.

        Raises:
            FlushFailed: what waits can't be committed.
        """
        if commit and self._queue.waiting and not self.is_closed:
            try:
                with self.alone():
                    self._commits.commit_waiting()
            except FlushFailed:
                raise
            except StorageError as error:
                self._commits.failure = error
                raise self._commits.flush_failed() from error
            except ClosedError:
                # The tenant was dropped by another process, and what waits for it with it.
                pass
        self.give_up()

    def give_up(self) -> None:
        """Refuse writes from now on, and let go what waits, with what the ledger holds for it."""
        left = self._queue.close()
        for member in left:
            member.error = ClosedError("the tenant is closed")
        self._queue.finish(left)
        self._flusher.forget(self)

    def _checked(self, write: Write) -> Write:
        """Refuse what the index would: what is committed must fit into it at every opening."""
        if write.vectors is not None:
            check_rows(write.vectors, self._config.metric)
        return write

    def _require_writable(self) -> None:
        if self.is_closed:
            raise ClosedError("the tenant is closed")
        if self._slot.suspension != "none":
            raise TenantSuspended(f"tenant {self.tenant!r} is suspended for writes")

    def _require_outside(self) -> None:
        if self._inside == threading.get_ident():
            raise DatabaseLocked(
                f"tenant {self.tenant!r}: a write from within one of its commits; write "
                "when that has ended"
            )

    def _held(self, write: Write) -> Member | None:
        """A member with a place and with all that it may add reserved; None where there isn't."""
        if not self._flusher.enter():
            return None
        try:
            hold = self._slot.reserve(
                vectors=len(write.puts), storage=write.storage, lease=HOLD_LEASE_S
            )
        except QuotaExceeded:
            self._flusher.leave()
            return None
        except BaseException:
            self._flusher.leave()
            raise
        return Member(write, hold)

    def _flush(self, timeout: float) -> None:
        last = self._queue.last_acknowledged()
        if last is None:
            return
        self._finish(last, timeout)
        if not last.is_done:
            raise self._commits.flush_failed()
        if last.error is not None:
            # Its own for each thread that asks.
            raise copy.copy(last.error)

    def _finish(self, member: Member, timeout: float | None = None) -> None:
        """Wait until a member is done, or lead a commit that should do it."""
        this, queue = threading.get_ident(), self._queue
        with told_after():
            try:
                with queue.lock:
                    while self._led_by and not member.is_done:
                        if not queue.wait(TURN_SECONDS):
                            break
                    if member.is_done:
                        return
                    self._led_by = this
                with self.lock:
                    if not member.is_done:
                        self._lead(member, timeout)
            finally:
                with queue.lock:
                    if self._led_by == this:
                        self._led_by = 0
                        queue.wake()

    def _lead(self, member: Member, timeout: float | None) -> None:
        came_before = self._queue.members()
        try:
            file_lock = self._file_lock(self._lock_timeout if timeout is None else timeout)
        except LlmspellError as error:
            if isinstance(error, DatabaseLocked) and timeout == 0.0:
                raise
            # Those that came later may wait for as long themselves.
            self._commits.fail(came_before, error)
            return
        # First: an exception from elsewhere may come at any call, and be kept with this frame.
        with file_lock:
            outer, self._inside = self._inside, threading.get_ident()
            try:
                while not member.is_done and self._commits.commit_queue():
                    pass
            finally:
                self._inside = outer

    @contextmanager
    def _is_inside(self) -> Iterator[None]:
        """Know this thread as the one that may commit."""
        outer, self._inside = self._inside, threading.get_ident()
        try:
            yield
        finally:
            self._inside = outer

    def _file_lock(self, timeout: float) -> FileLock:
        try:
            lock = FileLock(self._lock_path, timeout=timeout, holder=self._holder)
        except StorageError:
            if not self._path.is_dir():
                raise ClosedError(f"{self._path}: the tenant was dropped") from None
            raise
        if lock.is_heir:
            # What it had reserved for a write would count until somebody else sweeps.
            try:
                self._slot.ledger.sweep()
            except BaseException:
                lock.release()
                raise
        return lock
