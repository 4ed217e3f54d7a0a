"""A write to a tenant's store: the rows, ids, documents and counters of one transaction."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from llmspell.errors import CorruptFile
from llmspell.storage.codec import (
    Change,
    Counters,
    StoredRecord,
    encode_vector,
    pack_checked,
    pack_rowid,
    unpack,
    unpack_checked,
    unpack_rowid,
)
from llmspell.storage.environment import Transaction

__all__ = ["Applied", "Batch", "Put", "StoredDocument"]

LOG: Final = b"log"
RECORDS: Final = b"records"
VECTORS: Final = b"vectors"
IDS: Final = b"ids"
DOCUMENTS: Final = b"documents"
META: Final = b"meta"
DATABASES: Final = (LOG, RECORDS, VECTORS, IDS, DOCUMENTS, META)
COUNTERS: Final = b"counters"


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


class Batch:
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
            raw = self._txn.pop(document_id.encode(), db=self._dbs[DOCUMENTS])
            if raw is None:
                continue
            self._documents_gone += 1
            old = StoredDocument.decode(raw)
            for rowid in range(old.first, old.first + old.length):
                record = self._txn.pop(pack_rowid(rowid), db=self._dbs[RECORDS])
                if record is not None:
                    stored = self._take(rowid, record)
                    self._txn.delete(stored.key, db=self._dbs[IDS])

    def remove_keys(self, keys: Iterable[bytes]) -> dict[bytes, int]:
        """Remove records by key; returns when those that were there had been created."""
        created = {}
        for key in keys:
            row = self._txn.pop(key, db=self._dbs[IDS])
            if row is None:
                continue
            raw = self._txn.pop(row, db=self._dbs[RECORDS])
            if raw is None:
                raise CorruptFile(f"record {unpack_rowid(row)[0]}: its id is there, but it is not")
            stored = self._take(unpack_rowid(row)[0], raw)
            created[key] = stored.created_us
            if stored.is_chunk:
                self._touched.add(stored.metadata["document"])
        return created

    def _take(self, rowid: int, raw: bytes) -> StoredRecord:
        self._txn.delete(pack_rowid(rowid), db=self._dbs[VECTORS])
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
        vectors = (encode_vector(first + i, put.vector) for i, put in enumerate(puts))
        self._append(RECORDS, rows, records)
        self._append(VECTORS, rows, vectors)
        with self._txn.cursor(self._dbs[IDS]) as cursor:
            cursor.putmulti(zip((put.key for put in puts), rows, strict=True))
        self._write_documents(documents, first)
        change = Change(
            first, len(puts), np.array([r.rowid for r in self._removed], dtype=np.uint64)
        )
        self._append(LOG, [pack_rowid(after.sequence)], [change.encode()])
        self._txn.put(COUNTERS, after.encode(), db=self._dbs[META])
        return Applied(change, self._removed)

    def _append(self, database: bytes, keys: Sequence[bytes], values: Iterable[bytes]) -> None:
        with self._txn.cursor(self._dbs[database]) as cursor:
            _, added = cursor.putmulti(zip(keys, values, strict=True), append=True)
        # LMDB passes over a key that isn't behind all others, and says so only here.
        if added != len(keys):
            raise CorruptFile(
                f"{database.decode()}: {len(keys) - added} entries from "
                f"{unpack_rowid(keys[0])[0]} on are there already"
            )

    def _write_documents(self, documents: Mapping[str, StoredDocument | None], first: int) -> None:
        database = self._dbs[DOCUMENTS]
        for document_id in self._touched - documents.keys():
            raw = self._txn.get(document_id.encode(), db=database)
            if raw is not None:
                incomplete = StoredDocument.decode(raw)._replace(content_hash=b"")
                self._txn.put(document_id.encode(), incomplete.encode(), db=database)
        for document_id, document in documents.items():
            if document is not None:
                moved = document._replace(first=first + document.first)
                self._txn.put(document_id.encode(), moved.encode(), db=database)
