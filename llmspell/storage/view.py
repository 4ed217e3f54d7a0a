"""The vector index of a tenant as a view of its log, and the snapshots that it opens from.

A snapshot holds the index and, as its tag, the sequence number of the log that it has reached.
Opening takes the newest one that holds, replays the log behind it, and builds the index from the
records where there is none: a damaged snapshot costs time and never data.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from llmspell._hot import Position
from llmspell.config import TenantConfig
from llmspell.errors import CorruptFile, LlmspellError, StorageError
from llmspell.index import Index, RecallCurve
from llmspell.storage.batches import in_batches
from llmspell.storage.curves import read_curves, write_curves
from llmspell.storage.index_file import empty_index, load_index
from llmspell.storage.log import Change, Counters
from llmspell.storage.snapshots import LEXICAL, PAYLOAD, Snapshots, reached
from llmspell.storage.store import LogTail, TenantStore

__all__ = ["VectorView"]

_LOG = logging.getLogger("llmspell")
#: Fewer records take a moment, and after a kill every small tenant is built when it is next opened.
_WORTH_A_WARNING = 1_000

#: A snapshot is due when so many rows changed behind the last one, and a fifth of the index did.
SNAPSHOT_ROWS: Final = 20_000
SNAPSHOT_SHARE: Final = 0.2

#: Snapshots of so many bytes are checked whole when they are opened, which takes a few ms. Blocks
#: of larger ones are checked when searches first come to them, the rest before the first change.
CHECKED_AT_ONCE: Final = 4 << 20

#: One file, of the newest snapshot: see :mod:`llmspell.storage.curves`.
CURVES: Final = "recall.json"
#: Entries of the log that are kept for the snapshot of another view alone.
VIEW_LAG: Final = 10_000
ATTEMPTS: Final = 3


class VectorView:
    """Keeps an :class:`Index` in step with a store.

    ``index`` may be searched from any thread; the methods are for one thread at a time.

    Attributes:
        counters: of the store, as they were at the entry of the log that the view has reached.
    """

    __slots__ = (
        "_config",
        "_directory",
        "_has_rejected",
        "_kept",
        "_left_out",
        "_pending",
        "_position",
        "_snapshots",
        "_store",
        "_unchecked",
        "counters",
    )

    def __init__(
        self,
        directory: Path,
        store: TenantStore,
        config: TenantConfig,
        now_us: int,
        position: Position,
    ) -> None:
        """Open the view at the state of the store.

        Args:
            now_us: records that have expired by then are left out.
            position: has the index, from now on.

        Raises:
            CorruptFile: a record that the index needs is damaged.
        """
        self._directory = directory
        self._store = store
        self._config = config
        self._snapshots = Snapshots(directory)
        self._pending = 0
        self._has_rejected = False
        #: The snapshot that the index was opened from, while not all of it has been checked.
        self._unchecked: int | None = None
        self._kept: tuple[int, tuple[RecallCurve, ...]] | None = None
        self._left_out: set[int] = set()
        self.counters = Counters()
        self._position = position
        self._snapshots.sweep()
        for path in self._snapshots.remove_ahead(lambda: store.counters().sequence):
            _LOG.warning(
                "tenant %s: snapshot %s is not used: it is ahead of the log", config.id, path
            )
        self.reload(now_us)

    @property
    def index(self) -> Index | None:
        """The index as far as it has come; None until the first vectors are written."""
        index: Index | None = self._position.index
        return index

    @index.setter
    def index(self, index: Index) -> None:
        self._position.index = index

    @property
    def sequence(self) -> int:
        """Of the entry of the log that the view has reached."""
        return self.counters.sequence

    @property
    def expired(self) -> list[int]:
        """Rows that the store still has and the index hasn't any more, for they expired."""
        return list(self._left_out)

    @property
    def is_checked(self) -> bool:
        """Whether :meth:`check` has nothing to do."""
        return self._unchecked is None

    @property
    def is_snapshot_due(self) -> bool:
        """Whether much has changed behind the last snapshot, or opening could not use one."""
        pending = self._pending
        return self._has_rejected or (
            pending >= SNAPSHOT_ROWS and pending >= SNAPSHOT_SHARE * self.counters.vectors
        )

    def add(self, first: int, vectors: NDArray[np.float32]) -> None:
        """Add the rows of a write that the store has committed.

        Args:
            first: the first of the rows, which are consecutive.
            vectors: (added, dim).
        """
        index = self.index
        if index is None:
            index = self.index = empty_index(vectors.shape[1], self._config)
        index.add(range(first, first + len(vectors)), vectors)

    def finish(self, change: Change, counters: Counters) -> None:
        """Remove what that write removed: the view has followed it then."""
        removed = len(change.removed)
        if removed:
            if self.index is not None:
                self.index.delete(change.removed.astype(np.int64))
            self._left_out.difference_update(change.removed.tolist())
        self.counters = counters
        self._pending += change.added + removed

    def expire(self, rows: Sequence[int]) -> None:
        """Leave out rows that have expired; the store may have them still."""
        if self.index is not None and len(rows):
            self.index.delete(np.array(rows, dtype=np.int64))
            self._left_out.update(rows)

    def follow(self, tail: LogTail) -> bool:
        """Follow the log from where the view stands, also where a write was followed by halves.

        Returns:
            False where it doesn't reach back that far: :meth:`reload` does it then.

        Raises:
            CorruptFile: log and records don't fit together.
        """
        missing: set[int] = set()
        while tail.changes is not None:
            dead, absent = self._apply(tail.changes, tail.counters.dim)
            # A row may go between the reading of the log and that of its vector; the log says so.
            if missing - dead:
                raise CorruptFile(f"vector {min(missing - dead)}: missing")
            self.counters = tail.counters
            if not absent:
                self._check()
                return True
            missing = absent
            tail = self._store.tail(self.sequence)
        return False

    def check(self, now_us: int) -> bool:
        """Check the rest of the snapshot, and open the view anew where that is damaged.

        Returns:
            Whether it was opened anew.
        """
        sequence = self._unchecked
        if sequence is None or self.index is None:
            return False
        try:
            self.index.verify()
        except (CorruptFile, StorageError) as error:
            self._reject(sequence, error)
            self.reload(now_us)
            return True
        self._unchecked = None
        return False

    def reload(self, now_us: int) -> None:
        """Open the view anew, from a snapshot or the records."""
        dim = self._store.counters().dim
        if not dim:
            self.counters = self._store.counters()._replace(sequence=0)
            return
        for _ in range(ATTEMPTS):
            there = self._snapshots.sequences()
            if any(self._open(sequence, now_us) for sequence in self._snapshots.usable()):
                return
            # Another process may have replaced them meanwhile.
            if self._snapshots.sequences() == there and self._rebuild(dim, now_us):
                return
        raise StorageError(f"{self._directory}: other processes write faster than this one reads")

    def snapshot(self) -> None:
        """Save the index, keep the snapshot before it, and trim the log behind that.

        A failure is a warning: the data is safe without a snapshot.
        """
        if self.index is not None and self._pending:
            self._save(self.index)
        self.keep_curves()

    def renew(self, damaged: Iterable[int]) -> None:
        """Save the index where it stands, and remove snapshots of it that are damaged."""
        for sequence in damaged:
            self._snapshots.reject(sequence)
        if self.index is not None:
            self._save(self.index)

    def forget_kept(self) -> None:
        """Note that the file of recall curves is gone."""
        self._kept = None

    def keep_curves(self) -> None:
        """Keep what was measured of recall, so that nobody measures it again after opening."""
        curves = () if self.index is None else self.index.calibration()
        if not curves or self._pending or (self.sequence, curves) == self._kept:
            return
        try:
            with self._snapshots.writing() as is_ours:
                if is_ours:
                    write_curves(self._directory / CURVES, self.sequence, curves)
                    self._kept = (self.sequence, curves)
        except (StorageError, OSError) as error:
            self._snapshots.report(self._config.id, "recall curves are not kept", error)

    def _save(self, index: Index) -> None:
        try:
            with self._snapshots.writing() as is_ours:
                if not is_ours:
                    return
                index.save(self._snapshots.path(self.sequence), tag=self.sequence)
                needed = self._snapshots.keep_newest(self.sequence)
                if needed is not None:
                    self._store.trim(self._others_need(needed))
        except (StorageError, OSError) as error:
            what = f"snapshot in {self._directory} failed"
            self._snapshots.report(self._config.id, what, error)
        self._pending = 0
        self._has_rejected = False

    def _others_need(self, upto: int) -> int:
        """What of the log up to an entry the snapshots of other views don't need either.

        One that lags far behind, for nobody has asked its view since, is removed instead.
        """
        least = upto
        for path in (self._directory / PAYLOAD, self._directory / LEXICAL):
            try:
                with path.open("rb") as file:
                    sequence = reached(path.name, file)
            except FileNotFoundError:
                continue  # there is none, or a scrub removes a damaged one just now
            if sequence is not None and sequence >= upto - VIEW_LAG:
                least = min(sequence, least)
            else:
                path.unlink(missing_ok=True)
        return least

    def _open(self, sequence: int, now_us: int) -> bool:
        path = self._snapshots.path(sequence)
        self._pending = 0
        self._unchecked = None
        # Before the log: what is removed later is in it.
        due, _ = self._store.expiring(0, now_us)
        try:
            is_checked = path.stat().st_size <= CHECKED_AT_ONCE
            index = self.index = load_index(
                path, self._config, self._store.counters, is_checked=is_checked
            )
            self._unchecked = None if is_checked else sequence
            self._left_out = set()
            self.expire(due)
            self.counters = Counters(sequence=sequence)
            if not self.follow(self._store.tail(sequence)):
                raise CorruptFile("the log doesn't go back to it")
        except (LlmspellError, OSError) as error:
            if path.exists():
                self._reject(sequence, error)
            return False
        self._adopt_curves(index, sequence)
        return True

    def _reject(self, sequence: int, error: Exception) -> None:
        path = self._snapshots.path(sequence)
        _LOG.warning("tenant %s: snapshot %s is not used: %s", self._config.id, path, error)
        self._snapshots.reject(sequence)
        self._has_rejected = True

    def _adopt_curves(self, index: Index, sequence: int) -> None:
        """Take over what was measured of a snapshot's index; else it is measured anew."""
        try:
            index.adopt_calibration(read_curves(self._directory / CURVES, sequence))
            self._kept = (sequence, index.calibration())
        except (LlmspellError, OSError) as error:
            _LOG.warning("tenant %s: recall curves are not used: %s", self._config.id, error)

    def _apply(self, changes: Sequence[Change], dim: int) -> tuple[set[int], set[int]]:
        """Add and remove rows; only what is left in the end is added.

        Returns:
            Rows that went, and rows that came and whose vectors are not there.
        """
        if self.index is None and dim:
            self.index = empty_index(dim, self._config)
        if self.index is None or not changes:
            return set(), set()
        gone = np.concatenate([change.removed for change in changes])
        dead = set(gone.tolist())
        # First, so that searches beside it miss no record that was replaced.
        absent = self._add(
            row
            for change in changes
            for row in range(change.first, change.first + change.added)
            if row not in dead and row not in self.index and row not in self._left_out
        )
        self.index.delete(gone.astype(np.int64))
        self._left_out -= dead
        self._left_out |= absent
        self._pending += len(gone) + sum(change.added for change in changes)
        return dead, absent

    def _add(self, rows: Iterable[int]) -> set[int]:
        absent: set[int] = set()
        for batch in in_batches(rows):
            found = list(zip(batch, self._store.vectors(batch), strict=True))
            self._add_vectors([(row, vector) for row, vector in found if vector is not None])
            absent.update(row for row, vector in found if vector is None)
        return absent

    def _rebuild(self, dim: int, now_us: int) -> bool:
        self._unchecked = None
        self.index = empty_index(dim, self._config)
        counters = self._store.counters()
        due, _ = self._store.expiring(0, now_us)
        self._left_out = set(due)
        if counters.vectors:
            _LOG.log(
                logging.WARNING if counters.vectors >= _WORTH_A_WARNING else logging.INFO,
                "tenant %s: building the index from its %d records (%s)",
                self._config.id,
                counters.vectors,
                self._directory,
            )
        self._pending = counters.vectors
        self._has_rejected = counters.vectors > 0
        for batch in in_batches(self._store.all_vectors()):
            self._add_vectors([pair for pair in batch if pair[0] not in self._left_out])
        self.counters = counters
        return self.follow(self._store.tail(counters.sequence))

    def _add_vectors(self, pairs: Sequence[tuple[int, NDArray[np.float32]]]) -> None:
        assert self.index is not None
        if pairs:
            rows = np.array([row for row, _ in pairs], dtype=np.int64)
            self.index.add(rows, np.stack([vector for _, vector in pairs]))

    def _check(self) -> None:
        found = 0 if self.index is None else len(self.index)
        if found + len(self._left_out) != self.counters.vectors:
            raise CorruptFile(
                f"with the log it gives {found} vectors, there are {self.counters.vectors}"
            )
