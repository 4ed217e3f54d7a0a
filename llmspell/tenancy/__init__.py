"""Tenants: handles to rooms that share nothing."""

from llmspell.tenancy.aio import AsyncTenant
from llmspell.tenancy.budget import Budget
from llmspell.tenancy.current import current_operation
from llmspell.tenancy.diversity import MMR
from llmspell.tenancy.documents import (
    Blob,
    Chunk,
    Document,
    DocumentInfo,
    DocumentPage,
    IngestProgress,
    IngestReport,
    Progress,
    SplitDocument,
    WebPage,
)
from llmspell.tenancy.execute import Ingest, RunAgent, Search, TenantOperation
from llmspell.tenancy.fusion import ReciprocalRank, WeightedScores
from llmspell.tenancy.handle_forms import async_handle, instruments_of, sync_handle
from llmspell.tenancy.hit import Hit
from llmspell.tenancy.hits import Hits
from llmspell.tenancy.hold import Hold
from llmspell.tenancy.house import House
from llmspell.tenancy.model import (
    DropReceipt,
    EventKind,
    ExportReport,
    ImportReport,
    Metadata,
    Record,
    RecordId,
    ScanPage,
    SnapshotReport,
    Suspension,
    TenantEvent,
    TenantInfo,
)
from llmspell.tenancy.operation import Operation
from llmspell.tenancy.parents import ParentDocument
from llmspell.tenancy.ports import IngestSource, IngestTarget, TextServices
from llmspell.tenancy.ranking import Thresholds
from llmspell.tenancy.registry import OnEvent, Registry
from llmspell.tenancy.reranking import Rerank, Reranker
from llmspell.tenancy.residence import Residence
from llmspell.tenancy.retrieved import Evidence, Retrieval, Retrieved, Span
from llmspell.tenancy.retrieving import Retrieve
from llmspell.tenancy.scope import ScopeKind, StateScope, tenant_id_of
from llmspell.tenancy.scrub_report import (
    DatabaseScrubReport,
    OnScrub,
    ScrubDamage,
    ScrubProgress,
    ScrubReport,
)
from llmspell.tenancy.tenant import Tenant
from llmspell.tenancy.workers import Workers

__all__ = [
    "AsyncTenant",
    "Blob",
    "Budget",
    "Chunk",
    "DatabaseScrubReport",
    "Document",
    "DocumentInfo",
    "DocumentPage",
    "DropReceipt",
    "EventKind",
    "Evidence",
    "Hit",
    "Hits",
    "Hold",
    "House",
    "ExportReport",
    "ImportReport",
    "Ingest",
    "IngestProgress",
    "IngestReport",
    "IngestSource",
    "IngestTarget",
    "Metadata",
    "OnEvent",
    "OnScrub",
    "Operation",
    "Progress",
    "Record",
    "ReciprocalRank",
    "RecordId",
    "Residence",
    "Retrieval",
    "Retrieve",
    "Retrieved",
    "Registry",
    "RunAgent",
    "ScanPage",
    "ScopeKind",
    "ScrubDamage",
    "ScrubProgress",
    "ScrubReport",
    "Search",
    "SnapshotReport",
    "Span",
    "SplitDocument",
    "StateScope",
    "Suspension",
    "Tenant",
    "TenantEvent",
    "TenantInfo",
    "TenantOperation",
    "TextServices",
    "Thresholds",
    "WeightedScores",
    "WebPage",
    "Workers",
    "async_handle",
    "current_operation",
    "instruments_of",
    "sync_handle",
    "tenant_id_of",
    "MMR",
    "ParentDocument",
    "Rerank",
    "Reranker",
]
