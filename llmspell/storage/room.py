"""A tenant's room while it is open in this process: the store and the views of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from llmspell._hot import Unread
from llmspell.config import TenantConfig
from llmspell.errors import (
    CorruptFile,
    DatabaseLocked,
    LlmspellError,
)
from llmspell.index import Index
from llmspell.observability import Stages
from llmspell.quota import Slot
from llmspell.storage.chain import FIRST
from llmspell.storage.commits import PURGED_AT_ONCE
from llmspell.storage.files import FileLock
from llmspell.storage.filters import Filter
from llmspell.storage.finder import ATTEMPTS, Finder
from llmspell.storage.flusher import Flusher
from llmspell.storage.member import Member
from llmspell.storage.moment import Held
from llmspell.storage.record import StoredRecord
from llmspell.storage.retriever import Retriever
from llmspell.storage.store import TenantStore
from llmspell.storage.views import Views
from llmspell.storage.write import Applied, Write
from llmspell.storage.writer import Writer

if TYPE_CHECKING:
    from llmspell.storage.room_copy import RoomCopy

__all__ = ["ROOM_DESCRIPTORS", "Room"]

#: What an open room has open at most: its data file twice, the second time to write through, the
#: table of readers, behind a filter the snapshot of the payload index, and behind a search of words
#: the lock of its copy of the lexical index. A write has a lock too.
ROOM_DESCRIPTORS: Final = 5

#: A room is weighed again when its vectors have become so many more or fewer, and by an eighth, or
#: its store takes so many bytes more.
WEIGHED_AGAIN: Final = 1_024
WEIGHED_AGAIN_BYTES: Final = 1 << 20


class Room:
    """Everything of one tenant, open for reading and writing by this process. Thread-safe.

    Any number of processes may have it open. One writes at a time, in any of them; readers wait for
    nobody, but for a search that meets what is being replaced. A write is in the log before it is
    in the views, so that an index may still give a row whose record has just gone.
    """

    __slots__ = (
        "_path",
        "_slot",
        "_weighed",
        "_weighed_store",
        "finder",
        "retriever",
        "store",
        "unread",
        "views",
        "writer",
    )

    def __init__(
        self,
        path: Path,
        config: TenantConfig,
        slot: Slot,
        *,
        stages: Stages,
        flusher: Flusher,
        map_size: int,
        lock_timeout: float,
    ) -> None:
        """Open a room that :meth:`create` made.

        Raises:
            CorruptFile: the directory is missing, or the data in it is damaged.
        """
        if not path.is_dir():
            raise CorruptFile(f"{path}: the data of tenant {config.id!r} is missing")
        self._path = path
        self._slot = slot
        #: What is read when it is first looked at, or before the room closes.
        self.unread = Unread()
        self.store = TenantStore(path, slot, map_size=map_size)
        try:
            self.views = Views(path, self.store, slot, config)
            self.writer = Writer(
                path, config, slot, self.store, self.views, flusher, lock_timeout=lock_timeout
            )
            self._agree_with_ledger()
        except BaseException:
            self.store.close()
            raise
        #: Its searches.
        self.finder = Finder(path, self.store, self.views, self.writer.alone, stages)
        self.retriever = Retriever(self.store, self.views, self.writer.alone, stages)
        self._weighed = self._weighed_store = 0

    @staticmethod
    def create(path: Path) -> None:
        """Make an empty room, durable before it has its name."""
        TenantStore.create(path)

    @staticmethod
    def tell_levels(path: Path, slot: Slot, *, map_size: int) -> None:
        """Tell the ledger what a room that isn't open here holds, without its index.

        A writer that is at work sees to it itself.
        """
        try:
            lock = FileLock(path / "writer.lock", timeout=0.0, holder=str(path))
        except DatabaseLocked:
            return
        with lock, closing(TenantStore(path, slot, map_size=map_size)) as store:
            store.settle()

    @staticmethod
    def purge_closed(path: Path, slot: Slot, *, map_size: int) -> int:
        """As :meth:`purge`, for a room that isn't open here, without its index.

        A writer that is at work sees to it itself: 0 then.

        Raises:
            CorruptFile: records that expire are missing.
        """
        try:
            lock = FileLock(path / "writer.lock", timeout=0.0, holder=str(path))
        except DatabaseLocked:
            return 0
        purged = 0
        passed: list[int] = []
        with lock, closing(TenantStore(path, slot, map_size=map_size)) as store:
            now_us = slot.ledger.utc_ns() // 1_000
            while due := store.expiring(0, now_us)[0][:PURGED_AT_ONCE]:
                if due == passed:
                    raise CorruptFile(
                        f"{path}: record {due[0]} is to expire, but isn't there; scrub the tenant "
                        "to see what is damaged"
                    )
                held = store.counters().vectors
                member = Member(Write(rows=due))
                store.apply([member], now_us)
                counters = member.outcome().counters
                slot.publish(counters.sequence)
                purged += held - counters.vectors
                passed = due
        return purged

    @property
    def index(self) -> Index | None:
        """As :meth:`Views.current`."""
        return self.views.current()

    @property
    def is_closed(self) -> bool:
        """Whether closing has begun."""
        return self.writer.is_closed

    @property
    def dim(self) -> int | None:
        """Dimension of the vectors; None until the first ones are written."""
        # Once there is one it stays, whatever waits to be committed.
        dim = self.views.counters.dim
        if not dim:
            self.views.current()
            dim = self.views.counters.dim
        return dim or None

    @property
    def count(self) -> int:
        """Records held, without those that have expired."""
        self.views.current()
        return self.views.counters.vectors - len(self.views.expired)

    def write(self, write: Write) -> Applied:
        """As :meth:`Writer.write`."""
        return self.writer.write(write)

    def submit(self, write: Write) -> None:
        """As :meth:`Writer.submit`."""
        self.writer.submit(write)

    def write_as(self, plan: Callable[[], Write]) -> Applied:
        """As :meth:`Writer.write_as`."""
        return self.writer.write_as(plan)

    def flush(self) -> None:
        """As :meth:`Writer.flush`."""
        self.writer.flush()

    def delete_matching(self, condition: Filter) -> Applied:
        """Remove the records that a filter keeps, as they are when nobody else can write."""
        return self.write_as(lambda: Write(rows=self.views.matching(condition).tolist()))

    def purge(self) -> int:
        """Remove what has expired, as the next write would; returns how many records went."""
        purged = 0

        def write() -> Write:
            return Write(rows=self.views.expired[:PURGED_AT_ONCE])

        while (change := self.write_as(write).change) is not None:
            purged += len(change.removed)
        return purged

    def scan(
        self, after: bytes | None, limit: int, condition: Filter | None, *, vectors: bool
    ) -> list[Held]:
        """Records behind a key in the order of keys, ``limit`` at most, as one moment shows them.

        Where writes beside it keep moving what a filter keeps, the last try is between writes.
        """
        self.flush()
        if condition is None:
            return self._scan(after, limit, None, vectors)[0]
        views = self.views
        for _ in range(ATTEMPTS):
            views.current()
            epoch, sequence = views.epoch, views.sequence
            rows = views.matching(condition)
            page, seen = self._scan(after, limit, rows, vectors)
            if (epoch, sequence) == (views.epoch, seen):
                return page
        with self.alone():
            views.catch_up()
            return self._scan(after, limit, views.matching(condition), vectors)[0]

    def get(self, keys: Sequence[bytes]) -> list[tuple[StoredRecord, NDArray[np.float32]] | None]:
        """Records and vectors of some ids, as one moment shows them; None for a missing id."""
        self.flush()
        found = self.store.get(keys)
        now_us = self.views.now_us()
        return [None if one is None or one[0].expires_us <= now_us else one for one in found]

    def calibrate(self, k: int, *, recall: float) -> None:
        """Measure the index: see :meth:`Index.calibrate`."""
        while (index := self.views.current()) is not None:
            try:
                index.calibrate(k, recall=recall)
            except CorruptFile as error:
                self.views.mend(index, error)
            else:
                return

    def estimated_recall(self) -> dict[int, float]:
        """Recall by k that searches reach at the tenant's own ``ef_search``; of calibrated ks."""
        index = self.views.index
        if index is None:
            return {}
        estimates = {curve.k: index.estimated_recall(curve.k) for curve in index.calibration()}
        return {k: recall for k, recall in estimates.items() if recall is not None}

    def weigh(self) -> int:
        """:attr:`memory` now, to compare by :attr:`has_other_weight`."""
        self._weighed = self.views.counters.vectors
        self._weighed_store = self.store.memory
        return self.memory

    @property
    def has_other_weight(self) -> bool:
        """Whether so much was written since it was weighed that it should be again."""
        change = abs(self.views.counters.vectors - self._weighed)
        if change >= WEIGHED_AGAIN and 8 * change >= self._weighed:
            return True
        return self.store.memory - self._weighed_store >= WEIGHED_AGAIN_BYTES

    @property
    def memory(self) -> int:
        """Bytes that index and store take in this process, estimated."""
        index = self.views.index
        return self.store.memory + (0 if index is None else index.stats().memory.total)

    @contextmanager
    def copying(self) -> Iterator[RoomCopy]:
        """Give all files of it, as one moment shows them; writes go on meanwhile."""
        from llmspell.storage.room_copy import copied_room

        self.flush()
        with copied_room(self._path, self.store) as copy:
            yield copy

    def close(self, *, snapshot: bool = True) -> None:
        """Close; the second time what the first left undone.

        Args:
            snapshot: commit what waits, save what to open from, and read what hits haven't looked
                at; not for a tenant that ends.

        Raises:
            FlushFailed: what waits can't be committed; the room stays open.
        """
        is_first = not self.unread.is_closing
        # Closed before hits are read: a search that comes behind them reads its own.
        unread = self.unread.close()
        for hits in unread if snapshot and is_first else ():
            # What can't be read now is told when it is looked at.
            with suppress(LlmspellError):
                hits.look()
        with self.writer.lock:
            self.writer.close(commit=snapshot)
            try:
                self.views.close(snapshot=snapshot, has_written=self.writer.has_written)
            finally:
                self.store.close()

    def _scan(
        self, after: bytes | None, limit: int, rows: NDArray[np.int64] | None, vectors: bool
    ) -> tuple[list[Held], int]:
        """A page, and the sequence number of the moment that it shows."""
        now_us = self.views.now_us()
        with self.store.moment() as moment:
            live = (
                one
                for one in moment.records(after or FIRST, rows=rows, vectors=vectors)
                if one[0].expires_us > now_us
            )
            return list(islice(live, limit)), moment.counters.sequence

    def alone(self) -> AbstractContextManager[None]:
        """As :meth:`Writer.alone`."""
        return self.writer.alone()

    def _agree_with_ledger(self) -> None:
        """Let the ledger know the levels and the log's head, where a crash lost or damaged them."""
        has_head = self._slot.levels_known and self._slot.log_head > self.views.sequence
        if has_head or self.store.is_settled(self.views.counters):
            return
        # A writer that is at work sees to it itself.
        with suppress(DatabaseLocked), self.writer.alone(timeout=0.0):
            self.store.settle()
