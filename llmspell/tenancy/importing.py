"""Imports of what another tenant exported."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Final, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from llmspell.config import TenantConfig
from llmspell.errors import (
    DimensionMismatch,
    DuplicateId,
    EmbedderMismatch,
    InputError,
    MetricMismatch,
)
from llmspell.quota import Slot
from llmspell.storage import (
    ExportedDocument,
    ExportedRecord,
    ExportReader,
    Moment,
    Put,
    Room,
    StoredDocument,
    Write,
    decode_id,
    decode_items,
    export_source,
    unpack,
)
from llmspell.tenancy.inputs import check_vectors, pack_metadata, pack_text
from llmspell.tenancy.model import ImportReport

__all__ = ["OnConflict", "import_tenant"]

OnConflict: TypeAlias = Literal["error", "replace", "skip"]

#: One write of an import, but for a document that has more; each costs an fsync.
BATCH_RECORDS: Final = 4_096
BATCH_BYTES: Final = 16 << 20


def import_tenant(
    room: Room,
    config: TenantConfig,
    slot: Slot,
    file: str | os.PathLike[str] | BinaryIO,
    on_conflict: OnConflict,
) -> ImportReport:
    """See :meth:`llmspell.Tenant.import_from`."""
    if not isinstance(on_conflict, str) or on_conflict not in get_args(OnConflict):
        raise InputError(
            f"on_conflict must be one of {', '.join(get_args(OnConflict))}, got {on_conflict!r}"
        )
    started = time.perf_counter()
    with export_source(file) as source:
        importer = _Importer(room, config, on_conflict)
        if source.rewind is not None:
            importer.check(ExportReader(source.file, source.name), slot)
            source.rewind()
        reader = ExportReader(source.file, source.name)
        importer.write(reader)
    return ImportReport(
        records=importer.records,
        documents=importer.documents,
        skipped=importer.skipped,
        expired=importer.expired,
        bytes=reader.bytes,
        seconds=time.perf_counter() - started,
    )


@dataclass
class _Batch:
    """Records, or documents with their chunks: of one kind, so that no key comes twice."""

    puts: list[Put] = field(default_factory=list)
    documents: dict[str, StoredDocument] = field(default_factory=dict)
    bytes: int = 0

    @property
    def is_full(self) -> bool:
        return len(self.puts) + len(self.documents) >= BATCH_RECORDS or self.bytes >= BATCH_BYTES


class _Plan(NamedTuple):
    """What is to be written of a batch, and what that adds."""

    write: Write
    skipped: int
    grown: tuple[int, int, int]  # documents, vectors, bytes of storage


class _Importer:
    """One import. For one thread."""

    def __init__(self, room: Room, config: TenantConfig, on_conflict: OnConflict) -> None:
        self._room = room
        self._config = config
        self._on_conflict = on_conflict
        self._now_us = room.views.now_us()
        self._dim = 0
        self._models: set[str] = set()
        self.records = 0
        self.documents = 0
        self.skipped = 0
        self.expired = 0

    def check(self, reader: ExportReader, slot: Slot) -> None:
        """Read all of a file; raise what would keep it from being written, before anything is."""
        self._match(reader)
        grown = peak = np.zeros(3, dtype=np.int64)
        for batch in self._batches(reader):
            grown = grown + self._plan(batch).grown
            peak = np.maximum(peak, grown)
        self.expired = 0
        documents, vectors, storage = peak.tolist()
        has_dim = self._room.dim is not None or not vectors
        # Looked at, and not held: others may write meanwhile, and each batch is charged again.
        slot.require_room(
            documents=documents,
            vectors=vectors,
            storage=storage,
            dimensions=0 if has_dim else self._dim,
        )

    def write(self, reader: ExportReader) -> None:
        """Write a file, batch by batch."""
        try:
            self._match(reader)
            for batch in self._batches(reader):
                plans: list[_Plan] = []

                def plan(batch: _Batch = batch, plans: list[_Plan] = plans) -> Write:
                    plans.append(self._plan(batch))
                    return plans[-1].write

                self._room.write_as(plan)
                self.records += len(plans[-1].write.puts)
                self.documents += len(plans[-1].write.documents)
                self.skipped += plans[-1].skipped
        except BaseException as error:
            if self.records or self.documents:
                error.add_note(
                    f"{self.records} records and {self.documents} documents of the export were "
                    "written; import it again with on_conflict='skip' to go on behind them"
                )
            raise

    def _match(self, reader: ExportReader) -> None:
        metric, dim = reader.header.get("metric"), reader.header.get("dim")
        if not isinstance(metric, str) or type(dim) is not int or dim < 0:
            reader.refuse("the header names no metric or no dimension")
        if metric != self._config.metric:
            raise MetricMismatch(
                f"the export compares by {metric!r}, this tenant by {self._config.metric!r}",
                expected=self._config.metric,
                actual=metric,
            )
        expected = self._room.dim or self._config.dim
        if dim and expected not in (None, dim):
            raise DimensionMismatch(
                f"vectors of dimension {expected} expected, those of the export have {dim}",
                expected=expected,
                actual=dim,
            )
        self._dim = dim

    def _batches(self, reader: ExportReader) -> Iterator[_Batch]:
        batch = _Batch()
        document: ExportedDocument | None = None
        records = documents = 0
        for item in decode_items(reader, self._dim):
            if isinstance(item, ExportedDocument):
                if batch.is_full or (document is None and batch.puts):
                    yield batch
                    batch = _Batch()
                document = item
                documents += 1
                if not item.content_hash and not item.chunks:
                    continue  # it had lost all of its chunks, with which it goes now
                batch.documents[item.id] = StoredDocument(
                    item.content_hash,
                    unpack(pack_metadata(item.metadata, self._config.schema)),
                    _rows(len(batch.puts), item.chunks),
                    version=item.version,
                    source=item.source,
                    embedder=item.embedder,
                    created_us=item.created_us,
                    updated_us=item.updated_us,
                )
                continue
            records += 1
            if document is None and batch.is_full:
                yield batch
                batch = _Batch()
            if document is None and item.expires_us <= self._now_us:
                self.expired += 1
                continue
            put = self._put(item, is_chunk=document is not None)
            batch.puts.append(put)
            batch.bytes += put.storage
        if (reader.totals.get("records"), reader.totals.get("documents")) != (records, documents):
            reader.refuse(f"it counts other than {records} records and {documents} documents")
        if batch.puts or batch.documents:
            yield batch

    def _put(self, record: ExportedRecord, *, is_chunk: bool) -> Put:
        vector = np.frombuffer(record.vector, dtype="<f4")
        check_vectors(vector[np.newaxis], self._config.metric, self._dim)
        return Put(
            record.key,
            pack_metadata(record.metadata, self._config.schema),
            pack_text(record.text),
            record.vector,
            is_chunk=is_chunk,
            expires_us=record.expires_us,
            created_us=record.created_us,
            updated_us=record.updated_us,
        )

    def _require_model(
        self, batch: _Batch, documents: Iterable[StoredDocument], held: Mapping[str, int]
    ) -> None:
        """Let no document come beside those of another model, unless the export has both.

        Args:
            documents: that are to be written of the batch.
            held: documents that are there now, by model.
        """
        self._models.update(document.embedder for document in batch.documents.values())
        others = sorted({one.embedder for one in documents if one.embedder} - held.keys())
        if others and held and not held.keys() <= self._models:
            raise EmbedderMismatch(
                f"{others[0]!r} embedded documents of the export, {', '.join(sorted(held))} "
                "those of this tenant: vectors of different models don't compare. Import it into "
                "another tenant",
                held=held,
                asked=others[0],
            )

    def _plan(self, batch: _Batch) -> _Plan:
        """Decide by what is there now."""
        with self._room.store.moment() as moment:
            held = _Held(moment, batch.puts, self._room.views.now_us())
            taken: list[str | bytes]
            if batch.documents:
                taken = [name for name in batch.documents if held.has_document(moment, name, batch)]
            else:
                taken = [put.key for put in batch.puts if put.key in held.live]
            if taken and self._on_conflict == "error":
                raise DuplicateId(_conflict(taken))
            passed: set[str | bytes] = set(taken) if self._on_conflict == "skip" else set()
            puts, documents = _without(batch, passed)
            gone = held.replaced(moment, puts, documents)
            self._require_model(batch, documents.values(), moment.embedders or {})
        came = sum(put.storage for put in puts)
        grown = (
            len(documents) - sum(name in held.documents for name in documents),
            len(puts) - len(gone),
            came - sum(gone.values()),
        )
        vectors = None
        if puts:
            raw = b"".join(put.vector for put in puts)
            vectors = np.frombuffer(raw, dtype="<f4").reshape(len(puts), self._dim)
        write = Write(puts=puts, vectors=vectors, documents=documents)
        return _Plan(write, len(batch.puts) - len(puts), grown)


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

    def has_document(self, moment: Moment, name: str, batch: _Batch) -> bool:
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


def _without(
    batch: _Batch, passed: set[str | bytes]
) -> tuple[list[Put], dict[str, StoredDocument]]:
    """The batch without some documents and their chunks, or without some keys."""
    if not batch.documents:
        return [put for put in batch.puts if put.key not in passed], {}
    puts: list[Put] = []
    documents = {}
    for name, document in batch.documents.items():
        if name not in passed:
            documents[name] = document._replace(rows=_rows(len(puts), len(document.rows)))
            puts.extend(batch.puts[-1 - row] for row in document.rows)
    return puts, documents


def _rows(first: int, count: int) -> tuple[int, ...]:
    """Rows, in a write, of so many puts from one on."""
    return tuple(-1 - place for place in range(first, first + count))


def _conflict(taken: list[str | bytes]) -> str:
    names = [repr(decode_id(one) if isinstance(one, bytes) else one) for one in taken[:5]]
    more = f" and {len(taken) - 5} more" if len(taken) > 5 else ""
    return (
        f"{', '.join(names)}{more} there already; "
        "on_conflict='replace' writes over them, 'skip' leaves them"
    )
