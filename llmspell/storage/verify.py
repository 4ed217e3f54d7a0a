"""A walk over everything that a store holds, each part held against all others."""

from __future__ import annotations

import struct
from typing import Final

import numpy as np

from llmspell.config import Metric
from llmspell.errors import CorruptFile, InputError
from llmspell.index import check_rows
from llmspell.storage.batches import in_batches
from llmspell.storage.ids import decode_id, encode_id
from llmspell.storage.log import Counters
from llmspell.storage.moment import Held, Moment
from llmspell.storage.record import NEVER, StoredRecord

__all__ = ["verify"]

# What a checksum covers was written so, but not by llmspell where it can't be decoded.
_UNDECODABLE: Final = (
    *(KeyError, OverflowError, RecursionError, TypeError, ValueError),
    struct.error,
)


def verify(moment: Moment, metric: Metric) -> Counters:
    """Walk over ids, records, vectors, documents, expiries and the log; recount the counters.

    It reads everything once, and holds the times of records that expire.

    Args:
        moment: of the store.
        metric: of the tenant, whose index must be able to take the vectors.

    Returns:
        The counters, which hold.

    Raises:
        CorruptFile: something is damaged, missing or there for nothing.
        UnsupportedFormat: a later release wrote a part of it.
    """
    try:
        return _verify(moment, metric)
    except _UNDECODABLE as error:
        raise CorruptFile(f"an entry can't be decoded: {error!r}") from error


def _verify(moment: Moment, metric: Metric) -> Counters:
    counters = moment.counters
    recount = _Recount(counters)
    for batch in in_batches(moment.records()):
        _check_vectors(batch, metric, counters.dim)
        for record, _ in batch:
            recount.add(record)
    if moment.stored() != (recount.records, recount.records):
        raise CorruptFile(
            f"{recount.records} ids, but {moment.stored()} records and vectors: some have no id"
        )
    if list(moment.expiries()) != sorted(recount.expiries):
        raise CorruptFile("the table of expiries is not that of the records")
    documents = 0
    for name, document in moment.documents():
        documents += 1
        last = document.first + document.length
        if not 1 <= document.first <= last <= counters.next_rowid:
            raise CorruptFile(f"document {name!r}: its rows {document.first} to {last} can't be")
    found = documents, recount.records, recount.storage
    if found != (counters.documents, counters.vectors, counters.storage):
        raise CorruptFile(
            f"{found} documents, vectors and bytes of storage are there, the counters say "
            f"{counters.documents, counters.vectors, counters.storage}"
        )
    _check_log(moment, counters)
    return counters


class _Recount:
    def __init__(self, counters: Counters) -> None:
        self._next_rowid = counters.next_rowid
        self.records = 0
        self.storage = 0
        self.expiries: list[tuple[int, int]] = []

    def add(self, record: StoredRecord) -> None:
        if not 1 <= record.rowid < self._next_rowid:
            raise CorruptFile(f"record {record.rowid}: rows end before {self._next_rowid}")
        if encode_id(decode_id(record.key)) != record.key:
            raise CorruptFile(f"record {record.rowid}: its id can't be")
        metadata, _ = record.metadata, record.text
        if not isinstance(metadata, dict) or (record.is_chunk and "document" not in metadata):
            raise CorruptFile(f"record {record.rowid}: its metadata can't be")
        self.records += 1
        self.storage += record.storage
        if record.expires_us != NEVER:
            self.expiries.append((record.expires_us, record.rowid))


def _check_vectors(batch: list[Held], metric: Metric, dim: int) -> None:
    """Whether an index takes the vectors, and their bytes are those that the storage counts."""
    for record, vector in batch:
        if len(vector) != dim or record.vector_bytes != vector.nbytes:
            raise CorruptFile(f"vector {record.rowid}: dimension {len(vector)}, expected {dim}")
    if batch:
        try:
            check_rows(np.stack([vector for _, vector in batch]), metric)
        except InputError as error:
            first, last = batch[0][0].rowid, batch[-1][0].rowid
            raise CorruptFile(f"vectors of rows {first} to {last}: {error}") from error


def _check_log(moment: Moment, counters: Counters) -> None:
    last: int | None = None
    for sequence, change in moment.log():
        if last is not None and sequence != last + 1:
            raise CorruptFile(f"log entry {last + 1}: missing")
        if change.added and change.first + change.added > counters.next_rowid:
            raise CorruptFile(f"log entry {sequence}: it adds rows that never were")
        last = sequence
    if last not in (None, counters.sequence):
        raise CorruptFile(f"log entry {counters.sequence}: missing, though it is the last")
