"""The lexical index of a tenant as a view of its log, and the snapshot that it opens from."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from llmspell.config import TenantConfig
from llmspell.errors import ClosedError, LlmspellError, StorageError
from llmspell.storage.batches import in_batches
from llmspell.storage.lexical.analyzer import Analyzer
from llmspell.storage.lexical.snapshot_file import read_lexical, write_lexical
from llmspell.storage.lexical.text_index import TextIndex, about_engine
from llmspell.storage.lexical.text_searcher import Scored
from llmspell.storage.lexical.workplace import Workplace
from llmspell.storage.log import Change
from llmspell.storage.record import StoredRecord
from llmspell.storage.snapshots import LEXICAL, Snapshots
from llmspell.storage.store import TenantStore

__all__ = ["LexicalView"]

_LOG = logging.getLogger("llmspell")

#: Beside writers that are faster than this one reads.
ATTEMPTS: Final = 3


class LexicalView:
    """Keeps a :class:`TextIndex` in step with a store. Thread-safe.

    It follows the log when it is asked, not with each write: a commit of the engine costs ten
    milliseconds and more, whatever is in it. Texts are kept by row, as vectors are, so that it
    doesn't matter under which id or in which document a record stands.
    """

    __slots__ = (
        "_config",
        "_directory",
        "_index",
        "_is_closed",
        "_lock",
        "_saved",
        "_store",
        "_workplace",
        "sequence",
    )

    def __init__(self, directory: Path, store: TenantStore, config: TenantConfig) -> None:
        """Describe the view of a room; it opens when it is first asked to reach something."""
        self._directory = directory
        self._store = store
        self._config = config
        self._lock = threading.RLock()
        self._is_closed = False
        self._saved = -1
        self._workplace: Workplace | None = None
        self._index: TextIndex | None = None
        #: Of the entry of the log that it has reached; -1 while it isn't open.
        self.sequence = -1

    def reach(self, sequence: int) -> None:
        """Open where it isn't, from the snapshot or the records, and follow the log to an entry.

        Raises:
            ClosedError: the view is closed.
            CorruptFile: a record is damaged.
            MissingDependency: the extra ``lexical`` isn't installed.
            StorageError: the index can't be made or written.
        """
        if self.sequence >= sequence and not self._is_closed:
            return
        with self._lock:
            try:
                self._require_open()
                if self.sequence < 0:
                    self._open()
                elif self.sequence < sequence:
                    self._follow()
                if self._opened().is_worn(self._text_of):
                    self._build(self._opened())
            except BaseException:
                # What the engine has by now is anyone's guess.
                self.close()
                raise

    def terms(self, text: str) -> list[str]:
        """Terms of a query."""
        return self._opened().analyzer.terms(text)

    @property
    def analyzer(self) -> Analyzer:
        """What makes terms of texts."""
        return self._opened().analyzer

    def most(self, terms: Sequence[str]) -> float:
        """As :meth:`TextSearcher.most`."""
        return self._opened().most(terms)

    def search(
        self,
        terms: Sequence[str],
        limit: int,
        *,
        allowed: NDArray[np.int64] | None,
        refused: NDArray[np.int64] | None,
    ) -> Scored:
        """As :meth:`TextSearcher.search`; raises ClosedError where the view is closed."""
        try:
            return self._opened().search(terms, limit, allowed=allowed, refused=refused)
        except StorageError:
            if self._is_closed:
                raise ClosedError(f"{self._directory}: closed") from None
            raise

    def snapshot(self) -> None:
        """Save the index, unless it is being followed, or another process writes snapshots now.

        A failure is a warning: it can be built from the records.
        """
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._is_closed or self._index is None or self._saved == self.sequence:
                return
            snapshots = Snapshots(self._directory)
            path = self._directory / LEXICAL
            try:
                with snapshots.writing() as is_ours:
                    if is_ours:
                        write_lexical(path, self.sequence, about_engine(), self._index.files())
                        self._saved = self.sequence
            except (LlmspellError, OSError) as error:
                snapshots.report(self._config.id, f"snapshot {path} failed", error)
        finally:
            self._lock.release()

    @property
    def has_snapshot(self) -> bool:
        """Whether it was opened from a snapshot, or has saved one."""
        return self._saved >= 0

    @property
    def is_closed(self) -> bool:
        """Whether it is of no use any more."""
        return self._is_closed

    def close(self) -> None:
        """Remove this process's copy of the index; what builds or follows it stops first."""
        self._is_closed = True
        with self._lock:
            if self._workplace is not None:
                self._workplace.close()

    def _opened(self) -> TextIndex:
        index = self._index
        if index is None or self._is_closed:
            raise ClosedError(f"{self._directory}: closed")
        return index

    def _require_open(self) -> None:
        if self._is_closed:
            raise ClosedError(f"{self._directory}: closed")

    def _open(self) -> None:
        about_engine()  # raises MissingDependency before anything is made
        self._workplace = Workplace(self._directory)
        if (self._directory / LEXICAL).exists() and self._load(self._workplace.path):
            return
        self._workplace.close()
        self._workplace = Workplace(self._directory)
        self._index = TextIndex(self._workplace.path)
        self._build(self._index)

    def _load(self, into: Path) -> bool:
        path = self._directory / LEXICAL
        try:
            saved = read_lexical(path, about_engine(), into)
            tail = self._store.tail(saved)
            if tail.changes is None:
                raise StorageError("the log doesn't go from it to its end")
            index = TextIndex(into)
            self._replay(index, tail.changes)
        except ClosedError:
            raise
        except (LlmspellError, OSError) as error:
            if path.exists():
                # Not the error itself: a record that is kept would keep what its frames hold.
                reason = str(error)
                _LOG.warning(
                    "tenant %s: snapshot %s is not used: %s", self._config.id, path, reason
                )
            return False
        self._index, self._saved = index, saved
        self.sequence = tail.counters.sequence
        return True

    def _follow(self) -> None:
        index = self._opened()
        tail = self._store.tail(self.sequence)
        if tail.changes is None:
            self._build(index)
            return
        self._replay(index, tail.changes)
        self.sequence = tail.counters.sequence

    def _build(self, index: TextIndex) -> None:
        for _ in range(ATTEMPTS):
            # Rows that come behind this are in the log as well, and are added from there alone.
            counters = self._store.counters()
            index.apply(self._texts_before(counters.next_rowid), (), anew=True)
            tail = self._store.tail(counters.sequence)
            if tail.changes is not None:
                self._replay(index, tail.changes)
                self.sequence = tail.counters.sequence
                self._saved = -1
                return
        raise StorageError(f"{self._directory}: other processes write faster than this one reads")

    def _texts_before(self, rowid: int) -> Iterator[tuple[int, str]]:
        for record in self._store.records():
            self._require_open()
            if record.rowid >= rowid:
                return
            if record.text is not None:
                yield record.rowid, record.text

    def _text_of(self, row: int) -> str | None:
        (raw,) = self._store.fetch([row])
        return None if raw is None else StoredRecord(row, raw).text

    def _replay(self, index: TextIndex, changes: Sequence[Change]) -> None:
        """Add and remove rows; metadata that changed is nothing to this view."""
        removed = [row for change in changes for row in change.removed.tolist()]
        dead = set(removed)
        added = [
            row
            for change in changes
            for row in range(change.first, change.first + change.added)
            if row not in dead
        ]
        if added or removed:
            index.apply(self._texts(added), removed)

    def _texts(self, rows: Sequence[int]) -> Iterator[tuple[int, str]]:
        for batch in in_batches(rows):
            self._require_open()
            for row, raw in zip(batch, self._store.fetch(batch), strict=True):
                # One that has gone since is in the log behind what is replayed here.
                record = None if raw is None else StoredRecord(row, raw)
                if record is not None and record.text is not None:
                    yield row, record.text
