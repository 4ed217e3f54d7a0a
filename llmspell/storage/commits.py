"""Commits of a tenant's queue, and what becomes of it where they fail."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from llmspell.errors import (
    ClosedError,
    DatabaseLocked,
    FlushFailed,
    LlmspellError,
    StorageFull,
)
from llmspell.quota import Slot
from llmspell.storage.member import Member
from llmspell.storage.queue import WriteQueue
from llmspell.storage.store import TenantStore
from llmspell.storage.views import Views

__all__ = ["Committer"]

#: Expired records that a commit removes besides; more of them wait for the next one.
PURGED_AT_ONCE: Final = 10_000


class Committer:
    """Takes writes from the queue into log and views. For who holds the lock of writers.

    Where one of several is refused, the others are committed nevertheless. But nothing overtakes
    an acknowledged write: where one can't be committed it stays in the queue, with the acknowledged
    ones behind it, and everything else behind it is refused.
    """

    __slots__ = ("_queue", "_slot", "_store", "_tenant", "_views", "failure", "has_written")

    def __init__(
        self, tenant: str, slot: Slot, store: TenantStore, views: Views, queue: WriteQueue
    ) -> None:
        self._tenant = tenant
        self._slot = slot
        self._store = store
        self._views = views
        self._queue = queue
        #: Why acknowledged writes could not be committed; None where they could.
        self.failure: Exception | None = None
        #: Whether this process has changed anything.
        self.has_written = False

    def commit_waiting(self) -> None:
        """Commit all that was acknowledged; raises FlushFailed."""
        while self._queue.waiting:
            if not self.commit_queue():
                raise self.flush_failed()

    def commit_queue(self) -> bool:
        """Commit what is in the queue, or as much as goes into one transaction.

        Returns:
            Whether there may be more to do: False also where acknowledged writes had to stay.
        """
        members = self._queue.take()
        try:
            is_through = self.commit(members)
        finally:
            self._queue.release()
        if not self._queue.waiting:
            self.failure = None
        return is_through and bool(members)

    def commit(self, members: list[Member]) -> bool:
        """Commit members in order, together where that can be.

        Returns:
            False where acknowledged ones had to stay in the queue.
        """
        while members:
            try:
                self._apply(members)
                return True
            except Exception as error:
                if all(member.is_done for member in members):
                    raise  # behind the commit
                refused = next((one for one in members if one.error is not None), None)
                if refused is not None and not refused.is_acknowledged:
                    # It alone is refused; the transaction is made again without it.
                    self._queue.finish([refused])
                    members = [one for one in members if one is not refused]
                elif len(members) > 1 and (refused is not None or isinstance(error, StorageFull)):
                    return self._commit_singly(members)
                else:
                    return self.fail(members, error)
        return True

    def _commit_singly(self, members: list[Member]) -> bool:
        """Commit those that can be, each for itself, up to an acknowledged one that can't."""
        for i, member in enumerate(members):
            if not self.commit([member]):
                assert self.failure is not None
                return self.fail(members[i + 1 :], self.failure, is_behind=True)
        return True

    def _apply(self, members: Sequence[Member]) -> None:
        """Commit members in one transaction, and bring the views in step."""
        views = self._views
        is_committed = False
        try:
            views.refresh()
            self._store.apply(members, views.now_us(), views.expired[:PURGED_AT_ONCE])
            is_committed = True
            head = 0
            for member in members:
                assert member.applied is not None
                views.follow(member.applied, member.write)
                head = member.applied.counters.sequence
            self._slot.publish(head)
        except BaseException:
            views.doubt()
            # Where this fails too, the next operation tries again and reports it.
            with suppress(LlmspellError, MemoryError):
                self._store.settle()
                is_committed = is_committed or self._holds(members)
                views.catch_up()
            raise
        finally:
            if is_committed:
                self.has_written = True
                self._queue.finish(members)

    def _holds(self, members: Sequence[Member]) -> bool:
        """Whether the log has members whose transaction was cut short."""
        applied = [one.applied for one in members if one.applied is not None]
        if len(applied) < len(members):
            return False
        held, last = self._store.counters(), applied[-1].counters
        return held.sequence >= last.sequence and held.state_writes >= last.state_writes

    def fail(self, members: Sequence[Member], error: Exception, *, is_behind: bool = False) -> bool:
        """Refuse members with an error; acknowledged ones stay in the queue.

        Args:
            is_behind: an acknowledged one before them stays there.

        Returns:
            Whether all of them are done.
        """
        refused: list[Member] = []
        # With the tenant, what waits for it has ended.
        has_ended = isinstance(error, ClosedError)
        for member in members:
            if member.is_acknowledged and not has_ended:
                is_behind = True
                self.failure = _without_frames(error)
                continue
            if is_behind and not isinstance(error, DatabaseLocked):
                member.error = self.flush_failed(error)
            else:
                member.error = copy.copy(error) if refused else error
            refused.append(member)
        self._queue.finish(refused)
        return not is_behind

    def flush_failed(self, cause: Exception | None = None) -> FlushFailed:
        """What to raise where acknowledged writes stay in the queue."""
        cause = self.failure if cause is None else cause
        failed = FlushFailed(
            f"{self._queue.waiting} acknowledged writes of tenant {self._tenant!r} can't be "
            f"committed: {cause}. They wait; the next write, read, flush() or close() tries again"
        )
        failed.__cause__ = cause
        return failed


def _without_frames(error: Exception) -> Exception:
    """An error to keep: a traceback would keep the handles of callers with it."""
    link: BaseException | None = error
    while link is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error
