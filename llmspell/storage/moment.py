"""What a tenant's store holds at one moment: records in the order of their ids, and documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from llmspell.errors import CorruptFile
from llmspell.storage.chain import FIRST, Chain
from llmspell.storage.embedders import read_embedders
from llmspell.storage.ids import pack_rowid, unpack_rowid
from llmspell.storage.log import Counters
from llmspell.storage.record import StoredRecord, decode_vector
from llmspell.storage.stored_document import StoredDocument
from llmspell.storage.tables import COUNTERS, DOCUMENTS, IDS, LOG, META, RECORDS, VECTORS
from llmspell.storage.transaction import Transaction

__all__ = ["NO_VECTOR", "Held", "Moment"]

#: A record and its (dim,) vector, or :data:`NO_VECTOR` where it wasn't asked for.
Held: TypeAlias = tuple[StoredRecord, NDArray[np.float32]]

NO_VECTOR: Final[NDArray[np.float32]] = np.empty(0, dtype=np.float32)
NO_VECTOR.flags.writeable = False

#: Ids looked at in one go when rows are chosen.
AT_ONCE: Final = 1_024


class Moment:
    """A store in one read transaction. Use it from the transaction's thread, and while it lasts."""

    __slots__ = ("_dbs", "_txn")

    def __init__(self, txn: Transaction, databases: Mapping[bytes, Any]) -> None:
        self._txn = txn
        self._dbs = databases

    @property
    def counters(self) -> Counters:
        """Counters behind the last write that the moment shows."""
        return Counters.decode(self._txn.get(COUNTERS, db=self._dbs[META]))

    @property
    def embedders(self) -> dict[str, int] | None:
        """Documents by the model of their vectors; None where nobody has counted them yet."""
        return read_embedders(self._txn, self._dbs[META])

    def rows(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Rows of some ids, packed; None for a missing id."""
        ids = self._chain(IDS)
        return [ids.get(key) for key in keys]

    def whole(self, row: bytes, key: bytes, *, vector: bool = True) -> Held:
        """The record that an id leads to; raises CorruptFile where it isn't there."""
        rowid = unpack_rowid(row)[0]
        raw = self._txn.get(row, db=self._dbs[RECORDS])
        if raw is None:
            raise CorruptFile(f"record {rowid}: its id is there, but it is not")
        record = StoredRecord(rowid, raw)
        if record.key != key:
            raise CorruptFile(f"record {rowid}: it has another id than the one that leads to it")
        return record, self.vector(rowid) if vector else NO_VECTOR

    def records(
        self,
        after: bytes = FIRST,
        *,
        rows: NDArray[np.int64] | None = None,
        vectors: bool = True,
    ) -> Iterator[Held]:
        """Records in the order of their keys, those that have expired too.

        Args:
            after: the key behind which to begin; it needn't be there.
            rows: ascending; give those alone.
            vectors: read vectors as well.
        """
        ids = self._chain(IDS).items(after)
        if rows is None:
            for key, row in ids:
                yield self.whole(row, key, vector=vectors)
            return
        while batch := list(islice(ids, AT_ONCE)):
            for key, row in _among(batch, rows):
                yield self.whole(row, key, vector=vectors)

    def document(self, document_id: str) -> StoredDocument | None:
        """An ingested document."""
        raw = self._chain(DOCUMENTS).get(document_id.encode())
        return None if raw is None else StoredDocument.decode(raw)

    def table(self, name: bytes) -> Chain:
        """One of the tables whose entries name the next one."""
        return self._chain(name)

    def value(self, database: bytes, key: bytes) -> bytes | None:
        """What lies under a key, unchecked."""
        return self._txn.get(key, db=self._dbs[database])

    def keys(self, database: bytes, after: bytes) -> Iterator[bytes]:
        """Keys of a database behind ``after``, which needn't be there, in order; unchecked."""
        with self._txn.cursor(self._dbs[database]) as cursor:
            there = cursor.set_range(after) and (cursor.key() != after or cursor.next())
            key = after
            while there:
                before, key = key, cursor.key()
                if key <= before:
                    raise CorruptFile(f"{database.decode()}: its keys are out of order at {key!r}")
                yield key
                there = cursor.next()

    def documents(self, after: str = "") -> Iterator[tuple[str, StoredDocument]]:
        """Ingested documents behind an id, with their ids, in the order of these in UTF-8."""
        for key, raw in self._chain(DOCUMENTS).items(after.encode() or FIRST):
            yield key.decode(), StoredDocument.decode(raw)

    def chunks(self, document: StoredDocument, *, vectors: bool = True) -> Iterator[Held]:
        """Chunks of a document that live, in the order of its text."""
        for rowid in document.rows:
            row = pack_rowid(rowid)
            raw = self._txn.get(row, db=self._dbs[RECORDS])
            if raw is not None:
                yield StoredRecord(rowid, raw), self.vector(rowid) if vectors else NO_VECTOR

    def reaches_back_to(self, sequence: int) -> bool:
        """Whether a view that has reached this entry of the log can follow it from there."""
        with self._txn.cursor(self._dbs[LOG]) as cursor:
            has_next = cursor.set_key(pack_rowid(sequence + 1))
        return has_next or sequence == self.counters.sequence

    def stored(self) -> tuple[int, int]:
        """How many records and how many vectors there are, as LMDB counts them."""
        counts = (self._txn.stat(self._dbs[name])["entries"] for name in (RECORDS, VECTORS))
        records, vectors = counts
        return records, vectors

    def vector(self, rowid: int) -> NDArray[np.float32]:
        """The (dim,) vector of a row; raises CorruptFile where there is none."""
        return decode_vector(rowid, self._txn.get(pack_rowid(rowid), db=self._dbs[VECTORS]))

    def _chain(self, database: bytes) -> Chain:
        return Chain(self._txn, self._dbs[database], database.decode())


def _among(
    batch: Sequence[tuple[bytes, bytes]], rows: NDArray[np.int64]
) -> Iterator[tuple[bytes, bytes]]:
    """Those keys and rows of a batch whose rows are among ``rows``."""
    if not len(rows):
        return
    found = np.frombuffer(b"".join(row for _, row in batch), dtype=">u8").astype(np.int64)
    places = np.minimum(np.searchsorted(rows, found), len(rows) - 1)
    for place in np.flatnonzero(rows[places] == found).tolist():
        yield batch[place]
