from __future__ import annotations

import asyncio
import gc
import threading

import pytest

from llmspell import _hot
from llmspell.config import QUOTA_NAMES
from llmspell.errors import InputError, QuotaExceeded
from llmspell.observability import Instruments, Model, ToolMetrics, models
from llmspell.observability.calls import MAX_NAMES
from llmspell.tools.threads import begin
from tests.collected import left_pending


def refusal(quota: str = "max_vectors") -> QuotaExceeded:
    return QuotaExceeded(quota=quota, limit=1, used=1, requested=1, retry_after=None)


def test_counter_adds_up_over_threads() -> None:
    counter = _hot.Counter()

    def count() -> None:
        for _ in range(5_000):
            counter.inc()
            counter.inc(2)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.value == 60_000


@pytest.mark.parametrize("amount", [-1, 2**63])
def test_counter_and_histogram_refuse_what_they_cannot_hold(amount: int) -> None:
    counter, histogram = _hot.Counter(), _hot.Histogram()
    with pytest.raises(InputError):
        counter.inc(amount)
    with pytest.raises(InputError):
        histogram.record(amount)
    assert counter.value == histogram.count == 0


@pytest.mark.parametrize(
    "ns", [0, 1, 1023, 1024, 1025, 2048, 2049, 10**6, 2**35, 2**35 + 1, 10**15]
)
def test_duration_is_counted_in_every_bucket_that_bounds_it(ns: int) -> None:
    histogram = _hot.Histogram()
    histogram.record(ns)
    for bound, count in histogram.buckets():
        assert count == (1 if bound is None or ns <= bound else 0)
    assert histogram.count == 1
    assert histogram.sum_ns == ns


def test_buckets_grow_by_powers_of_two() -> None:
    bounds = [bound for bound, _ in _hot.Histogram().buckets()]
    assert bounds == [2**i for i in range(10, 36)] + [None]


@pytest.mark.parametrize("q", [0.0, 0.25, 0.5, 0.9, 0.99, 1.0])
def test_quantile_is_right_within_a_quarter(q: float) -> None:
    histogram = _hot.Histogram()
    durations = [2_000 + 37 * i for i in range(10_000)]
    for ns in durations:
        histogram.record(ns)
    exact = durations[max(0, round(q * len(durations)) - 1)]
    quantile = histogram.quantile(q)
    assert quantile is not None
    assert exact <= quantile <= exact * 1.25


def test_quantile_of_nothing_and_of_endless_durations_is_unknown() -> None:
    histogram = _hot.Histogram()
    assert histogram.quantile(0.5) is None
    histogram.record(10**15)
    assert histogram.quantile(0.5) is None
    with pytest.raises(InputError, match="between 0 and 1"):
        histogram.quantile(1.5)


def test_time_since_a_start_is_recorded() -> None:
    histogram = _hot.Histogram()
    passed = histogram.record_since(_hot.now_ns() - 5_000_000)
    assert passed >= 5_000_000
    assert histogram.sum_ns == passed
    assert histogram.record_since(_hot.now_ns() + 10**12) == 0


def test_timed_block_counts_its_outcome_and_duration() -> None:
    instruments = Instruments()
    search = instruments.search
    with search.timed():
        pass
    with pytest.raises(ZeroDivisionError), search.timed():
        1 / 0  # noqa: B018
    with pytest.raises(QuotaExceeded), search.timed():
        raise refusal("max_api_calls_per_minute")
    assert (search.ok.value, search.failed.value, search.refused.value) == (1, 1, 1)
    assert search.duration.count == 3
    assert instruments.refusals["max_api_calls_per_minute"].value == 1
    assert instruments.upsert.ok.value == 0


def test_every_quota_has_a_counter_of_refusals() -> None:
    instruments = Instruments()
    for name in QUOTA_NAMES:
        with pytest.raises(QuotaExceeded), instruments.upsert.timed():
            raise refusal(name)
    assert {counter.value for counter in instruments.refusals.values()} == {1}
    assert instruments.upsert.refused.value == len(QUOTA_NAMES)


def test_names_beyond_the_first_so_many_share_a_series() -> None:
    metrics = ToolMetrics()
    for number in range(MAX_NAMES + 5):
        metrics.count(f"tool {number}", "ok", 1_000)
    metrics.count("tool 0", "ok", 0)
    metrics.count(None, "unknown_tool", 0)
    calls = metrics.calls()
    assert len(calls) == MAX_NAMES + 2
    assert (calls["tool 0", "ok"], calls["_other", "ok"]) == (2, 5)
    assert calls["_unknown", "unknown_tool"] == 1


def test_call_that_the_collector_ends_is_counted_while_another_one_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metrics, model = models.ModelMetrics(), Model("chat", "provider", "model")

    async def calls(at: asyncio.Event) -> None:
        try:
            at.set()
            await asyncio.Future()
        finally:
            metrics.called(model, "cancelled", 1)

    def collecting() -> _hot.Histogram:
        gc.collect()
        return _hot.Histogram()

    with left_pending(calls):
        monkeypatch.setattr(models, "Histogram", collecting)
        begin(lambda: metrics.called(model, "ok", 1)).result(20)
    assert metrics.calls() == {(model, "ok"): 1, (model, "cancelled"): 1}
