from __future__ import annotations

import builtins
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from llmspell.config import QuotaLimits
from llmspell.errors import MissingDependency, QuotaExceeded
from llmspell.observability import OTHER_TENANTS, Instruments, render
from llmspell.quota import Ledger, Quota, QuotaUsage, Usage

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parse(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def usage(used: int, limit: int | None) -> Usage:
    return Usage(*[QuotaUsage(used, limit)] * len(Quota))


def test_text_equals_the_counters() -> None:
    instruments = Instruments()
    for _ in range(3):
        with instruments.search.timed():
            pass
    with pytest.raises(QuotaExceeded), instruments.upsert.timed():
        raise QuotaExceeded(quota="max_vectors", limit=1, used=1, requested=1, retry_after=None)
    with pytest.raises(OSError, match="disk"), instruments.get.timed():
        raise OSError("disk")
    instruments.stages.embed.record(1_500_000)
    instruments.ingestion.written.inc(5)
    instruments.ingestion.unchanged.inc(2)
    instruments.ingestion.chunks.inc(40)
    samples = parse(render(instruments))

    for name, operation in instruments.operations().items():
        for outcome, counter in (
            ("ok", operation.ok),
            ("refused", operation.refused),
            ("error", operation.failed),
        ):
            counted = value(samples, "llmspell_operations_total", operation=name, outcome=outcome)
            assert counted == counter.value
        seconds = "llmspell_operation_duration_seconds"
        assert value(samples, f"{seconds}_count", operation=name) == operation.duration.count
        assert value(samples, f"{seconds}_sum", operation=name) == operation.duration.sum_ns / 1e9
    assert value(samples, "llmspell_operations_total", operation="search", outcome="ok") == 3
    assert value(samples, "llmspell_operations_total", operation="upsert", outcome="refused") == 1
    assert value(samples, "llmspell_operations_total", operation="get", outcome="error") == 1
    assert value(samples, "llmspell_quota_refusals_total", quota="max_vectors") == 1
    assert value(samples, "llmspell_quota_refusals_total", quota="max_documents") == 0
    assert value(samples, "llmspell_ingested_documents_total", outcome="written") == 5
    assert value(samples, "llmspell_ingested_documents_total", outcome="unchanged") == 2
    assert value(samples, "llmspell_ingested_documents_total", outcome="skipped") == 0
    assert value(samples, "llmspell_ingested_chunks_total") == 40
    assert value(samples, "llmspell_scrubbed_bytes_total") == 0


def test_scrubs_are_counted() -> None:
    instruments = Instruments()
    instruments.scrubbing.bytes.inc(70)
    instruments.scrubbing.damages.inc(3)
    samples = parse(render(instruments))
    assert value(samples, "llmspell_scrubbed_bytes_total") == 70
    assert value(samples, "llmspell_damages_found_total") == 3


def test_histogram_buckets_are_cumulative_seconds() -> None:
    instruments = Instruments()
    durations = [500, 1024, 1025, 3_000_000, 10**15]
    for ns in durations:
        instruments.stages.search.record(ns)
    name = "llmspell_search_stage_duration_seconds_bucket"
    buckets = {
        float(dict(labels)["le"]): count
        for (sample, labels), count in parse(render(instruments)).items()
        if sample == name and ("stage", "search") in labels
    }
    assert len(buckets) == 27
    for bound, count in buckets.items():
        assert count == sum(ns / 1e9 <= bound for ns in durations)


def test_usage_of_the_ledger_is_exported(tmp_path: Path) -> None:
    slot = Ledger(tmp_path / "ledger").slot(b"k" * 16)
    slot.set_limits(QuotaLimits(max_documents=None, max_cost_per_month=2.5))
    slot.charge_all((Quota.DOCUMENTS, 2), (Quota.STORAGE, 1000), (Quota.EMBEDDINGS, 7))
    slot.charge_all((Quota.TOKENS, 90), (Quota.COST, 1_250_000), (Quota.DIMENSIONS, 384))
    samples = parse(render(Instruments(), lambda: [("acme", slot.usage())]))

    def of_acme(name: str) -> float:
        return value(samples, f"llmspell_tenant_{name}", tenant="acme")

    assert of_acme("documents") == 2
    assert of_acme("documents_limit") == math.inf
    assert of_acme("storage_bytes") == 1000
    assert of_acme("storage_limit_bytes") == 1024 * 1024 * 1024
    assert of_acme("embeddings_today") == 7
    assert of_acme("api_calls_in_burst_limit") == 100
    assert (of_acme("tokens_today"), of_acme("tokens_today_limit")) == (90, math.inf)
    assert (of_acme("cost_this_month"), of_acme("cost_this_month_limit")) == (1.25, 2.5)
    assert of_acme("dimensions") == 384
    assert of_acme("queries_in_burst_limit") == math.inf
    assert value(samples, "llmspell_tenants") == 1


def test_every_quota_has_its_use_and_its_limit() -> None:
    tenant = Usage(*[QuotaUsage(quota, 100 + quota) for quota in Quota])
    samples = parse(render(Instruments(), lambda: [("acme", tenant)]))
    found = sorted(v for (name, _), v in samples.items() if name.startswith("llmspell_tenant_"))
    scale = [1_000_000 if quota == Quota.COST else 1 for quota in Quota]
    limits = [(100 + quota) / scale[quota] for quota in Quota]
    assert found == sorted([quota / scale[quota] for quota in Quota] + limits)


def test_tenants_beyond_the_cap_are_summed_up() -> None:
    tenants = [(f"t{i}", usage(i, 10)) for i in range(10)]
    samples = parse(render(Instruments(), lambda: tenants, max_tenants=3))
    labels = {dict(labels).get("tenant") for _, labels in samples} - {None}
    assert labels == {"t0", "t1", "t2", OTHER_TENANTS}
    others = value(samples, "llmspell_tenant_vectors", tenant=OTHER_TENANTS)
    assert others == sum(range(3, 10))
    assert value(samples, "llmspell_tenant_vectors_limit", tenant=OTHER_TENANTS) == 70
    assert value(samples, "llmspell_tenants") == 10


def test_estimated_recall_is_by_tenant_and_k_and_the_lowest_beyond_the_cap() -> None:
    tenants = [(f"t{i}", usage(i, 10)) for i in range(5)]
    recalls = [("t1", {1: 0.99, 10: 0.9}), ("t2", {}), ("t3", {10: 0.8}), ("t4", {10: 0.7})]
    samples = parse(render(Instruments(), lambda: tenants, lambda: recalls, max_tenants=3))
    found = {labels: v for (name, labels), v in samples.items() if name.endswith("_recall")}
    assert found == {
        frozenset({("tenant", "t1"), ("k", "1")}): 0.99,
        frozenset({("tenant", "t1"), ("k", "10")}): 0.9,
        frozenset({("tenant", OTHER_TENANTS), ("k", "10")}): 0.7,
    }


def test_tenant_named_like_the_sum_is_part_of_it() -> None:
    tenants = [(OTHER_TENANTS, usage(1, None)), ("a", usage(2, 10)), ("b", usage(4, 10))]
    samples = parse(render(Instruments(), lambda: tenants, max_tenants=2))
    assert value(samples, "llmspell_tenant_vectors", tenant=OTHER_TENANTS) == 5
    assert value(samples, "llmspell_tenant_vectors_limit", tenant=OTHER_TENANTS) == math.inf
    assert value(samples, "llmspell_tenant_vectors", tenant="a") == 2


@pytest.mark.parametrize("name", ['quo"ted', "new\nline", "back\\slash", "日本", "a" * 128])
def test_any_tenant_id_survives_as_a_label(name: str) -> None:
    samples = parse(render(Instruments(), lambda: [(name, usage(1, 2))]))
    assert value(samples, "llmspell_tenant_vectors", tenant=name) == 1


def test_missing_client_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without_client(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("prometheus_client"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    for module in [name for name in sys.modules if name.startswith("prometheus_client")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(builtins, "__import__", without_client)
    with pytest.raises(MissingDependency, match=r"llmspell\[metrics\]"):
        render(Instruments())
