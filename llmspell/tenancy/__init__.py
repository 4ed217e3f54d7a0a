"""Tenants: handles to rooms that share nothing."""

from llmspell.tenancy.aio import AsyncTenant, Workers
from llmspell.tenancy.hit import Hit
from llmspell.tenancy.model import (
    Chunk,
    Document,
    IngestProgress,
    IngestReport,
    Metadata,
    PreparedDocument,
    Progress,
    Record,
    RecordId,
    TenantInfo,
)
from llmspell.tenancy.ports import IngestSource, IngestTarget, TextServices
from llmspell.tenancy.residence import Residence
from llmspell.tenancy.tenant import Tenant

__all__ = [
    "AsyncTenant",
    "Chunk",
    "Document",
    "Hit",
    "IngestProgress",
    "IngestReport",
    "IngestSource",
    "IngestTarget",
    "Metadata",
    "PreparedDocument",
    "Progress",
    "Record",
    "RecordId",
    "Residence",
    "Tenant",
    "TenantInfo",
    "TextServices",
    "Workers",
]
