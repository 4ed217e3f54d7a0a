"""The durable part of a tenant: log, records, ids, documents and counters in one environment."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmspell.errors import ClosedError, CorruptFile, UnsupportedFormat
from llmspell.quota import Quota, Reservation, Slot
from llmspell.storage.codec import (
    FORMAT,
    Change,
    Counters,
    StoredRecord,
    decode_vector,
    encode_vector,
    pack_checked,
    pack_rowid,
    unpack,
    unpack_checked,
    unpack_rowid,
)
from llmspell.storage.environment import Environment, Transaction

__all__ = ["Applied", "Put", "StoredDocument", "TenantStore"]

_LOG: Final = b"log"
_RECORDS: Final = b"records"
_VECTORS: Final = b"vectors"
_IDS: Final = b"ids"
_DOCUMENTS: Final = b"documents"
_META: Final = b"meta"
_DATABASES: Final = (_LOG, _RECORDS, _VECTORS, _IDS, _DOCUMENTS, _META)
_COUNTERS: Final = b"counters"
_ABOUT: Final = b"about"


class Put(NamedTuple):
    """A record to write, encoded: ``key`` by ``encode_id``, ``metadata`` by msgpack."""

    key: bytes
    metadata: bytes
    text: bytes | None
    vector: bytes
    is_chunk: bool = False

    @property
    def storage(self) -> int:
        """Bytes that the storage quota counts, as :attr:`StoredRecord.storage` does."""
        return len(self.key) + len(self.metadata) + len(self.text or b"") + len(self.vector)

    @property
    def plain_metadata(self) -> dict[str, Any]:
        """Metadata as a read would give it."""
        plain: dict[str, Any] = unpack(self.metadata)
        return plain


class StoredDocument(NamedTuple):
    """An ingested document: its chunks are the rows from ``first`` on, as far as they live.

    An empty ``content_hash`` says that a chunk was removed or replaced by its own id.
    """

    content_hash: bytes
    metadata: dict[str, Any]
    first: int
    length: int

    def encode(self) -> bytes:
        """Bytes of it."""
        return pack_checked(self._asdict())

    @classmethod
    def decode(cls, raw: bytes) -> StoredDocument:
        """The document of some bytes; raises CorruptFile."""
        return cls(**unpack_checked("document", raw))


class Applied(NamedTuple):
    """What a write did: the log entry, and the records that it removed."""

    change: Change
    removed: list[StoredRecord]


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
        self._env = Environment(path, _DATABASES, map_size=map_size)
        self._slot = slot
        self._records = self._env.databases[_RECORDS]
        self._vectors = self._env.databases[_VECTORS]
        try:
            with self._env.read() as txn:
                about = unpack_checked("store", self._get(txn, _META, _ABOUT))
                if about["format"] != FORMAT:
                    raise UnsupportedFormat(f"{path}: version {about['format']}, expected {FORMAT}")
                self.counters = Counters.decode(self._get(txn, _META, _COUNTERS))
            slot.set_level(Quota.DOCUMENTS, self.counters.documents)
            slot.set_level(Quota.VECTORS, self.counters.vectors)
            slot.set_level(Quota.STORAGE, self.counters.storage)
        except BaseException:
            self._env.close()
            raise

    @staticmethod
    def create(path: Path) -> None:
        """Make an empty store, durable before it has its name."""

        def fill(txn: Transaction, databases: dict[bytes, Any]) -> None:
            txn.put(_ABOUT, pack_checked({"format": FORMAT}), db=databases[_META])
            txn.put(_COUNTERS, Counters().encode(), db=databases[_META])

        Environment.create(path, _DATABASES, fill)

    # --- reads

    def fetch(self, rowids: Sequence[int]) -> list[bytes | None]:
        """Records of some rows, as one moment shows them; None where a row is gone."""
        return self._env.get_many(self._records, list(map(pack_rowid, rowids)))

    def get(self, keys: Sequence[bytes]) -> list[tuple[StoredRecord, NDArray[np.float32]] | None]:
        """Records and vectors of some ids, as one moment shows them; None for a missing id."""
        with self._env.read() as txn:
            rows = [self._get(txn, _IDS, key) for key in keys]
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
        raw = self._env.get_many(self._env.databases[_DOCUMENTS], (document_id.encode(),))[0]
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
        with self._env.read() as txn, txn.cursor(self._env.databases[_LOG]) as cursor:
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
        """
        reservation: Reservation | None = None
        before = self.counters
        try:
            with self._env.write() as txn:
                batch = _Batch(txn, self._env.databases, before)
                batch.remove_documents(documents or {})
                batch.remove_keys(removes)
                created = batch.remove_keys(put.key for put in puts)
                if not puts and not any((documents or {}).values()) and not batch.has_removed:
                    return Applied(Change(before.next_rowid, 0, np.empty(0, np.uint64)), [])
                after = batch.counted(puts, documents or {}, dim)
                reservation = self._slot.reserve(
                    documents=max(after.documents - before.documents, 0),
                    vectors=max(after.vectors - before.vectors, 0),
                    storage=max(after.storage - before.storage, 0),
                )
                applied = batch.write(puts, created, documents or {}, after)
        except BaseException:
            if reservation is not None:
                reservation.cancel()
            raise
        self.counters = after
        # The tenant may have been dropped from under the ledger; the data is what counts.
        with suppress(ClosedError):
            reservation.settle()
            self._slot.refund(Quota.DOCUMENTS, max(before.documents - after.documents, 0))
            self._slot.refund(Quota.VECTORS, max(before.vectors - after.vectors, 0))
            self._slot.refund(Quota.STORAGE, max(before.storage - after.storage, 0))
        return applied

    def trim(self, upto: int) -> None:
        """Remove the log up to and with a sequence number; no snapshot needs it any more."""
        with self._env.write() as txn, txn.cursor(self._env.databases[_LOG]) as cursor:
            last = pack_rowid(upto)
            cursor.first()
            while (key := cursor.key()) and key <= last:
                cursor.delete()

    def close(self) -> None:
        """Close it when the reads under way have ended."""
        self._env.close()

    def _get(self, txn: Transaction, database: bytes, key: bytes) -> bytes | None:
        return txn.get(key, db=self._env.databases[database])

    def _whole(self, txn: Transaction, row: bytes) -> tuple[StoredRecord, NDArray[np.float32]]:
        rowid = unpack_rowid(row)[0]
        raw = txn.get(row, db=self._records)
        if raw is None:
            raise CorruptFile(f"record {rowid}: its id is there, but it is not")
        return StoredRecord(rowid, raw), decode_vector(rowid, txn.get(row, db=self._vectors))


