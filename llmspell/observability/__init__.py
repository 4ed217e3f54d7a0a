"""Counters and latency histograms of a database, and their export as Prometheus text."""

from llmspell.observability.metrics import Ingestion, Instruments, Operation, Stages, now_ns
from llmspell.observability.prometheus import (
    OTHER_TENANTS,
    PrometheusCollector,
    QuotaState,
    TenantState,
    render,
)

__all__ = [
    "OTHER_TENANTS",
    "Ingestion",
    "Instruments",
    "Operation",
    "PrometheusCollector",
    "QuotaState",
    "Stages",
    "TenantState",
    "now_ns",
    "render",
]
