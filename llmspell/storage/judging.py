"""What the entries of a store must be: each by itself, and by what is said of it elsewhere.

Of the state see :func:`llmspell.storage.state_table.judge_state`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from llmspell.config import Metric
from llmspell.errors import CorruptFile, InputError, StorageError
from llmspell.index import check_rows
from llmspell.storage.codec import UNDECODABLE
from llmspell.storage.ids import decode_id, encode_id, pack_expiry, pack_rowid
from llmspell.storage.log import Change, Counters
from llmspell.storage.moment import Moment
from llmspell.storage.record import NEVER, StoredRecord
from llmspell.storage.stored_document import StoredDocument
from llmspell.storage.tables import EXPIRY, RECORDS

__all__ = [
    "LAST_ROW",
    "is_expiry_of",
    "judge_change",
    "judge_counts",
    "judge_document",
    "judge_embedders",
    "judge_record",
    "judge_ties",
    "judge_vector",
    "refused_vectors",
    "with_id",
]

LAST_ROW: Final = (1 << 64) - 1


def judge_record(record: StoredRecord, counters: Counters | None) -> None:
    """Whether row, id and metadata of a record can be; raises CorruptFile."""
    rowid = record.rowid
    if counters is not None and not 1 <= rowid < counters.next_rowid:
        raise CorruptFile(f"record {rowid}: rows end before {counters.next_rowid}")
    name = decode_id(record.key)
    if encode_id(name) != record.key:
        raise CorruptFile(f"record {rowid}: its id can't be")
    metadata, _ = record.metadata, record.text
    if not isinstance(metadata, dict) or (record.is_chunk and "document" not in metadata):
        raise CorruptFile(f"record {rowid}: its metadata can't be")


def judge_ties(moment: Moment, record: StoredRecord, counters: Counters | None) -> None:
    """Whether the vector of a record can be its own, and its expiry is listed.

    Raises:
        CorruptFile: one of them isn't so.
    """
    rowid = record.rowid
    if counters is not None and record.vector_bytes != 4 * counters.dim:
        raise CorruptFile(f"record {rowid}: its vector can't have {record.vector_bytes} bytes")
    if record.expires_us != NEVER:
        expiry = pack_expiry(record.expires_us, rowid)
        if moment.table(EXPIRY).get(expiry) is None:
            raise CorruptFile(f"record {rowid}: the table of expiries lacks it")


def is_expiry_of(rowid: int, raw: bytes, expires_us: int) -> bool:
    """Whether a record says that it expires then; True of a damaged one, which is named anyway."""
    try:
        return StoredRecord(rowid, raw).expires_us == expires_us
    except CorruptFile:
        return True


def judge_vector(rowid: int, vector: NDArray[np.float32], counters: Counters | None) -> None:
    """Whether a vector has the dimension of all; raises CorruptFile."""
    if counters is not None and len(vector) != counters.dim:
        raise CorruptFile(f"vector {rowid}: dimension {len(vector)}, expected {counters.dim}")


def refused_vectors(
    rows: Sequence[int],
    vectors: Sequence[NDArray[np.float32]],
    keys: Sequence[bytes],
    metric: Metric,
) -> Iterator[StorageError]:
    """What is wrong with those that an index doesn't take, by row and id of their records."""
    try:
        if vectors:
            check_rows(np.stack(vectors), metric)
    except (InputError, ValueError):
        for row, vector, key in zip(rows, vectors, keys, strict=True):
            try:
                check_rows(vector[np.newaxis], metric)
            except InputError as error:
                yield with_id(CorruptFile(f"vector {row}: {error}"), key)


def judge_document(moment: Moment, name: str, document: StoredDocument) -> None:
    """Whether the chunks of a document are there, each once; raises CorruptFile."""
    if len(set(document.rows)) < len(document.rows):
        raise CorruptFile(f"document {name!r}: a chunk stands in it twice")
    for row in document.rows:
        # Within the map first: a row that no key has can't be looked for.
        is_row = 1 <= row <= LAST_ROW
        if not is_row or moment.value(RECORDS, pack_rowid(row)) is None:
            raise CorruptFile(f"document {name!r}: its chunk of row {row} isn't there")


def judge_change(sequence: int, change: Change, counters: Counters | None) -> None:
    """Whether the rows that an entry of the log adds were ever given; raises CorruptFile."""
    end = None if counters is None else counters.next_rowid
    if end is not None and change.added and change.first + change.added > end:
        raise CorruptFile(f"log entry {sequence}: it adds rows that never were")


def judge_counts(found: tuple[int, ...], counters: Counters) -> None:
    """Whether so many documents, ids, records and vectors are counted; raises CorruptFile."""
    held = (counters.documents, *3 * (counters.vectors,))
    if found != held:
        raise CorruptFile(
            f"counters: {found} documents, ids, records and vectors are there, "
            f"the counters say {held}"
        )


def judge_embedders(moment: Moment, found: Mapping[str, int]) -> None:
    """Whether documents are counted by model as they were found; raises CorruptFile."""
    told = moment.embedders
    # What an earlier release wrote last says nothing.
    if told is not None and told != found:
        raise CorruptFile(f"embedders: {found} documents are there, the record says {told}")


def with_id(error: StorageError, key: bytes) -> StorageError:
    """An error that is about a record, with its id."""
    where, _, what = str(error).partition(": ")
    try:
        name = repr(decode_id(key))
    except UNDECODABLE:
        name = repr(key)
    return type(error)(f"{where} (id {name}): {what}")
