"""Prometheus text from the instruments of a database and the ledger's usage of its tenants.

Uses the official client (extra ``metrics``), which is imported when it is used. Names begin with
``llmspell_``; units are seconds and bytes; counters end in ``_total``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from llmspell.errors import MissingDependency
from llmspell.observability.metrics import CacheState, Ingestion, Instruments, Stages
from llmspell.observability.models import MODELS

if TYPE_CHECKING:
    from prometheus_client import Metric

    from llmspell._hot import Histogram

__all__ = ["OTHER_TENANTS", "PrometheusCollector", "QuotaState", "TenantState", "render"]

#: Value of the ``tenant`` label that stands for all tenants beyond the cap.
OTHER_TENANTS = "_other"

DEFAULT_MAX_TENANTS = 100


class QuotaState(Protocol):
    """Use of one quota; ``limit`` is None where unlimited."""

    @property
    def used(self) -> int: ...
    @property
    def limit(self) -> int | None: ...


class TenantState(Protocol):
    """Use of all quotas of one tenant, as :class:`llmspell.quota.Usage` gives it."""

    @property
    def documents(self) -> QuotaState: ...
    @property
    def vectors(self) -> QuotaState: ...
    @property
    def storage(self) -> QuotaState: ...
    @property
    def dimensions(self) -> QuotaState: ...
    @property
    def embeddings(self) -> QuotaState: ...
    @property
    def tokens(self) -> QuotaState: ...
    @property
    def cost(self) -> QuotaState: ...
    @property
    def api_calls(self) -> QuotaState: ...
    @property
    def queries(self) -> QuotaState: ...


class _Gauge(NamedTuple):
    """How one quota is exported; ``scale`` is what the ledger counts of one unit of it."""

    attribute: str
    name: str
    meaning: str
    unit: str = ""
    scale: int = 1


_TENANT_GAUGES = (
    _Gauge("documents", "documents", "Documents held"),
    _Gauge("vectors", "vectors", "Vectors held"),
    _Gauge("storage", "storage", "Vectors, texts and metadata held, in bytes", "_bytes"),
    _Gauge("dimensions", "dimensions", "Dimension of the vectors, 0 before the first"),
    _Gauge("embeddings", "embeddings_today", "Texts embedded since midnight UTC"),
    _Gauge("tokens", "tokens_today", "Tokens of language models since midnight UTC"),
    _Gauge(
        "cost",
        "cost_this_month",
        "Money spent since the month began in UTC, in the unit of max_cost_per_month",
        scale=1_000_000,
    ),
    _Gauge("api_calls", "api_calls_in_burst", "API calls that the rate has not given back yet"),
    _Gauge("queries", "queries_in_burst", "Queries that the rate has not given back yet"),
)


class PrometheusCollector:
    """Reads instruments and usage when Prometheus asks; register it in any ``CollectorRegistry``.

    Args:
        instruments: of the database.
        tenants: gives ``(tenant id, usage)`` pairs, always in the same order, so that a tenant
            keeps its series.
        recalls: gives a tenant's id and its estimated recall by k, for each tenant that is open;
            those that have measured none are left out.
        max_tenants: the first so many tenants get a ``tenant`` label of their own; the rest are
            summed up under :data:`OTHER_TENANTS`, and so is a tenant of that very name. Bounds the
            number of series, however many tenants there are.

    Thread-safe if ``tenants`` and ``recalls`` are.
    """

    def __init__(
        self,
        instruments: Instruments,
        tenants: Callable[[], Iterable[tuple[str, TenantState]]] = tuple,
        recalls: Callable[[], Iterable[tuple[str, Mapping[int, float]]]] = tuple,
        *,
        max_tenants: int = DEFAULT_MAX_TENANTS,
    ) -> None:
        self._instruments = instruments
        self._tenants = tenants
        self._recalls = recalls
        self._max_tenants = max_tenants

    def collect(self) -> Iterator[Metric]:
        """Yield all metric families.

        Raises:
            MissingDependency: the extra ``metrics`` is not installed.
        """
        core = _client_core()
        yield from self._collect_operations(core)
        yield from self._instruments.tools.collect(core)
        yield from self._instruments.agents.collect(core)
        if self._instruments.embedding_cache is not None:
            yield from _cache_families(core, self._instruments.embedding_cache())
        yield from self._collect_tenants(core)
        yield from MODELS.collect()

    def _collect_operations(self, core: Any) -> Iterator[Metric]:
        instruments = self._instruments
        runs = core.CounterMetricFamily(
            "llmspell_operations", "Operations by kind and outcome", labels=["operation", "outcome"]
        )
        seconds = core.HistogramMetricFamily(
            "llmspell_operation_duration_seconds", "Duration of operations", labels=["operation"]
        )
        for name, operation in instruments.operations().items():
            runs.add_metric([name, "ok"], operation.ok.value)
            runs.add_metric([name, "refused"], operation.refused.value)
            runs.add_metric([name, "error"], operation.failed.value)
            _add_histogram(seconds, name, operation.duration)
        yield runs
        yield seconds

        stages = core.HistogramMetricFamily(
            "llmspell_search_stage_duration_seconds", "Parts of a search", labels=["stage"]
        )
        for field in fields(Stages):
            _add_histogram(stages, field.name, getattr(instruments.stages, field.name))
        yield stages

        documents = core.CounterMetricFamily(
            "llmspell_ingested_documents", "Ingested documents by outcome", labels=["outcome"]
        )
        for field in fields(Ingestion):
            if field.name != "chunks":
                count = getattr(instruments.ingestion, field.name).value
                documents.add_metric([field.name], count)
        yield documents
        yield core.CounterMetricFamily(
            "llmspell_ingested_chunks", "Chunks written", value=instruments.ingestion.chunks.value
        )
        scrubbing = instruments.scrubbing
        yield core.CounterMetricFamily(
            "llmspell_scrubbed_bytes", "Bytes read by scrubs", value=scrubbing.bytes.value
        )
        yield core.CounterMetricFamily(
            "llmspell_damages_found", "Damages that scrubs found", value=scrubbing.damages.value
        )

        refusals = core.CounterMetricFamily(
            "llmspell_quota_refusals", "Operations refused, by quota", labels=["quota"]
        )
        for quota, counter in instruments.refusals.items():
            refusals.add_metric([quota], counter.value)
        yield refusals

    def _collect_tenants(self, core: Any) -> Iterator[Metric]:
        number, labelled = _bound(self._tenants(), self._max_tenants)
        yield core.GaugeMetricFamily("llmspell_tenants", "Tenants of the database", value=number)
        for gauge in _TENANT_GAUGES:
            name = f"llmspell_tenant_{gauge.name}{gauge.unit}"
            used = core.GaugeMetricFamily(name, gauge.meaning, labels=["tenant"])
            limit = core.GaugeMetricFamily(
                f"llmspell_tenant_{gauge.name}_limit{gauge.unit}",
                f"Limit of {name}; +Inf where unlimited",
                labels=["tenant"],
            )
            for tenant, states in labelled.items():
                parts: list[QuotaState] = [getattr(state, gauge.attribute) for state in states]
                used.add_metric([tenant], sum(part.used for part in parts) / gauge.scale)
                limits = (math.inf if part.limit is None else part.limit for part in parts)
                limit.add_metric([tenant], sum(limits) / gauge.scale)
            yield used
            yield limit
        yield from self._collect_recall(core, labelled)

    def _collect_recall(self, core: Any, labelled: Container[str]) -> Iterator[Metric]:
        family = core.GaugeMetricFamily(
            "llmspell_tenant_estimated_recall",
            "Recall of searches for the k nearest that give neither ef_search nor recall, as it "
            "was measured; the lowest where tenants are summed up",
            labels=["tenant", "k"],
        )
        lowest: dict[tuple[str, int], float] = {}
        for tenant, by_k in self._recalls():
            label = tenant if tenant in labelled else OTHER_TENANTS
            for k, recall in by_k.items():
                lowest[label, k] = min(recall, lowest.get((label, k), recall))
        for (label, k), recall in lowest.items():
            family.add_metric([label, str(k)], recall)
        yield family


def render(
    instruments: Instruments,
    tenants: Callable[[], Iterable[tuple[str, TenantState]]] = tuple,
    recalls: Callable[[], Iterable[tuple[str, Mapping[int, float]]]] = tuple,
    *,
    max_tenants: int = DEFAULT_MAX_TENANTS,
) -> str:
    """Prometheus text of a database; arguments as in :class:`PrometheusCollector`.

    Raises:
        MissingDependency: the extra ``metrics`` is not installed.
    """
    try:
        import prometheus_client
    except ImportError as error:
        raise MissingDependency("metrics", "prometheus_client") from error
    registry = prometheus_client.CollectorRegistry(auto_describe=False)
    collector = PrometheusCollector(instruments, tenants, recalls, max_tenants=max_tenants)
    registry.register(collector)
    return prometheus_client.generate_latest(registry).decode("utf-8")


def _cache_families(core: Any, state: CacheState) -> Iterator[Metric]:
    texts = core.CounterMetricFamily(
        "llmspell_embedding_cache_texts",
        "Texts asked of the embedding cache, by where their vector was; miss: it was computed",
        labels=["result"],
    )
    texts.add_metric(["memory"], state.memory_hits)
    texts.add_metric(["disk"], state.disk_hits)
    texts.add_metric(["redis"], state.redis_hits)
    texts.add_metric(["shared"], state.shared)
    texts.add_metric(["miss"], state.misses)
    yield texts
    lost = core.CounterMetricFamily(
        "llmspell_embedding_cache_lost", "Vectors that the cache doesn't keep", labels=["reason"]
    )
    for reason in ("evicted", "corrupt", "dropped", "redis_dropped"):
        lost.add_metric([reason], getattr(state, reason))
    yield lost
    moved = core.CounterMetricFamily(
        "llmspell_embedding_cache_redis_bytes",
        "Bytes of vectors that went to Redis, and came from there",
        labels=["direction"],
    )
    moved.add_metric(["read"], state.redis_read_bytes)
    moved.add_metric(["written"], state.redis_written_bytes)
    yield moved
    for name, meaning in (
        ("written", "Vectors written to Redis"),
        ("failed", "Times that Redis failed, or didn't answer in time"),
    ):
        counted = core.CounterMetricFamily(f"llmspell_embedding_cache_redis_{name}", meaning)
        counted.add_metric([], getattr(state, f"redis_{name}"))
        yield counted
    for unit, meaning in (("entries", "Vectors"), ("bytes", "Bytes")):
        held = core.GaugeMetricFamily(
            f"llmspell_embedding_cache_{unit}",
            f"{meaning} in the embedding cache; on disk, of tenants whose cache is open",
            labels=["tier"],
        )
        for tier in ("memory", "disk"):
            held.add_metric([tier], getattr(state, f"{tier}_{unit}"))
        yield held


def _client_core() -> Any:
    try:
        from prometheus_client import core
    except ImportError as error:
        raise MissingDependency("metrics", "prometheus_client") from error
    return core


def _bound(
    tenants: Iterable[tuple[str, TenantState]], most: int
) -> tuple[int, dict[str, list[TenantState]]]:
    number = 0
    labelled: dict[str, list[TenantState]] = {}
    for tenant, state in tenants:
        number += 1
        has_own = number <= most and tenant != OTHER_TENANTS
        labelled.setdefault(tenant if has_own else OTHER_TENANTS, []).append(state)
    return number, labelled


def _add_histogram(family: Any, label: str, histogram: Histogram) -> None:
    buckets = [
        ("+Inf" if bound is None else repr(bound / 1e9), count)
        for bound, count in histogram.buckets()
    ]
    family.add_metric([label], buckets=buckets, sum_value=histogram.sum_ns / 1e9)
