"""Tenants: handles to rooms that share nothing."""

from llmspell.tenancy.aio import AsyncTenant, Workers
from llmspell.tenancy.hit import Hit
from llmspell.tenancy.hits import Hits
from llmspell.tenancy.model import (
    Chunk,
    Document,
    DropReceipt,
    EventKind,
    ExportReport,
    ImportReport,
    IngestProgress,
    IngestReport,
    Metadata,
    Progress,
    Record,
    RecordId,
    ScanPage,
    SnapshotReport,
    SplitDocument,
    Suspension,
    TenantEvent,
    TenantInfo,
)
from llmspell.tenancy.ports import IngestSource, IngestTarget, TextServices
from llmspell.tenancy.residence import Residence
from llmspell.tenancy.tenant import Tenant

__all__ = [
    "AsyncTenant",
    "Chunk",
    "Document",
    "DropReceipt",
    "EventKind",
    "Hit",
    "Hits",
    "ExportReport",
    "ImportReport",
    "IngestProgress",
    "IngestReport",
    "IngestSource",
    "IngestTarget",
    "Metadata",
    "Progress",
    "Record",
    "RecordId",
    "Residence",
    "ScanPage",
    "SnapshotReport",
    "SplitDocument",
    "Suspension",
    "Tenant",
    "TenantEvent",
    "TenantInfo",
    "TextServices",
    "Workers",
]
