"""Searches of a room: the index, the records of what it finds, and writes that come between."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import Final, TypeAlias, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from llmspell.errors import CorruptFile
from llmspell.index import IdBitmap
from llmspell.observability import Stages, now_ns
from llmspell.storage.filters import Filter
from llmspell.storage.store import TenantStore
from llmspell.storage.views import Views

__all__ = ["ATTEMPTS", "Finder", "Found"]

#: Of an answer beside writes, before they are kept out for it.
ATTEMPTS: Final = 2

#: Records, rows and scores, best first.
Found: TypeAlias = tuple[list[bytes], list[int], list[float]]


class Finder:
    """Searches a room's views, and reads from its store what they find. Thread-safe."""

    __slots__ = ("_alone", "_fetch", "_path", "_stages", "_views")

    def __init__(
        self,
        path: Path,
        store: TenantStore,
        views: Views,
        alone: Callable[[], AbstractContextManager[None]],
        stages: Stages,
    ) -> None:
        """Search an open room.

        Args:
            path: of the room, for errors.
            alone: keeps all writers out.
            stages: what times its steps.
        """
        self._path = path
        self._fetch = store.fetch
        self._views = views
        self._alone = alone
        self._stages = stages

    def read(
        self,
        rows: list[int],
        scores: list[float],
        query: bytes,
        dtype: DTypeLike,
        k: int,
        ef_search: int | None,
        recall: float | None,
        threshold: float | None,
    ) -> Found:
        """Records of what a search without a filter found, or of the same search made again.

        Args:
            query: its vector in bytes, as elements of ``dtype``.
        """
        if not rows:
            return [], [], []
        started = now_ns()
        records = self._fetch(rows)
        self._stages.fetch.record_since(started)
        if all(records):
            return cast("list[bytes]", records), rows, scores
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
        views = self._views
        for _ in range(ATTEMPTS):
            epoch = views.epoch
            found = self._find(query, k, ef_search, recall, condition, threshold)
            if all(found[0]) and (condition is None or epoch == views.epoch):
                return found
            # Another process may have written what this one hasn't followed yet.
            views.catch_up()
        with self._alone():
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
        epoch = self._views.epoch
        index = self._views.index
        if index is None:
            return [([], [], []) for _ in queries]
        allowed = None if condition is None else self._views.allowed(condition)
        started = now_ns()
        ids, scores = self._search_index(queries, k, ef_search, recall, allowed, threshold)
        self._stages.search.record_since(started)
        started = now_ns()
        counts = (ids >= 0).sum(axis=1).tolist()
        records = iter(self._fetch(ids[ids >= 0].tolist()))
        self._stages.fetch.record_since(started)
        is_whole = condition is None or epoch == self._views.epoch
        found: list[Found] = []
        for i, count in enumerate(counts):
            raws = list(islice(records, count))
            if is_whole and all(raws):
                rows, best = ids[i, :count].tolist(), scores[i, :count].tolist()
                found.append((cast("list[bytes]", raws), rows, best))
            else:
                found.append(self.search(queries[i], k, ef_search, recall, condition, threshold))
        return found

    def _find(
        self,
        query: NDArray[np.float32],
        k: int,
        ef_search: int | None,
        recall: float | None,
        condition: Filter | None,
        threshold: float | None,
    ) -> Found:
        index = self._views.index
        if index is None:
            return [], [], []
        allowed = None if condition is None else self._views.allowed(condition)
        stages = self._stages
        started = now_ns()
        ids, found = self._search_index(query, k, ef_search, recall, allowed, threshold)
        stages.search.record_since(started)
        started = now_ns()
        rows: list[int] = ids.tolist()
        records = self._fetch(rows)
        stages.fetch.record_since(started)
        return cast("list[bytes]", records), rows, found.tolist()

    def _search_index(
        self,
        queries: NDArray[np.float32],
        k: int,
        ef_search: int | None,
        recall: float | None,
        allowed: IdBitmap | NDArray[np.uint64] | None,
        threshold: float | None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        while True:
            index = self._views.index
            assert index is not None
            try:
                return index.search(
                    queries,
                    k,
                    ef_search=ef_search,
                    recall=recall,
                    filter=allowed,
                    threshold=threshold,
                )
            except CorruptFile as error:
                self._views.mend(index, error)
