"""The vector index of a tenant as a view of its log, and the snapshots that it opens from.

A snapshot holds the index and, as its tag, the sequence number of the log that it has reached.
Opening takes the newest one that holds, replays the log behind it, and builds the index from the
records where there is none: a damaged snapshot costs time and never data.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from llmspell.config import MAX_DIM, TenantConfig
from llmspell.errors import CorruptFile, LlmspellError, NonFiniteVector, StorageError, ZeroVector
from llmspell.index import Index, RecallCurve, check_rows
from llmspell.storage.codec import Change, StoredRecord, decode_id
from llmspell.storage.curves import read_curves, write_curves
from llmspell.storage.store import TenantStore

__all__ = ["VectorView"]

_LOG = logging.getLogger("llmspell")

#: A snapshot is due when so many rows changed behind the last one, and a fifth of the index did.
SNAPSHOT_ROWS: Final = 20_000
SNAPSHOT_SHARE: Final = 0.2

SNAPSHOTS_KEPT: Final = 2
#: One file, of the newest snapshot: see :mod:`llmspell.storage.curves`.
CURVES: Final = "recall.json"
BATCH_ROWS: Final = 4_096
NAMED: Final = 5


class VectorView:
    """Keeps an :class:`Index` in step with a store.

    ``index`` may be searched from any thread; the methods are for one thread at a time.
    """

    __slots__ = (
        "_config",
        "_directory",
        "_kept",
        "_pending",
        "_refused",
        "_rejected",
        "_store",
        "index",
        "sequence",
    )

    def __init__(self, directory: Path, store: TenantStore, config: TenantConfig) -> None:
        """Open the view at the state of the store.

        Raises:
            CorruptFile: a record that the index needs is damaged.
        """
        self._directory = directory
        self._store = store
        self._config = config
        self._pending = 0
        self._kept: tuple[int, tuple[RecallCurve, ...]] | None = None
        self._rejected: set[Path] = set()
        self._refused: set[int] = set()
        self.sequence = 0
        self.index: Index | None = None
        for unfinished in directory.glob("*.snap*.tmp"):
            unfinished.unlink()
        if store.counters.dim:
            self._open(store.counters.dim)

    def add(self, first: int, vectors: NDArray[np.float32]) -> None:
        """Add the rows of a write that the store has committed.

        Args:
            first: the first of the rows, which are consecutive.
            vectors: (added, dim).
        """
        if self.index is None:
            self.index = self._empty(vectors.shape[1])
        self.index.add(np.arange(first, first + len(vectors)), vectors)

    def finish(self, change: Change) -> None:
        """Remove what that write removed: the view has followed it then."""
        if self.index is not None and len(change.removed):
            self.index.delete(change.removed.astype(np.int64))
        self._refused.difference_update(change.removed.tolist())
        self.sequence = self._store.counters.sequence
        self._pending += change.added + len(change.removed)
        if self._pending >= max(SNAPSHOT_ROWS, SNAPSHOT_SHARE * self._store.counters.vectors):
            self.snapshot()

    def catch_up(self) -> None:
        """Follow the log from where the view stands, also where a write was followed by halves."""
        if self.index is not None:
            self._replay(self.sequence)
        elif self._store.counters.dim:
            self._open(self._store.counters.dim)

    def snapshot(self) -> None:
        """Save the index, keep the snapshot before it, and trim the log behind that.

        A failure is a warning: the data is safe without a snapshot.
        """
        if self.index is None:
            return
        if self._pending:
            self._save(self.index)
        self._keep_curves(self.index)

    def _save(self, index: Index) -> None:
        try:
            index.save(self._path(self.sequence), tag=self.sequence)
            for path in self._rejected - {self._path(self.sequence)}:
                path.unlink(missing_ok=True)
            self._rejected.clear()
            kept = self._snapshots()
            for old in kept[SNAPSHOTS_KEPT:]:
                self._path(old).unlink(missing_ok=True)
            if len(kept) >= SNAPSHOTS_KEPT:
                self._store.trim(kept[SNAPSHOTS_KEPT - 1])
        except (StorageError, OSError) as error:
            _LOG.warning(
                "tenant %s: snapshot in %s failed: %s", self._config.id, self._directory, error
            )
        self._pending = 0

    def _open(self, dim: int) -> None:
        if dim > MAX_DIM:
            self._leave_out([row for row, _ in self._store.all_vectors()], f"dimension {dim}")
            self.sequence = self._store.counters.sequence
            return
        for sequence in self._snapshots():
            path = self._path(sequence)
            self._pending = 0
            self._refused.clear()
            try:
                self.index = self._load(path, sequence, dim)
                self._adopt_curves(self.index, sequence)
                self._replay(sequence)
                return
            except (LlmspellError, OSError) as error:
                _LOG.warning("tenant %s: snapshot %s is not used: %s", self._config.id, path, error)
                self._rejected.add(path)
        self._rebuild(dim)

    def _load(self, path: Path, sequence: int, dim: int) -> Index:
        index = Index.load(path)
        index.verify()  # now, while the index can still be built from the log instead
        if index.tag != sequence:
            raise CorruptFile(f"it is of entry {index.tag}, its name says {sequence}")
        if sequence > self._store.counters.sequence:
            raise CorruptFile(
                f"it is ahead of the log, which ends at {self._store.counters.sequence}"
            )
        wanted = self._empty(dim)
        if (index.dim, index.metric, index.params) != (dim, wanted.metric, wanted.params):
            raise CorruptFile("it has another dimension, metric or parameters than the tenant")
        return index

    def _keep_curves(self, index: Index) -> None:
        """Keep what was measured of recall, so that nobody measures it again after opening."""
        curves = index.calibration()
        if not curves or (self.sequence, curves) == self._kept:
            return
        try:
            write_curves(self._directory / CURVES, self.sequence, curves)
            self._kept = (self.sequence, curves)
        except (StorageError, OSError) as error:
            _LOG.warning("tenant %s: recall curves are not kept: %s", self._config.id, error)

    def _adopt_curves(self, index: Index, sequence: int) -> None:
        """Take over what was measured of a snapshot's index; else it is measured anew."""
        try:
            index.adopt_calibration(read_curves(self._directory / CURVES, sequence))
            self._kept = (sequence, index.calibration())
        except (LlmspellError, OSError) as error:
            _LOG.warning("tenant %s: recall curves are not used: %s", self._config.id, error)

    def _replay(self, sequence: int) -> None:
        """Follow the log from a snapshot on; only what is left in the end is added."""
        assert self.index is not None
        removed: list[NDArray[np.uint64]] = []
        added: list[range] = []
        for change in self._store.changes(sequence):
            removed.append(change.removed)
            added.append(range(change.first, change.first + change.added))
        if removed:
            gone = np.concatenate(removed)
            dead = set(gone.tolist())
            # First, so that searches beside it miss no record that was replaced.
            self._add(
                row for rows in added for row in rows if row not in dead and row not in self.index
            )
            self.index.delete(gone.astype(np.int64))
            self._refused -= dead
            self._pending += len(gone) + sum(map(len, added))
        if len(self.index) + len(self._refused) != self._store.counters.vectors:
            raise CorruptFile(
                f"with the log it gives {len(self.index)} vectors, "
                f"there are {self._store.counters.vectors}"
            )
        self.sequence = self._store.counters.sequence

    def _add(self, rows: Iterable[int]) -> None:
        for batch in _batches(rows):
            found = zip(batch, self._store.vectors(batch), strict=True)
            self._add_vectors((row, vector) for row, vector in found if vector is not None)

    def _rebuild(self, dim: int) -> None:
        self.index = self._empty(dim)
        self._refused.clear()
        if self._store.counters.vectors:
            _LOG.warning(
                "tenant %s: building the index from its %d records (%s)",
                self._config.id,
                self._store.counters.vectors,
                self._directory,
            )
        self._pending = self._store.counters.vectors
        for batch in _batches(self._store.all_vectors()):
            self._add_vectors(batch)
        if len(self.index) + len(self._refused) != self._store.counters.vectors:
            raise CorruptFile(
                f"{self._directory}: {len(self.index)} records, "
                f"the counters say {self._store.counters.vectors}"
            )
        self.sequence = self._store.counters.sequence

    def _add_vectors(self, found: Iterable[tuple[int, NDArray[np.float32]]]) -> None:
        assert self.index is not None
        pairs = list(found)
        if not pairs:
            return
        try:
            check_rows(np.stack([vector for _, vector in pairs]), self._config.metric)
        except (NonFiniteVector, ZeroVector):
            # Earlier versions committed what the index refuses; the rest must be found.
            pairs = [pair for pair in pairs if self._fits(*pair)]
        if pairs:
            rows = np.array([row for row, _ in pairs], dtype=np.int64)
            self.index.add(rows, np.stack([vector for _, vector in pairs]))

    def _fits(self, row: int, vector: NDArray[np.float32]) -> bool:
        try:
            check_rows(vector[np.newaxis], self._config.metric)
        except (NonFiniteVector, ZeroVector) as error:
            self._leave_out([row], str(error))
            return False
        return True

    def _leave_out(self, rows: Sequence[int], why: str) -> None:
        """Keep records that no search can find, so that they can be read and deleted."""
        self._refused.update(rows)
        found = zip(rows[:NAMED], self._store.fetch(rows[:NAMED]), strict=True)
        ids = [decode_id(StoredRecord(row, raw).key) for row, raw in found if raw is not None]
        _LOG.warning(
            "tenant %s: %d record(s) left out of the index, such as %s: %s. Replace or delete them",
            self._config.id,
            len(rows),
            ", ".join(map(repr, ids)),
            why,
        )

    def _empty(self, dim: int) -> Index:
        return Index(dim=dim, metric=self._config.metric, params=self._config.index)

    def _path(self, sequence: int) -> Path:
        return self._directory / f"index-{sequence:016x}.snap"

    def _snapshots(self) -> list[int]:
        """Sequence numbers of the snapshots that are there, newest first."""
        found = []
        for path in self._directory.glob("index-*.snap"):
            try:
                found.append(int(path.stem.removeprefix("index-"), 16))
            except ValueError:
                _LOG.warning("%s is not a snapshot of this release", path)
        return sorted(found, reverse=True)


_T = TypeVar("_T")


def _batches(items: Iterable[_T]) -> Iterator[list[_T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, BATCH_ROWS)):
        yield batch
