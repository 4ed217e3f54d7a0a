"""What an import writes of each batch of an export, by what the tenant has of its ids."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np

from llmspell.errors import DuplicateId
from llmspell.storage import Moment, Put, StoredDocument, Write, decode_id

__all__ = ["Batch", "OnConflict", "Plan", "plan_write", "rows_of"]

OnConflict: TypeAlias = Literal["error", "replace", "skip"]

#: One write of an import, but for a document that has more; each costs an fsync.
BATCH_RECORDS: Final = 4_096
BATCH_BYTES: Final = 16 << 20


@dataclass
class Batch:
    """Records, or documents with their chunks: of one kind, so that no key comes twice."""

    puts: list[Put] = field(default_factory=list)
    documents: dict[str, StoredDocument] = field(default_factory=dict)
    bytes: int = 0

    @property
    def is_full(self) -> bool:
        """Whether it is written before more comes to it."""
        return len(self.puts) + len(self.documents) >= BATCH_RECORDS or self.bytes >= BATCH_BYTES


class Plan(NamedTuple):
    """What is to be written of a batch, and what that adds."""

    write: Write
    skipped: int
    grown: tuple[int, int, int]  # documents, vectors, bytes of storage


def plan_write(
    moment: Moment, batch: Batch, on_conflict: OnConflict, *, dim: int, now_us: int
) -> Plan:
    """Decide what is written of a batch, and what goes for it.

    Args:
        moment: of the store that it is written to.
        batch: of the export.
        on_conflict: what is done with ids that are there.
        dim: of the vectors.
        now_us: records that have expired by then aren't there.

    Raises:
        DuplicateId: an id is there, and ``on_conflict`` is "error".
    """
    held = _Held(moment, batch.puts, now_us)
    taken: list[str | bytes]
    if batch.documents:
        taken = [name for name in batch.documents if held.has_document(moment, name, batch)]
    else:
        taken = [put.key for put in batch.puts if put.key in held.live]
    if taken and on_conflict == "error":
        raise DuplicateId(_conflict(taken))
    passed: set[str | bytes] = set(taken) if on_conflict == "skip" else set()
    puts, documents = _without(batch, passed)
    gone = held.replaced(moment, puts, documents)
    came = sum(put.storage for put in puts)
    grown = (
        len(documents) - sum(name in held.documents for name in documents),
        len(puts) - len(gone),
        came - sum(gone.values()),
    )
    vectors = None
    if puts:
        raw = b"".join(put.vector for put in puts)
        vectors = np.frombuffer(raw, dtype="<f4").reshape(len(puts), dim)
    write = Write(puts=puts, vectors=vectors, documents=documents)
    return Plan(write, len(batch.puts) - len(puts), grown)


def rows_of(first: int, count: int) -> tuple[int, ...]:
    """Rows, in a write, of so many puts from one on."""
    return tuple(-1 - place for place in range(first, first + count))


class _Held:
    """What a tenant has of the ids of a batch."""

    def __init__(self, moment: Moment, puts: list[Put], now_us: int) -> None:
        keys = [put.key for put in puts]
        self._records = {
            key: moment.whole(row, key, vector=False)[0]
            for key, row in zip(keys, moment.rows(keys), strict=True)
            if row is not None
        }
        self.live = {key for key, record in self._records.items() if record.expires_us > now_us}
        self.documents: dict[str, StoredDocument] = {}

    def has_document(self, moment: Moment, name: str, batch: Batch) -> bool:
        """Whether a document of the batch is there, or a record that has the id of a chunk."""
        stored = moment.document(name)
        if stored is not None:
            self.documents[name] = stored
            return True
        document = batch.documents[name]
        return any(batch.puts[-1 - row].key in self.live for row in document.rows)

    def replaced(self, moment: Moment, puts: list[Put], documents: Iterable[str]) -> dict[int, int]:
        """Rows that go when these are written, with the storage that they take."""
        found = [self._records[put.key] for put in puts if put.key in self._records]
        for name in documents:
            if name in self.documents:
                chunks = moment.chunks(self.documents[name], vectors=False)
                found.extend(chunk for chunk, _ in chunks)
        return {record.rowid: record.storage for record in found}


def _without(batch: Batch, passed: set[str | bytes]) -> tuple[list[Put], dict[str, StoredDocument]]:
    """The batch without some documents and their chunks, or without some keys."""
    if not batch.documents:
        return [put for put in batch.puts if put.key not in passed], {}
    puts: list[Put] = []
    documents = {}
    for name, document in batch.documents.items():
        if name not in passed:
            documents[name] = document._replace(rows=rows_of(len(puts), len(document.rows)))
            puts.extend(batch.puts[-1 - row] for row in document.rows)
    return puts, documents


def _conflict(taken: list[str | bytes]) -> str:
    names = [repr(decode_id(one) if isinstance(one, bytes) else one) for one in taken[:5]]
    more = f" and {len(taken) - 5} more" if len(taken) > 5 else ""
    return (
        f"{', '.join(names)}{more} there already; "
        "on_conflict='replace' writes over them, 'skip' leaves them"
    )
