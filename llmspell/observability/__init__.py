"""Counters and latency histograms of a database, and their export as Prometheus text."""

from llmspell.observability.metrics import (
    CacheState,
    Counter,
    Ingestion,
    Instruments,
    Operation,
    Stages,
    now_ns,
)
from llmspell.observability.prometheus import (
    OTHER_TENANTS,
    PrometheusCollector,
    QuotaState,
    TenantState,
    render,
)
from llmspell.observability.spans import Attribute, Span, span
from llmspell.observability.tools import ToolMetrics

__all__ = [
    "OTHER_TENANTS",
    "CacheState",
    "Counter",
    "Attribute",
    "Ingestion",
    "Instruments",
    "Operation",
    "PrometheusCollector",
    "QuotaState",
    "Span",
    "Stages",
    "TenantState",
    "ToolMetrics",
    "now_ns",
    "render",
    "span",
]
