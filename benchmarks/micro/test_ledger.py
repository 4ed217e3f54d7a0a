"""What a charge costs: the ledger beside ``limits`` in memory and a counter behind a lock.

Run: ``python -m pytest benchmarks/micro/test_ledger.py --benchmark-only``. One round is a
thousand calls; the benchmark ``nothing`` is the loop alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from llmspell.quota import Ledger, Quota, Slot, _pure

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

LIMIT = 1 << 40
CALLS = 1_000


@pytest.fixture
def slot(tmp_path: Path) -> Slot:
    slot = Ledger(tmp_path / "ledger").slot(b"k" * 16)
    for quota in Quota:
        slot.set_limit(quota, LIMIT)
    return slot


def repeat(call: Callable[[], object]) -> Callable[[], None]:
    """A thousand calls, so that the timer's own cost does not count."""

    def run() -> None:
        for _ in range(CALLS):
            call()

    return run


def test_nothing(benchmark: BenchmarkFixture) -> None:
    def run() -> None:
        for _ in range(CALLS):
            pass

    benchmark(run)


@pytest.mark.parametrize("quota", Quota, ids=lambda quota: quota.name.lower())
def test_charge_native(benchmark: BenchmarkFixture, slot: Slot, quota: Quota) -> None:
    charge = slot.charge

    def run() -> None:
        for _ in range(CALLS):
            charge(quota)

    benchmark(run)
    assert slot.read(quota)[1] == LIMIT


@pytest.mark.parametrize("quota", [Quota.VECTORS, Quota.API_CALLS], ids=["vectors", "api_calls"])
def test_charge_pure_twin(benchmark: BenchmarkFixture, tmp_path: Path, quota: Quota) -> None:
    slot = _pure.Ledger(tmp_path / "pure").slot(b"k" * 16)
    slot.set_limit(quota, LIMIT)
    benchmark(repeat(lambda: slot.charge(quota)))
    assert slot.read(quota)[1] == LIMIT


def test_charge_call_and_query_native(benchmark: BenchmarkFixture, slot: Slot) -> None:
    charge, pairs = slot.charge_all, ((int(Quota.API_CALLS), 1), (int(Quota.QUERIES), 1))

    def run() -> None:
        for _ in range(CALLS):
            charge(*pairs)

    benchmark(run)
    assert slot.read(Quota.QUERIES)[1] == LIMIT


def test_reserve_and_settle_native(benchmark: BenchmarkFixture, slot: Slot) -> None:
    benchmark(repeat(lambda: slot.reserve(documents=1, vectors=10, storage=4096).settle()))
    assert slot.read(Quota.VECTORS)[0] > 0


def test_reserve_and_settle_tokens_native(benchmark: BenchmarkFixture, slot: Slot) -> None:
    benchmark(repeat(lambda: slot.reserve(tokens=1_000, cost=250).settle(tokens=400, cost=100)))
    assert slot.read(Quota.TOKENS)[0] > 0


# A moving window remembers each hit that it admits, so its limit is one that memory holds: most
# hits that are timed are refusals.
@pytest.mark.parametrize(
    ("strategy", "limit"), [("FixedWindowRateLimiter", LIMIT), ("MovingWindowRateLimiter", 100)]
)
def test_limits_in_memory(benchmark: BenchmarkFixture, strategy: str, limit: int) -> None:
    limits = pytest.importorskip("limits")
    limiter = getattr(limits.strategies, strategy)(limits.storage.MemoryStorage())
    rate = limits.RateLimitItemPerMinute(limit)
    limiter.hit(rate, "tenant")
    benchmark(repeat(lambda: limiter.hit(rate, "tenant")))


def test_counter_behind_a_lock(benchmark: BenchmarkFixture) -> None:
    lock = threading.Lock()
    used = 0

    def charge(amount: int = 1) -> None:
        nonlocal used
        with lock:
            if used + amount > LIMIT:
                raise OverflowError
            used += amount

    def run() -> None:
        for _ in range(CALLS):
            charge()

    benchmark(run)
    assert used > 0
