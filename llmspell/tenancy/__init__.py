"""Tenants: handles to rooms that share nothing."""

from llmspell.tenancy.aio import AsyncTenant, Workers
from llmspell.tenancy.budget import Budget
from llmspell.tenancy.hit import Hit
from llmspell.tenancy.hits import Hits
from llmspell.tenancy.house import House
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
    SplitDocument,
    Suspension,
    TenantEvent,
    TenantInfo,
)
from llmspell.tenancy.ports import IngestSource, IngestTarget, TextServices
from llmspell.tenancy.tenant import Tenant

__all__ = [
    "AsyncTenant",
    "Budget",
    "Chunk",
    "Document",
    "DropReceipt",
    "EventKind",
    "Hit",
    "Hits",
    "House",
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
    "ScanPage",
    "SplitDocument",
    "Suspension",
    "Tenant",
    "TenantEvent",
    "TenantInfo",
    "TextServices",
    "Workers",
]
