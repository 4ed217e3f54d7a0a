"""Snapshots of tenants outside of their database."""

from __future__ import annotations

import os
import time
from typing import BinaryIO

from llmspell.storage import CatalogEntry, Room
from llmspell.storage.archive import ArchiveWriter, archive_target
from llmspell.storage.manifest import Manifest
from llmspell.storage.verify import verify
from llmspell.tenancy.model import SnapshotReport

__all__ = ["snapshot_tenant"]


def snapshot_tenant(
    room: Room, entry: CatalogEntry, target: str | os.PathLike[str] | BinaryIO
) -> SnapshotReport:
    """See :meth:`llmspell.Tenant.snapshot`."""
    from importlib.metadata import version  # it loads the reading of mails

    started = time.perf_counter()
    taken_us = room.views.now_us()
    with archive_target(target) as archive, room.copying() as copy:
        counters = verify(copy.moment, entry.config.metric)
        writer = ArchiveWriter(archive)
        for file in copy.files:
            with file.read() as (size, chunks):
                writer.add(file.name, size, chunks)
        writer.finish(
            Manifest(
                llmspell=version("llmspell"),
                taken_us=taken_us,
                config=entry.config,
                generation=entry.generation,
                counters=counters,
                files=tuple(writer.files),
            )
        )
    return SnapshotReport(
        records=counters.vectors,
        documents=counters.documents,
        bytes=writer.bytes,
        seconds=time.perf_counter() - started,
    )
