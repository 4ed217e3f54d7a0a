"""The payload index of a tenant as a view of its log, and the snapshot that it opens from."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmspell.config import TenantConfig
from llmspell.errors import CorruptFile, LlmspellError, StorageError
from llmspell.index import IdBitmap
from llmspell.storage.batches import in_batches
from llmspell.storage.codec import unpack
from llmspell.storage.filters import Filter
from llmspell.storage.log import Change
from llmspell.storage.payload import PayloadIndex
from llmspell.storage.record import StoredRecord
from llmspell.storage.snapshots import PAYLOAD
from llmspell.storage.store import TenantStore

__all__ = ["PayloadView"]

_LOG = logging.getLogger("llmspell")


class PayloadView:
    """Keeps a :class:`PayloadIndex` in step with a store.

    Questions may come from any thread; the other methods are for one thread at a time.
    """

    __slots__ = ("_config", "_index", "_path", "_saved", "_sequence", "_store")

    def __init__(
        self, directory: Path, store: TenantStore, config: TenantConfig, sequence: int
    ) -> None:
        """Open the view at an entry of the log; the index is built where no snapshot holds.

        Raises:
            CorruptFile: a record is damaged.
        """
        self._path = directory / PAYLOAD
        self._store = store
        self._config = config
        self._saved = -1
        index = self._load(sequence)
        self._index = self._build() if index is None else index
        self._sequence = sequence

    def add(self, change: Change, metadata: Sequence[Mapping[str, Any]]) -> None:
        """Follow a write of this process, with the metadata of the records that it added."""
        index = self._index
        index.add_many(range(change.first, change.first + change.added), metadata)
        self._finish(index, [change])

    def follow(self, changes: Sequence[Change], last: int) -> None:
        """Follow entries of the log, of which ``last`` is the sequence number of the last."""
        fresh = max(last - self._sequence, 0)
        if fresh:
            self._replay(self._index, changes[-fresh:])

    def allowed(self, condition: Filter) -> IdBitmap | NDArray[np.uint64]:
        """As :meth:`PayloadIndex.allowed`."""
        return self._index.allowed(condition)

    def matching(self, condition: Filter) -> NDArray[np.int64]:
        """As :meth:`PayloadIndex.matching`."""
        return self._index.matching(condition)

    def rebuild(self, error: CorruptFile) -> None:
        """Build the index from the records: a field of the snapshot, just read, is damaged."""
        self._warn(error)
        self._index = self._build()
        self._saved = -1

    def snapshot(self) -> None:
        """Save the index; a failure is a warning: it can be built from the records."""
        if self._saved == self._sequence:
            return
        try:
            self._index.save(self._path, self._sequence)
            self._saved = self._sequence
        except (LlmspellError, OSError) as error:
            if self._path.parent.is_dir():  # another process may have dropped the tenant
                _LOG.warning(
                    "tenant %s: snapshot %s failed: %s", self._config.id, self._path, error
                )

    def _load(self, sequence: int) -> PayloadIndex | None:
        if not self._path.exists():
            return None
        try:
            index = PayloadIndex.load(self._path, self._config.schema)
            saved = index.sequence
            tail = self._store.tail(saved)
            if saved > sequence or tail.changes is None:
                raise StorageError("the log doesn't go from it to its end")
            self._sequence = saved
            self._replay(index, tail.changes[: sequence - saved])
        except (LlmspellError, OSError) as error:
            self._warn(error)
            return None
        self._saved = saved
        return index

    def _build(self) -> PayloadIndex:
        index = PayloadIndex(self._config.schema)
        for batch in in_batches(self._store.records()):
            index.add_many(
                [record.rowid for record in batch], [record.metadata for record in batch]
            )
        return index

    def _replay(self, index: PayloadIndex, changes: Sequence[Change]) -> None:
        """Add and remove rows; what has gone since is passed over."""
        dead = {row for change in changes for row in change.removed.tolist()}
        for batch in in_batches(
            row
            for change in changes
            for row in range(change.first, change.first + change.added)
            if row not in dead
        ):
            found = zip(batch, self._store.fetch(batch), strict=True)
            records = [StoredRecord(row, raw) for row, raw in found if raw is not None]
            index.add_many(
                [record.rowid for record in records], [record.metadata for record in records]
            )
        self._finish(index, changes)

    def _finish(self, index: PayloadIndex, changes: Sequence[Change]) -> None:
        for change in changes:
            # In the order of the log, so that the last one stands in the end, also where the record
            # as it was read above is newer.
            for update in change.updates:
                index.remove(update.row, unpack(update.before))
                index.add(update.row, unpack(update.after))
            index.remove_rows(change.removed.tolist())
        self._sequence += len(changes)

    def _warn(self, error: Exception) -> None:
        # Not the error itself: a record that is kept would keep the open file in its traceback.
        reason = str(error)
        _LOG.warning("tenant %s: snapshot %s is not used: %s", self._config.id, self._path, reason)
