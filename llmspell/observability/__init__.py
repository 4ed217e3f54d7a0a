"""Counters and latency histograms of a database, and their export as Prometheus text."""

from llmspell.observability.calls import AgentMetrics, CallMetrics, ToolMetrics
from llmspell.observability.metrics import (
    CacheState,
    Counter,
    Ingestion,
    Instruments,
    Operation,
    Stages,
    now_ns,
)
from llmspell.observability.models import MODELS, Model, ModelMetrics
from llmspell.observability.prometheus import (
    OTHER_TENANTS,
    PrometheusCollector,
    QuotaState,
    TenantState,
    render,
)
from llmspell.observability.spans import (
    NO_SPAN,
    Attribute,
    OpenSpan,
    Span,
    is_in_model_call,
    is_traced,
    model_call,
    span,
)

__all__ = [
    "MODELS",
    "NO_SPAN",
    "OTHER_TENANTS",
    "AgentMetrics",
    "Attribute",
    "CacheState",
    "CallMetrics",
    "Counter",
    "Ingestion",
    "Instruments",
    "Model",
    "ModelMetrics",
    "OpenSpan",
    "Operation",
    "PrometheusCollector",
    "QuotaState",
    "Span",
    "Stages",
    "TenantState",
    "ToolMetrics",
    "is_in_model_call",
    "is_traced",
    "model_call",
    "now_ns",
    "render",
    "span",
]
