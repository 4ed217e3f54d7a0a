"""Exports of tenants."""

from __future__ import annotations

import os
import time
from typing import BinaryIO

from llmspell.config import TenantConfig
from llmspell.errors import CorruptFile
from llmspell.storage import ExportWriter, Room, encode_document, encode_record, export_target
from llmspell.tenancy.model import ExportReport

__all__ = ["export_tenant"]


def export_tenant(
    room: Room, config: TenantConfig, file: str | os.PathLike[str] | BinaryIO
) -> ExportReport:
    """See :meth:`llmspell.Tenant.export`."""
    from importlib.metadata import version  # it loads the reading of mails

    started = time.perf_counter()
    now_us = room.views.now_us()
    with export_target(file) as write, room.store.moment() as moment:
        counters = moment.counters
        about = {
            "metric": config.metric,
            "dim": counters.dim,
            "schema": dict(config.schema),
            "name": config.name,
            "exported_us": now_us,
            "llmspell": version("llmspell"),
        }
        writer = ExportWriter(write, about)
        records = expired = documents = 0
        for record, _ in moment.records(vectors=False):
            if record.is_chunk:
                continue
            if record.expires_us <= now_us:
                expired += 1
                continue
            writer.add(encode_record(record, moment.vector(record.rowid)))
            records += 1
        for document_id, document in moment.documents():
            chunks = sum(1 for _ in moment.chunks(document, vectors=False))
            writer.add(encode_document(document_id, document, chunks))
            for chunk, vector in moment.chunks(document):
                writer.add(encode_record(chunk, vector))
            documents += 1
            records += chunks
        if (records + expired, documents) != (counters.vectors, counters.documents):
            raise CorruptFile(
                f"{counters.vectors} records and {counters.documents} documents are counted, "
                f"but {records + expired} and {documents} are there"
            )
        writer.finish({"records": records, "documents": documents})
    return ExportReport(
        records=records,
        documents=documents,
        bytes=writer.bytes,
        seconds=time.perf_counter() - started,
    )
