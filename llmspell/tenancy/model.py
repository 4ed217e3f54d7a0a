"""What goes into a tenant and comes out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from llmspell.config import TenantConfig

__all__ = [
    "DropReceipt",
    "EventKind",
    "ExportReport",
    "ImportReport",
    "Metadata",
    "MetadataValue",
    "Record",
    "RecordId",
    "ScanPage",
    "SnapshotReport",
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
