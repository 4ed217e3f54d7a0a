"""The durable part of a tenant: log, records, ids, documents and counters in one environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from llmspell.errors import ClosedError, CorruptFile, UnsupportedFormat
from llmspell.quota import Quota, Reservation, Slot
from llmspell.storage.batch import (
    COUNTERS,
    DATABASES,
    DOCUMENTS,
    IDS,
    LOG,
    META,
    RECORDS,
    VECTORS,
    Applied,
    Batch,
    Put,
    StoredDocument,
)
from llmspell.storage.codec import (
    FORMAT,
    Change,
    Counters,
    StoredRecord,
    decode_vector,
    pack_checked,
    pack_rowid,
    unpack_checked,
    unpack_rowid,
)
from llmspell.storage.environment import Environment, Transaction

__all__ = ["TenantStore"]

_ABOUT: Final = b"about"


class TenantStore:
    """Log, records and counters of a tenant; every write is one durable transaction.

    Reads are thread-safe. Writes are for one thread at a time.
    """

    def __init__(self, path: Path, slot: Slot, *, map_size: int) -> None:
        """Open the store, and set the ledger's levels to what it holds.

        Raises:
            CorruptFile: it is missing or damaged.
            UnsupportedFormat: a later release made it.
        """
        self._env = Environment(path, DATABASES, map_size=map_size)
        self._slot = slot
        self._records = self._env.databases[RECORDS]
        self._vectors = self._env.databases[VECTORS]
        try:
            with self._env.read() as txn:
                about = unpack_checked("store", self._get(txn, META, _ABOUT))
                if about["format"] != FORMAT:
                    raise UnsupportedFormat(f"{path}: version {about['format']}, expected {FORMAT}")
                self.counters = Counters.decode(self._get(txn, META, COUNTERS))
            self._set_levels(self.counters)
        except BaseException:
            self._env.close()
            raise

    @staticmethod
    def create(path: Path) -> None:
        """Make an empty store, durable before it has its name."""

        def fill(txn: Transaction, databases: dict[bytes, Any]) -> None:
            txn.put(_ABOUT, pack_checked({"format": FORMAT}), db=databases[META])
            txn.put(COUNTERS, Counters().encode(), db=databases[META])

        Environment.create(path, DATABASES, fill)

    # --- reads

    def fetch(self, rowids: Sequence[int]) -> list[bytes | None]:
        """Records of some rows, as one moment shows them; None where a row is gone."""
        return self._env.get_many(self._records, list(map(pack_rowid, rowids)))

    def get(self, keys: Sequence[bytes]) -> list[tuple[StoredRecord, NDArray[np.float32]] | None]:
        """Records and vectors of some ids, as one moment shows them; None for a missing id."""
        with self._env.read() as txn:
            rows = [self._get(txn, IDS, key) for key in keys]
            return [None if row is None else self._whole(txn, row) for row in rows]

    def vectors(self, rowids: Sequence[int]) -> list[NDArray[np.float32] | None]:
        """Vectors of some rows, as one moment shows them; None where a row is gone."""
        raws = self._env.get_many(self._vectors, list(map(pack_rowid, rowids)))
        return [
            None if raw is None else decode_vector(rowid, raw)
            for rowid, raw in zip(rowids, raws, strict=True)
        ]

    def document(self, document_id: str) -> StoredDocument | None:
        """An ingested document."""
        raw = self._env.get_many(self._env.databases[DOCUMENTS], (document_id.encode(),))[0]
        return None if raw is None else StoredDocument.decode(raw)

    def records(self) -> Iterator[StoredRecord]:
        """All records in the order of their rows, as one moment shows them."""
        with self._env.read() as txn, txn.cursor(self._records) as cursor:
            for key, raw in cursor.iternext():
                yield StoredRecord(unpack_rowid(key)[0], raw)

    def all_vectors(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """All rows with their vectors in the order of the rows, as one moment shows them."""
        with self._env.read() as txn, txn.cursor(self._vectors) as cursor:
            for key, raw in cursor.iternext():
                rowid = unpack_rowid(key)[0]
                yield rowid, decode_vector(rowid, raw)

    def changes(self, after: int) -> Iterator[Change]:
        """Entries of the log behind a sequence number.

        Raises:
            CorruptFile: the log doesn't go back that far, or an entry is damaged.
        """
        expected = after
        with self._env.read() as txn, txn.cursor(self._env.databases[LOG]) as cursor:
            if cursor.set_range(pack_rowid(after + 1)):
                for key, raw in cursor.iternext():
                    expected += 1
                    sequence = unpack_rowid(key)[0]
                    if sequence != expected:
                        raise CorruptFile(f"log: entry {expected} is missing")
                    yield Change.decode(sequence, raw)
        if expected < self.counters.sequence:
            raise CorruptFile(f"log: entry {expected + 1} is missing")

    # --- writes

    def apply(
        self,
        *,
        puts: Sequence[Put] = (),
        removes: Sequence[bytes] = (),
        documents: Mapping[str, StoredDocument | None] | None = None,
        dim: int = 0,
    ) -> Applied:
        """Write a batch: all of it, durably, or nothing.

        Args:
            puts: records; each replaces what has its key. Keys differ from each other.
            removes: keys of records to remove; missing ones are passed over.
            documents: by id, what to store (``first`` counted from the first of ``puts``) or None
                to remove it. The chunks that a document had so far are removed.
            dim: of the vectors in ``puts``.

        Raises:
            QuotaExceeded: nothing was written or charged.
            StorageFull: the map or the disk is full; nothing was written or charged.
            BaseException: from elsewhere, as KeyboardInterrupt; :meth:`refresh` tells what holds.
        """
        reservation: Reservation | None = None
        before = self.counters

        def write(txn: Transaction) -> tuple[Applied, Counters]:
            nonlocal reservation
            batch = Batch(txn, self._env.databases, before)
            batch.remove_documents(documents or {})
            batch.remove_keys(removes)
            created = batch.remove_keys(put.key for put in puts)
            if not puts and not any((documents or {}).values()) and not batch.has_removed:
                return Applied(Change(before.next_rowid, 0, np.empty(0, np.uint64)), []), before
            after = batch.counted(puts, documents or {}, dim)
            reservation = self._slot.reserve(
                documents=max(after.documents - before.documents, 0),
                vectors=max(after.vectors - before.vectors, 0),
                storage=max(after.storage - before.storage, 0),
            )
            return batch.write(puts, created, documents or {}, after), after

        try:
            applied, after = self._env.write(write)
            if reservation is None:
                return applied
            # The tenant may have been dropped from under the ledger; the data is what counts.
            with suppress(ClosedError):
                reservation.settle()
                self._slot.refund(Quota.DOCUMENTS, max(before.documents - after.documents, 0))
                self._slot.refund(Quota.VECTORS, max(before.vectors - after.vectors, 0))
                self._slot.refund(Quota.STORAGE, max(before.storage - after.storage, 0))
        except BaseException:
            if reservation is not None:
                reservation.cancel()
            raise
        # Last: where it stays behind, :meth:`refresh` sets the levels.
        self.counters = after
        return applied

    def refresh(self) -> None:
        """Take the counters from the environment, after a write that may have been cut short."""
        with self._env.read() as txn:
            found = Counters.decode(self._get(txn, META, COUNTERS))
        if found != self.counters:
            self._set_levels(found)
            self.counters = found

    def trim(self, upto: int) -> None:
        """Remove the log up to and with a sequence number; no snapshot needs it any more."""
        last = pack_rowid(upto)

        def trim(txn: Transaction) -> None:
            with txn.cursor(self._env.databases[LOG]) as cursor:
                cursor.first()
                while (key := cursor.key()) and key <= last:
                    cursor.delete()

        self._env.write(trim)

    def close(self) -> None:
        """Close it when the reads under way have ended."""
        self._env.close()

    def _set_levels(self, counters: Counters) -> None:
        self._slot.set_level(Quota.DOCUMENTS, counters.documents)
        self._slot.set_level(Quota.VECTORS, counters.vectors)
        self._slot.set_level(Quota.STORAGE, counters.storage)

    def _get(self, txn: Transaction, database: bytes, key: bytes) -> bytes | None:
        return txn.get(key, db=self._env.databases[database])

    def _whole(self, txn: Transaction, row: bytes) -> tuple[StoredRecord, NDArray[np.float32]]:
        rowid = unpack_rowid(row)[0]
        raw = txn.get(row, db=self._records)
        if raw is None:
            raise CorruptFile(f"record {rowid}: its id is there, but it is not")
        return StoredRecord(rowid, raw), decode_vector(rowid, txn.get(row, db=self._vectors))
