"""A tenant's room while it is open: the store, its views, and the lock that keeps writers out."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from llmspell.config import TenantConfig
from llmspell.errors import ClosedError, CorruptFile, DimensionMismatch, LlmspellError
from llmspell.index import IdBitmap, Index, check_rows
from llmspell.observability import Stages, now_ns
from llmspell.quota import Slot
from llmspell.storage.batch import Applied, Put, StoredDocument
from llmspell.storage.files import FileLock
from llmspell.storage.filters import Filter
from llmspell.storage.store import TenantStore
from llmspell.storage.view import VectorView

if TYPE_CHECKING:
    from llmspell.storage.payload import PayloadIndex

__all__ = ["Room"]

ATTEMPTS: Final = 2

#: Records, rows and scores, best first.
Found: TypeAlias = tuple[list[bytes], list[int], list[float]]


class Room:
    """Everything of one tenant, open for reading and writing by this process. Thread-safe.

    Writers wait for each other. Readers wait for nobody, but for a search that meets what is being
    replaced. A write is in the log before it is in the views, so that an index may still give a row
    whose record has just gone.
    """

    __slots__ = (
        "_behind",
        "_closed",
        "_epoch",
        "_file_lock",
        "_metric",
        "_payload",
        "_schema",
        "_stages",
        "_view",
        "_write_lock",
        "fetch",
        "store",
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
            DatabaseLocked: another process has the room open.
        """
        if not path.is_dir():
            raise CorruptFile(f"{path}: the data of tenant {config.id!r} is missing")
        self._write_lock = threading.RLock()
        self._payload: PayloadIndex | None = None
        self._metric = config.metric
        self._schema = config.schema
        self._behind = False
        # Grows before rows leave the index: a filter evaluated before that may name such rows.
        self._epoch = 0
        self._closed = False
        self._file_lock = FileLock(
            path / "writer.lock", timeout=lock_timeout, holder=f"tenant {config.id!r}"
        )
        try:
            self.store = TenantStore(path, slot, map_size=map_size)
            try:
                self._view = VectorView(path, self.store, config)
            except BaseException:
                self.store.close()
                raise
        except BaseException:
            self._file_lock.release()
            raise
        self.fetch = self.store.fetch
        self._stages = stages

    @staticmethod
    def create(path: Path) -> None:
        """Make an empty room, durable before it has its name."""
        TenantStore.create(path)

    @property
    def index(self) -> Index | None:
        """The vector index; None until the first vectors are written."""
        if self._behind:
            with self._write_lock:
                self._catch_up()
        return self._view.index

    @property
    def is_closed(self) -> bool:
        """Whether closing has begun."""
        return self._closed

    @property
    def dim(self) -> int | None:
        """Dimension of the vectors; None until the first ones are written."""
        return self.store.counters.dim or None

    def write(
        self,
        *,
        puts: Sequence[Put] = (),
        vectors: NDArray[np.float32] | None = None,
        removes: Sequence[bytes] = (),
        documents: Mapping[str, StoredDocument | None] | None = None,
    ) -> Applied:
        """Write a batch durably and bring the views in step; see :meth:`TenantStore.apply`.

        Args:
            vectors: (len(puts), dim), contiguous, the vectors of ``puts``.

        Raises:
            DimensionMismatch, NonFiniteVector, ShapeError, ZeroVector: the index would refuse a
                vector; nothing was written.
            BaseException: from elsewhere, as KeyboardInterrupt; the batch is written or not, and
                what was done of it is finished before the next operation.
        """
        with self._write_lock:
            if self._closed:
                raise ClosedError("the tenant is closed")
            self._catch_up()
            if vectors is not None and self.dim not in (None, vectors.shape[1]):
                raise DimensionMismatch(
                    f"vectors of dimension {self.dim} expected, got {vectors.shape[1]}",
                    expected=self.dim,
                    actual=vectors.shape[1],
                )
            if vectors is not None:
                # What is committed must fit into the index at every opening to come.
                check_rows(vectors, self._metric)
            try:
                applied = self.store.apply(
                    puts=puts,
                    removes=removes,
                    documents=documents,
                    dim=0 if vectors is None else vectors.shape[1],
                )
                self._follow(applied, puts, vectors)
            except BaseException:
                self._behind = True
                # Where this fails too, the next operation tries again and reports it.
                with suppress(LlmspellError, MemoryError):
                    self._catch_up()
                raise
            return applied

    def estimated_recall(self) -> dict[int, float]:
        """Recall by k that searches reach at the tenant's own ``ef_search``; of calibrated ks."""
        index = self._view.index
        if index is None:
            return {}
        estimates = {curve.k: index.estimated_recall(curve.k) for curve in index.calibration()}
        return {k: recall for k, recall in estimates.items() if recall is not None}

    def matching(self, condition: Filter) -> IdBitmap | NDArray[np.uint64]:
        """Rows that a filter keeps, as the index takes them."""
        payload = self._payload
        return (self._build_payload() if payload is None else payload).allowed(condition)

    def search(
        self,
        index: Index,
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
        for _ in range(ATTEMPTS):
            epoch = self._epoch
            found = self._find(index, query, k, ef_search, recall, condition, threshold)
            if all(found[0]) and (condition is None or epoch == self._epoch):
                return found
        with self._write_lock:
            self._catch_up()
            return self._find(index, query, k, ef_search, recall, condition, threshold)

    def search_many(
        self,
        index: Index,
        queries: NDArray[np.float32],
        k: int,
        ef_search: int | None,
        recall: float | None,
        condition: Filter | None,
        threshold: float | None,
    ) -> list[Found]:
        """Search with each row of ``queries`` (q, dim); see :meth:`search`."""
        epoch = self._epoch
        allowed = None if condition is None else self.matching(condition)
        started = now_ns()
        ids, scores = index.search(
            queries, k, ef_search=ef_search, recall=recall, filter=allowed, threshold=threshold
        )
        self._stages.search.record_since(started)
        started = now_ns()
        counts = (ids >= 0).sum(axis=1).tolist()
        records = iter(self.fetch(ids[ids >= 0].tolist()))
        self._stages.fetch.record_since(started)
        is_whole = condition is None or epoch == self._epoch
        found: list[Found] = []
        for i, count in enumerate(counts):
            raws = list(islice(records, count))
            if is_whole and all(raws):
                rows, best = ids[i, :count].tolist(), scores[i, :count].tolist()
                found.append((cast("list[bytes]", raws), rows, best))
            else:
                found.append(
                    self.search(index, queries[i], k, ef_search, recall, condition, threshold)
                )
        return found

    def _find(
        self,
        index: Index,
        query: NDArray[np.float32],
        k: int,
        ef_search: int | None,
        recall: float | None,
        condition: Filter | None,
        threshold: float | None,
    ) -> Found:
        allowed = None if condition is None else self.matching(condition)
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

    def close(self, *, snapshot: bool = True) -> None:
        """Close, with a snapshot to open from; the second time what the first left undone."""
        with self._write_lock:
            was_closed, self._closed = self._closed, True
            try:
                if snapshot and not was_closed and not self._behind:
                    self._view.snapshot()
            finally:
                try:
                    self.store.close()
                finally:
                    self._file_lock.release()

    def _build_payload(self) -> PayloadIndex:
        # Not at open: a tenant that never filters pays nothing for it.
        with self._write_lock:
            if self._payload is None:
                from llmspell.storage.payload import PayloadIndex

                payload = PayloadIndex(self._schema)
                for record in self.store.records():
                    payload.add(record.rowid, record.metadata)
                self._payload = payload
            return self._payload

    def _follow(
        self, applied: Applied, puts: Sequence[Put], vectors: NDArray[np.float32] | None
    ) -> None:
        """Bring the views in step with a write; in this order, so that no search misses a record.

        A record that is replaced is in each view twice for a moment; its old row can't be fetched.
        """
        if vectors is not None and len(vectors):
            self._view.add(applied.change.first, vectors)
        if self._payload is not None:
            for i, put in enumerate(puts):
                self._payload.add(applied.change.first + i, put.plain_metadata)
            for record in applied.removed:
                self._payload.remove(record.rowid, record.metadata)
        if self._view.sequence != self.store.counters.sequence:
            self._epoch += 1
            self._view.finish(applied.change)

    def _catch_up(self) -> None:
        """Finish what an interrupted write left: hold the lock."""
        self.store.refresh()
        if self._view.sequence != self.store.counters.sequence:
            self._payload = None
            self._epoch += 1
            self._view.catch_up()
        self._behind = False
