"""A tenant's room while it is open in this process: the store and the views of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from llmspell._hot import Unread
from llmspell.config import TenantConfig
from llmspell.errors import (
    ClosedError,
    CorruptFile,
    DatabaseLocked,
    DimensionMismatch,
    LlmspellError,
    StorageError,
    TenantSuspended,
)
from llmspell.index import Index, check_rows
from llmspell.observability import Stages, now_ns
from llmspell.quota import Slot
from llmspell.storage.batch import Applied, Write
from llmspell.storage.chain import FIRST
from llmspell.storage.files import FileLock
from llmspell.storage.filters import Filter
from llmspell.storage.moment import Held
from llmspell.storage.record import StoredRecord
from llmspell.storage.store import TenantStore
from llmspell.storage.views import Views

__all__ = ["Room"]

ATTEMPTS: Final = 2

#: Expired records that a write removes besides; more of them wait for the next one.
PURGED_AT_ONCE: Final = 10_000

#: Records, rows and scores, best first.
Found: TypeAlias = tuple[list[bytes], list[int], list[float]]


class Room:
    """Everything of one tenant, open for reading and writing by this process. Thread-safe.

    Any number of processes may have it open. One writes at a time, in any of them; readers wait for
    nobody, but for a search that meets what is being replaced. A write is in the log before it is
    in the views, so that an index may still give a row whose record has just gone.
    """

    __slots__ = (
        "_closed",
        "_has_written",
        "_lock_timeout",
        "_path",
        "_slot",
        "_stages",
        "_tenant",
        "_write_lock",
        "fetch",
        "metric",
        "store",
        "unread",
        "views",
    )

    def __init__(
        self,
        path: Path,
        config: TenantConfig,
        slot: Slot,
        *,
        stages: Stages,
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
        self._tenant = config.id
        self._slot = slot
        self._lock_timeout = lock_timeout
        self._write_lock = threading.RLock()
        self._has_written = False
        self._closed = False
        #: What is read when it is first looked at, or before the room closes.
        self.unread = Unread()
        self.metric = config.metric
        self.store = TenantStore(path, slot, map_size=map_size)
        try:
            self.views = Views(path, self.store, slot, config)
            self._agree_with_ledger()
        except BaseException:
            self.store.close()
            raise
        self.fetch = self.store.fetch
        self._stages = stages

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

    @property
    def index(self) -> Index | None:
        """As :meth:`Views.current`."""
        return self.views.current()

    @property
    def is_closed(self) -> bool:
        """Whether closing has begun."""
        return self._closed

    @property
    def dim(self) -> int | None:
        """Dimension of the vectors; None until the first ones are written."""
        self.views.current()
        return self.views.counters.dim or None

    @property
    def count(self) -> int:
        """Records held, without those that have expired."""
        self.views.current()
        return self.views.counters.vectors - len(self.views.expired)

    def write(self, write: Write) -> Applied:
        """Write a batch durably and bring the views in step; see :meth:`TenantStore.apply`.

        Raises:
            DatabaseLocked: another process writes for longer than the timeout.
            DimensionMismatch, NonFiniteVector, ShapeError, ZeroVector: the index would refuse a
                vector; nothing was written.
            BaseException: from elsewhere, as KeyboardInterrupt; the batch is written or not, and
                what was done of it is finished before the next operation.
        """
        return self.write_as(lambda: write)

    def delete_matching(self, condition: Filter) -> Applied:
        """Remove the records that a filter keeps, as they are when nobody else can write."""

        def write() -> Write:
            self.views.current()
            return Write(rows=self.views.matching(condition).tolist())

        return self.write_as(write)

    def scan(
        self, after: bytes | None, limit: int, condition: Filter | None, *, vectors: bool
    ) -> list[Held]:
        """Records behind a key in the order of keys, ``limit`` at most, as one moment shows them.

        Where writes beside it keep moving what a filter keeps, the last try is between writes.
        """
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
        found = self.store.get(keys)
        now_us = self.views.now_us()
        return [None if one is None or one[0].expires_us <= now_us else one for one in found]

    def estimated_recall(self) -> dict[int, float]:
        """Recall by k that searches reach at the tenant's own ``ef_search``; of calibrated ks."""
        index = self.views.index
        if index is None:
            return {}
        estimates = {curve.k: index.estimated_recall(curve.k) for curve in index.calibration()}
        return {k: recall for k, recall in estimates.items() if recall is not None}

    def read(
        self,
        rows: NDArray[np.int64],
        scores: NDArray[np.float32],
        query: bytes,
        dtype: np.dtype[Any],
        k: int,
        ef_search: int | None,
        recall: float | None,
        threshold: float | None,
    ) -> Found:
        """Records of what a search without a filter found, or of the same search made again.

        Args:
            query: its vector in bytes, as elements of ``dtype``.
        """
        if not len(rows):
            return [], [], []
        started = now_ns()
        records = self.fetch(rows.tolist())
        self._stages.fetch.record_since(started)
        if all(records):
            return cast("list[bytes]", records), rows.tolist(), scores.tolist()
        vector = np.frombuffer(query, dtype=dtype)
        return self.search(vector, k, ef_search, recall, None, threshold)

    def search(
        self,
        query: NDArray[np.float32],
        k: int,
        ef_search: int | None,
        recall: float | None,
        condition: Filter | None,
        threshold: float | None,
    ) -> Found:
        """Search with one vector; returns records, rows and scores, best first.

        Where a write beside it moved what is found, it searches again, the last time between
        writes: a record that is replaced is found as it was or as it will be.
        """
        views = self.views
        for _ in range(ATTEMPTS):
            epoch = views.epoch
            found = self._find(query, k, ef_search, recall, condition, threshold)
            if all(found[0]) and (condition is None or epoch == views.epoch):
                return found
            # Another process may have written what this one hasn't followed yet.
            views.catch_up()
        with self.alone():
            views.catch_up()
            found = self._find(query, k, ef_search, recall, condition, threshold)
        if not all(found[0]):
            raise CorruptFile(f"{self._path}: records that the index has are missing")
        return found

    def search_many(
        self,
        queries: NDArray[np.float32],
        k: int,
        ef_search: int | None,
        recall: float | None,
        condition: Filter | None,
        threshold: float | None,
    ) -> list[Found]:
        """Search with each row of ``queries`` (q, dim); see :meth:`search`."""
        epoch = self.views.epoch
        index = self.views.index
        if index is None:
            return [([], [], []) for _ in queries]
        allowed = None if condition is None else self.views.allowed(condition)
        started = now_ns()
        ids, scores = index.search(
            queries, k, ef_search=ef_search, recall=recall, filter=allowed, threshold=threshold
        )
        self._stages.search.record_since(started)
        started = now_ns()
        counts = (ids >= 0).sum(axis=1).tolist()
        records = iter(self.fetch(ids[ids >= 0].tolist()))
        self._stages.fetch.record_since(started)
        is_whole = condition is None or epoch == self.views.epoch
        found: list[Found] = []
        for i, count in enumerate(counts):
            raws = list(islice(records, count))
            if is_whole and all(raws):
                rows, best = ids[i, :count].tolist(), scores[i, :count].tolist()
                found.append((cast("list[bytes]", raws), rows, best))
            else:
                found.append(self.search(queries[i], k, ef_search, recall, condition, threshold))
        return found

    @property
    def memory(self) -> int:
        """Bytes that the index takes in this process, estimated."""
        index = self.views.index
        return 0 if index is None else index.stats().memory.total

    def close(self, *, snapshot: bool = True) -> None:
        """Close; the second time what the first left undone.

        Args:
            snapshot: save what to open from, and read what hits haven't looked at; not for a tenant
                that ends.
        """
        for hits in self.unread.alive() if snapshot else ():
            # What can't be read now is told when it is looked at.
            with suppress(LlmspellError):
                hits.look()
        with self._write_lock:
            self._closed = True
            try:
                self.views.close(snapshot=snapshot, has_written=self._has_written)
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

    def write_as(self, plan: Callable[[], Write]) -> Applied:
        """Write what is decided while nobody else can write; see :meth:`write`."""
        with self._write_lock:
            if self._closed:
                raise ClosedError("the tenant is closed")
            if self._slot.suspension != "none":
                raise TenantSuspended(f"tenant {self._tenant!r} is suspended for writes")
            with self._file_lock():
                write = plan()
                self._check(write)
                expired = self.views.expired[:PURGED_AT_ONCE]
                try:
                    applied = self.store.apply(write, self.views.now_us(), expired)
                except BaseException:
                    self.views.doubt()
                    # Where this fails too, the next operation tries again and reports it.
                    with suppress(LlmspellError, MemoryError):
                        self.store.settle()
                        self.views.catch_up()
                    raise
            self._has_written = True
            try:
                self.views.follow(applied, write)
                self._slot.publish(applied.counters.sequence)
            except BaseException:
                self.views.doubt()
                with suppress(LlmspellError, MemoryError):
                    self.views.catch_up()
                raise
            return applied

    def _check(self, write: Write) -> None:
        """Refuse what the index would: what is committed must fit into it at every opening."""
        if write.vectors is None:
            return
        if self.dim not in (None, write.dim):
            raise DimensionMismatch(
                f"vectors of dimension {self.dim} expected, got {write.dim}",
                expected=self.dim,
                actual=write.dim,
            )
        check_rows(write.vectors, self.metric)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep all other writers out, in this process and in others; raises DatabaseLocked."""
        with self._write_lock, self._file_lock():
            yield

    def _file_lock(self, timeout: float | None = None) -> FileLock:
        try:
            return FileLock(
                self._path / "writer.lock",
                timeout=self._lock_timeout if timeout is None else timeout,
                holder=f"tenant {self._tenant!r}",
            )
        except StorageError:
            if not self._path.is_dir():
                raise ClosedError(f"{self._path}: the tenant was dropped") from None
            raise

    def _agree_with_ledger(self) -> None:
        """Let the ledger know the levels and the log's head, where a crash lost them."""
        if self._slot.levels_known and self._slot.log_head >= self.views.sequence:
            return
        # A writer that is at work sees to it itself.
        with suppress(DatabaseLocked), self._write_lock, self._file_lock(timeout=0.0):
            self.store.settle()

    def _find(
        self,
        query: NDArray[np.float32],
        k: int,
        ef_search: int | None,
        recall: float | None,
        condition: Filter | None,
        threshold: float | None,
    ) -> Found:
        index = self.views.index
        if index is None:
            return [], [], []
        allowed = None if condition is None else self.views.allowed(condition)
        stages = self._stages
        started = now_ns()
        ids, found = index.search(
            query, k, ef_search=ef_search, recall=recall, filter=allowed, threshold=threshold
        )
        stages.search.record_since(started)
        started = now_ns()
        rows: list[int] = ids.tolist()
        records = self.fetch(rows)
        stages.fetch.record_since(started)
        return cast("list[bytes]", records), rows, found.tolist()
