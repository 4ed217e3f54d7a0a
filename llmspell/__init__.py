"""Embeddable, multi-tenant retrieval and tool runtime.

Names are loaded when they are first used: a program that takes an :class:`Index` alone loads no
database.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from llmspell import errors

if TYPE_CHECKING:
    from llmspell.aio import AsyncDatabase
    from llmspell.config import (
        ElementType,
        IndexParams,
        IsolationLevel,
        Metric,
        QuotaLimits,
        TenantConfig,
    )
    from llmspell.database import Database, open
    from llmspell.index import (
        CancelToken,
        GraphFaults,
        IdBitmap,
        Index,
        IndexAudit,
        IndexMemory,
        IndexRepairs,
        IndexStats,
        MemoryEstimate,
        Neighbors,
        RangeNeighbors,
        RecallCurve,
        RecallPoint,
        SearchCounters,
        SearchPages,
        estimate_memory,
    )
    from llmspell.quota import QuotaUsage, Usage
    from llmspell.rag import Chunking, EmbeddingCacheSettings, EmbeddingCacheStats
    from llmspell.tenancy import (
        MMR,
        AsyncTenant,
        Blob,
        DatabaseScrubReport,
        Document,
        DocumentInfo,
        DocumentPage,
        DropReceipt,
        Evidence,
        ExportReport,
        Hit,
        Hits,
        Hold,
        ImportReport,
        Ingest,
        IngestProgress,
        IngestReport,
        Operation,
        ParentDocument,
        ReciprocalRank,
        Record,
        Rerank,
        Retrieval,
        Retrieve,
        Retrieved,
        RunAgent,
        ScanPage,
        ScrubDamage,
        ScrubProgress,
        ScrubReport,
        Search,
        SnapshotReport,
        Span,
        StateScope,
        Tenant,
        TenantEvent,
        TenantInfo,
        Thresholds,
        WebPage,
        WeightedScores,
        current_operation,
    )

__all__ = [
    "AsyncDatabase",
    "AsyncTenant",
    "Blob",
    "CancelToken",
    "Chunking",
    "Database",
    "DatabaseScrubReport",
    "Document",
    "DocumentInfo",
    "DocumentPage",
    "DropReceipt",
    "ElementType",
    "EmbeddingCacheSettings",
    "EmbeddingCacheStats",
    "Evidence",
    "ExportReport",
    "GraphFaults",
    "Hit",
    "Hits",
    "Hold",
    "IdBitmap",
    "ImportReport",
    "Index",
    "IndexAudit",
    "IndexMemory",
    "IndexParams",
    "IndexRepairs",
    "IndexStats",
    "Ingest",
    "IngestProgress",
    "IngestReport",
    "IsolationLevel",
    "MMR",
    "MemoryEstimate",
    "Metric",
    "Neighbors",
    "Operation",
    "ParentDocument",
    "QuotaLimits",
    "QuotaUsage",
    "RangeNeighbors",
    "RecallCurve",
    "RecallPoint",
    "ReciprocalRank",
    "Record",
    "Rerank",
    "Retrieval",
    "Retrieve",
    "Retrieved",
    "RunAgent",
    "ScanPage",
    "ScrubDamage",
    "ScrubProgress",
    "ScrubReport",
    "Search",
    "SearchCounters",
    "SearchPages",
    "Span",
    "StateScope",
    "SnapshotReport",
    "Tenant",
    "TenantConfig",
    "TenantEvent",
    "TenantInfo",
    "Thresholds",
    "Usage",
    "WebPage",
    "WeightedScores",
    "__version__",
    "current_operation",
    "errors",
    "estimate_memory",
    "open",
]

__version__ = "0.1.0"

_MODULES = {
    "aio": ("AsyncDatabase",),
    "config": (
        *("ElementType", "IndexParams", "IsolationLevel", "Metric", "QuotaLimits"),
        "TenantConfig",
    ),
    "database": ("Database", "open"),
    "index": (
        *("CancelToken", "GraphFaults", "IdBitmap", "Index", "IndexAudit", "IndexMemory"),
        *("IndexRepairs", "IndexStats", "MemoryEstimate"),
        *(
            "Neighbors",
            "RangeNeighbors",
            "RecallCurve",
            "RecallPoint",
            "SearchCounters",
            "SearchPages",
            "estimate_memory",
        ),
    ),
    "quota": ("QuotaUsage", "Usage"),
    "rag": ("Chunking", "EmbeddingCacheSettings", "EmbeddingCacheStats"),
    "tenancy": (
        *(
            "AsyncTenant",
            "Blob",
            "Document",
            "DocumentInfo",
            "DocumentPage",
            "DropReceipt",
            "ExportReport",
            "Hit",
            "Hits",
            "Hold",
            "ImportReport",
        ),
        *("IngestProgress", "IngestReport", "Record", "ScanPage", "Tenant", "TenantEvent"),
        *("TenantInfo", "Ingest", "Search", "RunAgent", "Operation"),
        *("current_operation", "Hold", "StateScope", "SnapshotReport", "DatabaseScrubReport"),
        *("ScrubDamage", "ScrubProgress", "ScrubReport", "Evidence", "ReciprocalRank", "Retrieval"),
        *("Retrieve", "Retrieved", "Span", "Thresholds", "WeightedScores", "MMR", "Rerank"),
        *("ParentDocument",),
        *("Blob", "DocumentInfo", "DocumentPage", "WebPage"),
    ),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a public name, once: it is an attribute from then on."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