class _Batch:
    """A write under way in one transaction."""

    def __init__(self, txn: Transaction, databases: Mapping[bytes, Any], before: Counters) -> None:
        self._txn = txn
        self._dbs = databases
        self._before = before
        self._removed: list[StoredRecord] = []
        self._documents_gone = 0
        self._touched: set[str] = set()

    @property
    def has_removed(self) -> bool:
        """Whether anything was there to remove."""
        return bool(self._removed or self._documents_gone)

    def remove_documents(self, documents: Mapping[str, StoredDocument | None]) -> None:
        """Remove documents that are about to be replaced or dropped, with their chunks."""
        for document_id in documents:
            raw = self._txn.pop(document_id.encode(), db=self._dbs[_DOCUMENTS])
            if raw is None:
                continue
            self._documents_gone += 1
            old = StoredDocument.decode(raw)
            for rowid in range(old.first, old.first + old.length):
                record = self._txn.pop(pack_rowid(rowid), db=self._dbs[_RECORDS])
                if record is not None:
                    stored = self._take(rowid, record)
                    self._txn.delete(stored.key, db=self._dbs[_IDS])

    def remove_keys(self, keys: Iterable[bytes]) -> dict[bytes, int]:
        """Remove records by key; returns when those that were there had been created."""
        created = {}
        for key in keys:
            row = self._txn.pop(key, db=self._dbs[_IDS])
            if row is None:
                continue
            raw = self._txn.pop(row, db=self._dbs[_RECORDS])
            if raw is None:
                raise CorruptFile(f"record {unpack_rowid(row)[0]}: its id is there, but it is not")
            stored = self._take(unpack_rowid(row)[0], raw)
            created[key] = stored.created_us
            if stored.is_chunk:
                self._touched.add(stored.metadata["document"])
        return created

    def _take(self, rowid: int, raw: bytes) -> StoredRecord:
        self._txn.delete(pack_rowid(rowid), db=self._dbs[_VECTORS])
        stored = StoredRecord(rowid, raw)
        self._removed.append(stored)
        return stored

    def counted(
        self, puts: Sequence[Put], documents: Mapping[str, StoredDocument | None], dim: int
    ) -> Counters:
        """Counters as they will be."""
        before = self._before
        came = sum(document is not None for document in documents.values())
        return Counters(
            next_rowid=before.next_rowid + len(puts),
            sequence=before.sequence + 1,
            documents=before.documents - self._documents_gone + came,
            vectors=before.vectors - len(self._removed) + len(puts),
            storage=before.storage
            - sum(record.storage for record in self._removed)
            + sum(put.storage for put in puts),
            dim=before.dim or dim,
        )

    def write(
        self,
        puts: Sequence[Put],
        created: Mapping[bytes, int],
        documents: Mapping[str, StoredDocument | None],
        after: Counters,
    ) -> Applied:
        """Write records, ids, documents, the log entry and the counters."""
        first = self._before.next_rowid
        now = time.time_ns() // 1_000
        rows = [pack_rowid(first + i) for i in range(len(puts))]
        records = (
            StoredRecord.encode(
                first + i,
                key=put.key,
                metadata=put.metadata,
                text=put.text,
                vector_bytes=len(put.vector),
                created_us=created.get(put.key, now),
                updated_us=now,
                is_chunk=put.is_chunk,
            )
            for i, put in enumerate(puts)
        )
        with self._txn.cursor(self._dbs[_RECORDS]) as cursor:
            cursor.putmulti(zip(rows, records, strict=True), append=True)
        vectors = (encode_vector(first + i, put.vector) for i, put in enumerate(puts))
        with self._txn.cursor(self._dbs[_VECTORS]) as cursor:
            cursor.putmulti(zip(rows, vectors, strict=True), append=True)
        with self._txn.cursor(self._dbs[_IDS]) as cursor:
            cursor.putmulti(zip((put.key for put in puts), rows, strict=True))
        self._write_documents(documents, first)
        change = Change(
            first, len(puts), np.array([r.rowid for r in self._removed], dtype=np.uint64)
        )
        self._txn.put(pack_rowid(after.sequence), change.encode(), db=self._dbs[_LOG], append=True)
        self._txn.put(_COUNTERS, after.encode(), db=self._dbs[_META])
        return Applied(change, self._removed)

    def _write_documents(self, documents: Mapping[str, StoredDocument | None], first: int) -> None:
        database = self._dbs[_DOCUMENTS]
        for document_id in self._touched - documents.keys():
            raw = self._txn.get(document_id.encode(), db=database)
            if raw is not None:
                incomplete = StoredDocument.decode(raw)._replace(content_hash=b"")
                self._txn.put(document_id.encode(), incomplete.encode(), db=database)
        for document_id, document in documents.items():
            if document is not None:
                moved = document._replace(first=first + document.first)
                self._txn.put(document_id.encode(), moved.encode(), db=database)
