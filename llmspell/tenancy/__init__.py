"""Tenants: handles to rooms that share nothing."""

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

__all__ = [
    "Chunk",
    "Document",
    "IngestProgress",
    "IngestReport",
    "IngestSource",
    "IngestTarget",
    "Metadata",
    "PreparedDocument",
    "Progress",
    "Record",
    "RecordId",
    "TenantInfo",
    "TextServices",
]
