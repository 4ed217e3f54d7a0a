"""Embeddable, multi-tenant retrieval and tool runtime."""

from llmspell import errors
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
from llmspell.index import IdBitmap, Index, Neighbors
from llmspell.quota import QuotaUsage, Usage
from llmspell.tenancy import (
    AsyncTenant,
    Document,
    Hit,
    IngestProgress,
    IngestReport,
    Record,
    Tenant,
    TenantInfo,
)

__all__ = [
    "AsyncDatabase",
    "AsyncTenant",
    "Database",
    "Document",
    "ElementType",
    "Hit",
    "IdBitmap",
    "Index",
    "IndexParams",
    "IngestProgress",
    "IngestReport",
    "IsolationLevel",
    "Metric",
    "Neighbors",
    "QuotaLimits",
    "QuotaUsage",
    "Record",
    "Tenant",
    "TenantConfig",
    "TenantInfo",
    "Usage",
    "__version__",
    "errors",
    "open",
]

__version__ = "0.1.0"
