"""A write to a tenant's store: the rows, ids, documents and counters of one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import numpy as np

from llmspell._hot import encode_record
from llmspell.errors import CorruptFile, DuplicateId, IdNotFound
from llmspell.storage.chain import Chain
from llmspell.storage.codec import pack
from llmspell.storage.embedders import EmbedderChanges
from llmspell.storage.ids import decode_id, pack_expiry, pack_rowid, unpack_rowid
from llmspell.storage.log import NO_ROWS, Change, Counters, Update
from llmspell.storage.record import NEVER, StoredRecord, encode_vector
from llmspell.storage.state_table import StateEdit, StateTable
from llmspell.storage.stored_document import OF_A_CHUNK, StoredDocument
from llmspell.storage.tables import (
    COUNTERS,
    DOCUMENTS,
    EXPIRY,
    IDS,
    LOG,
    META,
    RECORDS,
    STATE,
    VECTORS,
)
from llmspell.storage.transaction import Transaction
from llmspell.storage.write import MetadataUpdate, Put, Write

__all__ = ["Batch"]


#: Records that an error names.
NAMED: Final = 5


class Batch:
    """A write under way in one transaction."""

    def __init__(
        self, txn: Transaction, databases: Mapping[bytes, Any], before: Counters, now_us: int
    ) -> None:
        self._txn = txn
        self._dbs = databases
        self._before = before
        self._now_us = now_us
        self._ids = Chain(txn, databases[IDS], "ids")
        self._removed: list[StoredRecord] = []
        self._updates: list[Update] = []
        self._storage = 0
        self._documents_gone = 0
        self._touched: set[str] = set()

    @cached_property
    def _documents(self) -> Chain:
        return Chain(self._txn, self._dbs[DOCUMENTS], "documents")

    @cached_property
    def _embedders(self) -> EmbedderChanges:
        return EmbedderChanges()

    @cached_property
    def _expiry(self) -> Chain:
        return Chain(self._txn, self._dbs[EXPIRY], "expiry")

    @cached_property
    def _state(self) -> StateTable:
        return StateTable(Chain(self._txn, self._dbs[STATE], "state"))

    @property
    def gone(self) -> int:
        """Records removed so far, without those that had expired."""
        return sum([not self._has_expired(record) for record in self._removed])

    def remove(self, write: Write) -> dict[bytes, int]:
        """Remove what a write removes or replaces; returns when replaced keys were created.

        Raises:
            DuplicateId: a record that must be new is there.
        """
        if write.documents:
            self._remove_documents(write.documents)
        for key in write.removes:
            self._remove_key(key)
        if write.rows:
            self.remove_rows(write.rows)
        created = {}
        for put in write.puts:
            old = self._remove_key(put.key)
            if old is not None and not self._has_expired(old):
                created[put.key] = old.created_us
        if self._touched:
            self._settle_documents()
        if write.must_be_new and created:
            names = _names(list(created))
            raise DuplicateId(f"{names} there already; upsert replaces, insert doesn't")
        return created

    def remove_rows(self, rows: Iterable[int]) -> None:
        """Remove records by row; missing ones are passed over."""
        for rowid in rows:
            raw = self._txn.get(pack_rowid(rowid), db=self._dbs[RECORDS])
            if raw is not None:
                record = StoredRecord(rowid, raw)
                self._take(record)
                self._touch(record)
        self._settle_documents()

    def update(self, updates: Sequence[MetadataUpdate]) -> None:
        """Change metadata; raises IdNotFound."""
        missing = []
        for update in updates:
            record = self._find(update.key)
            if record is None or self._has_expired(record):
                missing.append(update.key)
                continue
            before = record.metadata
            kept = {} if update.replace else before
            # What leads from a chunk to its document stays as the ingest wrote it.
            is_own = record.is_chunk and not update.of_ingest
            own = {name: before[name] for name in OF_A_CHUNK} if is_own else {}
            metadata = pack({**kept, **update.metadata, **own})
            changed = record.with_metadata(metadata, self._now_us)
            self._txn.put(pack_rowid(record.rowid), changed, db=self._dbs[RECORDS])
            self._updates.append(Update(record.rowid, record.raw_metadata, metadata))
            self._storage += len(metadata) - len(record.raw_metadata)
        if missing:
            raise IdNotFound(f"no record {_names(missing)}")

    def edit_state(self, edits: Sequence[StateEdit]) -> tuple[int, ...]:
        """Do edits of the state; raises StateConflict."""
        return self._state.edit(edits)

    def changes_state(self, write: Write) -> bool:
        """Whether the state is other than before."""
        return bool(write.state) and self._state.is_changed

    def changes(self, write: Write) -> bool:
        """Whether there is anything to do besides the state."""
        return bool(
            write.puts
            or self._removed
            or self._documents_gone
            or self._updates
            or any(document is not None for document in write.documents.values())
        )

    def counted_state(self, write: Write) -> Counters:
        """Counters as they are behind the edits of the state alone."""
        before = self._before
        if not self.changes_state(write):
            return before
        return before._replace(
            storage=before.storage + self._state.storage, state_writes=before.state_writes + 1
        )

    def write_counters(self, after: Counters) -> None:
        """Write the counters, where no entry of the log goes with them."""
        self._txn.put(COUNTERS, after.encode(), db=self._dbs[META])

    def counted(self, write: Write, size: int) -> Counters:
        """Counters as they will be, where there is something to do; ``size`` as Write.storage."""
        before = self.counted_state(write)
        storage = before.storage + self._storage + size
        documents = before.documents - self._documents_gone
        if write.documents:
            documents += sum(document is not None for document in write.documents.values())
        if self._removed:
            storage -= sum(record.storage for record in self._removed)
        return Counters(
            next_rowid=before.next_rowid + len(write.puts),
            sequence=before.sequence + 1,
            documents=documents,
            vectors=before.vectors - len(self._removed) + len(write.puts),
            storage=storage,
            dim=before.dim or write.dim,
            state_writes=before.state_writes,
        )

    def write(self, write: Write, created: Mapping[bytes, int], after: Counters) -> Change:
        """Write records, ids, documents, the log entry and the counters."""
        first = self._before.next_rowid
        puts = write.puts
        if len(puts) == 1:
            # Cheaper than a cursor, for the commonest write.
            put, row = puts[0], pack_rowid(first)
            self._append_one(RECORDS, row, self._record(first, put, created))
            self._append_one(VECTORS, row, encode_vector(first, put.vector))
            self._name(put, row)
        elif puts:
            rows = [pack_rowid(first + i) for i in range(len(puts))]
            records = (self._record(first + i, put, created) for i, put in enumerate(puts))
            vectors = (encode_vector(first + i, put.vector) for i, put in enumerate(puts))
            self._append(RECORDS, rows, records)
            self._append(VECTORS, rows, vectors)
            for put, row in zip(puts, rows, strict=True):
                self._name(put, row)
        if write.documents:
            self._write_documents(write.documents, first)
        if write.documents or self._documents_gone:
            self._embedders.write(self._txn, self._dbs[META], self._documents)
        gone = NO_ROWS
        if self._removed:
            gone = np.array([record.rowid for record in self._removed], dtype=np.uint64)
        change = Change(first, len(puts), gone, tuple(self._updates))
        self._append_one(LOG, pack_rowid(after.sequence), change.encode())
        self.write_counters(after)
        return change

    def _record(self, rowid: int, put: Put, created: Mapping[bytes, int]) -> bytes:
        created_us, updated_us = put.created_us, put.updated_us
        if created_us is None:
            created_us = created.get(put.key, self._now_us)
        if updated_us is None:
            updated_us = self._now_us
        if put.is_chunk:
            return StoredRecord.encode(
                rowid,
                key=put.key,
                metadata=put.metadata,
                text=put.text,
                vector_bytes=len(put.vector),
                created_us=created_us,
                updated_us=updated_us,
                expires_us=put.expires_us,
                is_chunk=True,
            )
        # Cheaper, for the commonest write.
        return encode_record(
            rowid,
            put.key,
            put.metadata,
            put.text,
            len(put.vector),
            created_us,
            updated_us,
            put.expires_us,
            put.is_chunk,
        )

    def _name(self, put: Put, row: bytes) -> None:
        """Let id and time of expiry lead to a row."""
        self._ids.put(put.key, row)
        if put.expires_us != NEVER:
            self._expiry.put(pack_expiry(put.expires_us, unpack_rowid(row)[0]), b"")

    def _has_expired(self, record: StoredRecord) -> bool:
        return record.expires_us <= self._now_us

    def _remove_documents(self, documents: Mapping[str, StoredDocument | None]) -> None:
        """Remove documents about to be replaced or dropped, and chunks that they lose."""
        for document_id, document in documents.items():
            raw = self._documents.pop(document_id.encode())
            if raw is None:
                continue
            self._documents_gone += 1
            kept = set() if document is None else set(document.rows)
            former = StoredDocument.decode(raw)
            self._embedders.went(former)
            for rowid in former.rows:
                if rowid in kept:
                    continue
                record = self._txn.get(pack_rowid(rowid), db=self._dbs[RECORDS])
                if record is not None:
                    self._take(StoredRecord(rowid, record))

    def _find(self, key: bytes) -> StoredRecord | None:
        row = self._ids.get(key)
        if row is None:
            return None
        rowid = unpack_rowid(row)[0]
        raw = self._txn.get(row, db=self._dbs[RECORDS])
        if raw is None:
            raise CorruptFile(f"record {rowid}: its id is there, but it is not")
        return StoredRecord(rowid, raw)

    def _remove_key(self, key: bytes) -> StoredRecord | None:
        record = self._find(key)
        if record is not None:
            self._take(record)
            self._touch(record)
        return record

    def _touch(self, record: StoredRecord) -> None:
        if record.is_chunk:
            self._touched.add(record.metadata["document"])

    def _settle_documents(self) -> None:
        """Note which documents lost chunks, and remove those that lost the last one."""
        gone = {record.rowid for record in self._removed}
        for document_id in self._touched:
            key = document_id.encode()
            raw = self._documents.get(key)
            if raw is None:
                continue
            document = StoredDocument.decode(raw)
            left = tuple(row for row in document.rows if row not in gone)
            if left:
                self._documents.put(key, document._replace(content_hash=b"", rows=left).encode())
            else:
                self._documents.pop(key)
                self._documents_gone += 1
                self._embedders.went(document)
        self._touched.clear()

    def _take(self, record: StoredRecord) -> None:
        row = pack_rowid(record.rowid)
        self._txn.delete(row, db=self._dbs[RECORDS])
        self._txn.delete(row, db=self._dbs[VECTORS])
        self._ids.pop(record.key)
        if record.expires_us != NEVER:
            self._expiry.pop(pack_expiry(record.expires_us, record.rowid))
        self._removed.append(record)

    def _append(self, database: bytes, keys: Sequence[bytes], values: Iterable[bytes]) -> None:
        with self._txn.cursor(self._dbs[database]) as cursor:
            _, added = cursor.putmulti(zip(keys, values, strict=True), append=True)
        # LMDB passes over a key that isn't behind all others, and says so only here.
        if added != len(keys):
            raise _are_there(database, keys[0], len(keys) - added)

    def _append_one(self, database: bytes, key: bytes, value: bytes) -> None:
        if not self._txn.put(key, value, append=True, db=self._dbs[database]):
            raise _are_there(database, key, 1)

    def _write_documents(self, documents: Mapping[str, StoredDocument | None], first: int) -> None:
        for document_id, document in documents.items():
            if document is not None:
                settled = document.settled(first, self._now_us)
                self._embedders.came(settled)
                self._documents.put(document_id.encode(), settled.encode())


def _are_there(database: bytes, key: bytes, count: int) -> CorruptFile:
    first = unpack_rowid(key)[0]
    return CorruptFile(f"{database.decode()}: {count} entries from {first} on are there already")


def _names(keys: Sequence[bytes]) -> str:
    more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
    return ", ".join(repr(decode_id(key)) for key in keys[:NAMED]) + more
