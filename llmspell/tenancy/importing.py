"""Imports of what another tenant exported."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, get_args

import numpy as np

from llmspell.config import TenantConfig
from llmspell.errors import DimensionMismatch, EmbedderMismatch, InputError, MetricMismatch
from llmspell.quota import Slot
from llmspell.storage import (
    ExportedDocument,
    ExportedRecord,
    ExportReader,
    Put,
    Room,
    StoredDocument,
    Write,
    decode_items,
    export_source,
    unpack,
)
from llmspell.tenancy.import_plan import Batch, OnConflict, Plan, plan_write, rows_of
from llmspell.tenancy.inputs import check_vectors, pack_metadata, pack_text
from llmspell.tenancy.model import ImportReport

__all__ = ["import_tenant"]


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
                plans: list[Plan] = []

                def plan(batch: Batch = batch, plans: list[Plan] = plans) -> Write:
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

    def _batches(self, reader: ExportReader) -> Iterator[Batch]:
        batch = Batch()
        document: ExportedDocument | None = None
        records = documents = 0
        for item in decode_items(reader, self._dim):
            if isinstance(item, ExportedDocument):
                if batch.is_full or (document is None and batch.puts):
                    yield batch
                    batch = Batch()
                document = item
                documents += 1
                if not item.content_hash and not item.chunks:
                    continue  # it had lost all of its chunks, with which it goes now
                batch.documents[item.id] = StoredDocument(
                    item.content_hash,
                    unpack(pack_metadata(item.metadata, self._config.schema)),
                    rows_of(len(batch.puts), item.chunks),
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
                batch = Batch()
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
        self, batch: Batch, documents: Iterable[StoredDocument | None], held: Mapping[str, int]
    ) -> None:
        """Let no document come beside those of another model, unless the export has both.

        Args:
            documents: that are to be written of the batch.
            held: documents that are there now, by model.
        """
        self._models.update(document.embedder for document in batch.documents.values())
        written = {one.embedder for one in documents if one is not None}
        others = sorted(written - {""} - held.keys())
        if others and held and not held.keys() <= self._models:
            raise EmbedderMismatch(
                f"{others[0]!r} embedded documents of the export, {', '.join(sorted(held))} "
                "those of this tenant: vectors of different models don't compare. Import it into "
                "another tenant",
                held=held,
                asked=others[0],
            )

    def _plan(self, batch: Batch) -> Plan:
        """Decide by what is there now."""
        with self._room.store.moment() as moment:
            now_us = self._room.views.now_us()
            plan = plan_write(moment, batch, self._on_conflict, dim=self._dim, now_us=now_us)
            self._require_model(batch, plan.write.documents.values(), moment.embedders or {})
        return plan
