"""The writes of a tenant that wait for a commit, in the order in which they will be in the log."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

from llmspell.errors import ClosedError
from llmspell.storage.flusher import Flusher
from llmspell.storage.member import Member

__all__ = ["WriteQueue"]

#: Of records in one commit, unless a single write has more; and of those that may wait.
MAX_BYTES: Final = 64 << 20

#: With "async", so many commits' worth of records may wait before a writer has to.
BACKLOG_BATCHES: Final = 100


class WriteQueue:
    """Writes, some with a caller who waits for them, some acknowledged already. Thread-safe."""

    __slots__ = (
        "_bytes",
        "_flusher",
        "_group",
        "_members",
        "_records",
        "_tell_waiting",
        "_turn",
        "_waits",
        "is_closed",
        "lock",
        "waiting",
    )

    def __init__(self, flusher: Flusher, tell_waiting: Callable[[bool], object]) -> None:
        """Make an empty queue.

        Args:
            flusher: of the database; its policy says what is full.
            tell_waiting: is told whether anything that was acknowledged is in the queue.
        """
        #: Guards it, and who commits.
        self.lock = threading.RLock()
        self._turn = threading.Condition(self.lock)
        self._waits = 0
        self._flusher = flusher
        self._tell_waiting = tell_waiting
        self._members: list[Member] = []
        self._group: list[Member] = []
        self._records = 0
        self._bytes = 0
        #: Acknowledged writes in it.
        self.waiting = 0
        #: Whether closing has begun.
        self.is_closed = False

    def close(self) -> list[Member]:
        """Refuse members from now on; returns those that are left."""
        with self.lock:
            self.is_closed = True
            return list(self._members)

    def members(self) -> list[Member]:
        """All that are in it."""
        with self.lock:
            return list(self._members)

    def wait(self, seconds: float) -> bool:
        """Wait for :meth:`wake` with :attr:`lock` held; False where the time has passed."""
        self._waits += 1
        try:
            return self._turn.wait(seconds)
        finally:
            # Where an exception from elsewhere comes before, some are woken in vain.
            self._waits -= 1

    def wake(self) -> None:
        """Let all look who wait, for members are done or nobody commits; with :attr:`lock`."""
        if self._waits:
            self._turn.notify_all()

    def last_acknowledged(self) -> Member | None:
        """The last write that somebody may count on."""
        with self.lock:
            return next((one for one in reversed(self._members) if one.is_acknowledged), None)

    def add(self, member: Member) -> None:
        """Append a write whose caller waits for its commit."""
        with self.lock:
            self._require_open()
            self._members.append(member)

    def acknowledge(self, member: Member) -> bool:
        """Append a write that waits alone, unless the queue is full with it.

        Returns:
            Whether its commit is due at once.
        """
        policy = self._flusher.policy
        batches = 1 if policy.durability == "batch" else BACKLOG_BATCHES
        with self.lock:
            self._require_open()
            records = self._records + member.records
            size = self._bytes + member.bytes
            self._members.append(member)
            if records >= batches * policy.write_batch_size or size >= MAX_BYTES:
                return False
            self._tell_waiting(True)
            # No call from here on: no exception from elsewhere may come between.
            self._records, self._bytes = records, size
            self.waiting += 1
            member.is_acknowledged = True
        return records >= policy.write_batch_size

    def take(self) -> list[Member]:
        """Those that go into the next commit; they stay in the queue until they are done."""
        with self.lock:
            size = 0
            self._group = []
            for member in self._members:
                size += member.bytes
                if self._group and size > MAX_BYTES:
                    break
                self._group.append(member)
            return list(self._group)

    def finish(self, members: Sequence[Member]) -> None:
        """Let members go that were committed or refused, and wake who waits for them."""
        with self.lock:
            for member in members:
                if member.is_done:
                    continue
                member.is_done = True
                self._let_go(member)
            self._members = [one for one in self._members if not one.is_done]
            self._group = [one for one in self._group if not one.is_done]
            if not self.waiting:
                self._tell_waiting(False)
            self.wake()

    def release(self) -> None:
        """Behind a commit: what is left of its group may be withdrawn again."""
        with self.lock:
            self._group = []

    def withdraw(self, member: Member) -> None:
        """Take back a write whose caller doesn't wait any more, unless it is being committed."""
        if member.is_done:
            return
        with self.lock:
            if member.is_done or member.is_acknowledged or member in self._group:
                return
            member.is_done = True
            self._members = [one for one in self._members if one is not member]
            self._let_go(member)

    def _require_open(self) -> None:
        if self.is_closed:
            raise ClosedError("the tenant is closed")

    def _let_go(self, member: Member) -> None:
        member.give_back()
        if member.is_acknowledged:
            self.waiting -= 1
            self._records -= member.records
            self._bytes -= member.bytes
        if member.has_place:
            self._flusher.leave()
