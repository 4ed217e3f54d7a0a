"""What goes into a tenant and comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from llmspell.config import TenantConfig

__all__ = [
    "Chunk",
    "Document",
    "DropReceipt",
    "EventKind",
    "ExportReport",
    "ImportReport",
    "IngestProgress",
    "IngestReport",
    "Metadata",
    "Progress",
    "Record",
    "RecordId",
    "ScanPage",
    "SnapshotReport",
    "SplitDocument",
    "Suspension",
    "TenantEvent",
    "TenantInfo",
]

RecordId: TypeAlias = str | int
"""A str of at most 510 UTF-8 bytes, or an integer that fits 64 bits with a sign."""

MetadataValue: TypeAlias = (
    "str | int | float | bool | datetime"
    "| Sequence[MetadataValue] | Mapping[str, MetadataValue] | None"
)
Metadata: TypeAlias = Mapping[str, MetadataValue]
"""JSON-like: string keys; values are str, int, float, bool, None, lists and mappings."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text to ingest.

    Args:
        id: identifies it within its tenant; ingesting the same id again replaces it.
        text: its whole content.
        metadata: copied to every chunk of it.
        media_type: says how to read ``text``: "text/plain", "text/markdown", "text/html" or
            "text/x-python".
    """

    id: str
    text: str
    metadata: Metadata = field(default_factory=dict)
    media_type: str = "text/plain"


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document: ``text`` is what stands from ``start`` to ``end``, in characters."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SplitDocument:
    """A document that is split, ready to be embedded and written.

    Args:
        id: of the document.
        content_hash: equal for equal content, metadata and way of splitting; not empty.
        metadata: of the document.
        chunks: in order.
    """

    id: str
    content_hash: bytes
    metadata: Metadata
    chunks: Sequence[Chunk]


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestProgress:
    """How far an ingest has come.

    Args:
        documents: done so far, the unchanged ones included.
        total: documents there are; None where the source can't say before its end.
        chunks: written so far.
        current: id of the document at hand.
    """

    documents: int
    total: int | None
    chunks: int
    current: str


Progress: TypeAlias = Callable[[IngestProgress], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """What an ingest did.

    Args:
        added: documents that were new.
        replaced: documents that were there with other content.
        unchanged: documents that were there just so; nothing was embedded or written for them.
        chunks: chunks written.
        seconds: wall-clock time.
        stages: seconds of it by stage: "load", "split", "embed", "write".
        skipped: sources that were passed over, each with the reason, such as a binary file.
    """

    added: int = 0
    replaced: int = 0
    unchanged: int = 0
    chunks: int = 0
    seconds: float = 0.0
    stages: Mapping[str, float] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()

    @property
    def documents(self) -> int:
        """Documents seen."""
        return self.added + self.replaced + self.unchanged

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in self.stages.items())
        return (
            f"{self.documents:,} documents ({self.added:,} added, {self.replaced:,} replaced, "
            f"{self.unchanged:,} unchanged), {len(self.skipped):,} skipped; {self.chunks:,} chunks "
            f"in {self.seconds:.2f} s ({parts})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record as it is stored.

    Args:
        id: as it was given.
        vector: (dim,) float32, as it was given; read-only. (0,) where a scan left vectors out.
        text: None where none was given.
        metadata: a dict of its own; changing it changes nothing in the store.
        created_at: when a record of this id was first written, UTC.
        updated_at: when this one was written, UTC.
        expires_at: when it goes, UTC; None where it stays.
    """

    id: RecordId
    vector: NDArray[np.float32]
    text: str | None
    metadata: dict[str, object]
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None = None


Suspension: TypeAlias = Literal["none", "writes", "all"]
"""What a suspended tenant may not do."""


EventKind: TypeAlias = Literal[
    "created", "restored", "updated", "suspended", "resumed", "dropped", "quota"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantEvent:
    """Something that happened to a tenant, as :class:`llmspell.Database` tells it to ``on_event``.

    Args:
        kind: "created", also for a clone, "restored", "updated", "suspended", "resumed", "dropped",
            also for one that a restored one replaces, or "quota".
        tenant_id: of the tenant.
        generation: of the tenant.
        quota: of "quota": its name, as in :class:`llmspell.QuotaLimits`.
        percent: of "quota": 80 or 100; use has just come to so much of the limit.
        used: of "quota": what it came to, in the quota's unit.
        limit: of "quota".
    """

    kind: EventKind
    tenant_id: str
    generation: int
    quota: str | None = None
    percent: int | None = None
    used: int | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DropReceipt:
    """What a drop freed. Nothing of the process names the tenant any more.

    Args:
        tenant_id: of the tenant.
        generation: of the tenant; one made again under the same id has another.
        bytes_on_disk: that its files took.
        bytes_in_memory: that it took in this process; 0 where it wasn't open.
    """

    tenant_id: str
    generation: int
    bytes_on_disk: int
    bytes_in_memory: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanPage:
    """A page of records.

    Args:
        records: in the order of ids: ints first, ascending, then strings by their UTF-8 bytes.
        cursor: goes on behind the last of them, also in another process; None at the end.
    """

    records: list[Record]
    cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What an export wrote.

    Args:
        records: in the file, chunks of documents included.
        documents: ingested documents in the file.
        bytes: length of the file.
        seconds: wall-clock time.
    """

    records: int
    documents: int
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did.

    Args:
        records: written, chunks of documents included.
        documents: written.
        skipped: records that were passed over because they or their document were there.
        expired: records that were passed over because they have expired since the export.
        bytes: length of the file.
        seconds: wall-clock time.
    """

    records: int
    documents: int
    skipped: int
    expired: int
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotReport:
    """What a snapshot holds.

    Args:
        records: in it, chunks of documents included, and those that have expired and are still
            there.
        documents: ingested documents in it.
        bytes: length of its files together.
        seconds: wall-clock time.
    """

    records: int
    documents: int
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantInfo:
    """A line in the list of tenants.

    Args:
        config: what the tenant was created with, with its present name and quotas.
        generation: grows with every tenant created; one made again under an old id has a new one.
        created_at: UTC.
        suspension: what it may not do: "none", "writes", or "all".
    """

    config: TenantConfig
    generation: int
    created_at: datetime
    suspension: Suspension = "none"

    @property
    def id(self) -> str:
        """Id of the tenant."""
        return self.config.id

    @property
    def name(self) -> str:
        """Name for people; the id where none was given."""
        return self.config.name or self.config.id
