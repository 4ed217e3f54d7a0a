"""A process whose wall clock is a day off: what it finds, and what it may do.

Usage: ``python -m tests.crash.clocked DATA PART`` under the library of clock.c. PART "begin" makes
a tenant, uses up its quotas, and steps the clock; "go on" finds all that as it was left.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

import llmspell
from llmspell import QuotaLimits, Tenant, TenantConfig, errors

DAY = 86_400
#: The clock at the beginning: a day later another month has begun.
NOON = datetime(2026, 6, 30, 12, tzinfo=UTC)
CONFIG = TenantConfig(
    id="acme",
    quotas=QuotaLimits(
        max_embeddings_per_day=10,
        max_cost_per_month=5.0,
        max_queries_per_second=20,
        max_api_calls_per_minute=100_000,
    ),
)
VECTORS = np.random.default_rng(3).standard_normal((12, 8)).astype(np.float32)


def steps() -> Iterator[int]:
    """Step the wall clock by a day, forward and back, and back again."""
    base = int(os.environ["CRASH_CLOCK"])
    for days in (0, 1, 0, -1, 1, 0):
        before = time.time()
        ctypes.CDLL(None).crash_clock(ctypes.c_int64(base + days * DAY))
        assert days == 0 or abs(time.time() - before) > DAY / 2, "the clock wasn't stepped"
        yield days


def check_windows(tenant: Tenant) -> None:
    """Nothing more is admitted of what is used up, and the wait is no longer than the period."""
    for asked, most in (({"embeddings": 1}, DAY), ({"cost": 0.5}, 31 * DAY)):
        with pytest.raises(errors.QuotaExceeded) as caught, tenant.operation(**asked):  # type: ignore[arg-type]
            raise AssertionError(f"{asked} was admitted")
        assert caught.value.retry_after is not None
        assert 0 < caught.value.retry_after <= most


def check_rate(tenant: Tenant) -> None:
    """A rate that is used up admits again when it says, within its period."""
    with pytest.raises(errors.QuotaExceeded) as caught:
        for _ in range(10_000):
            tenant.search(VECTORS[0])
    assert caught.value.retry_after is not None
    assert 0 < caught.value.retry_after <= 1
    time.sleep(caught.value.retry_after)
    assert len(tenant.search(VECTORS[0])) == 10


def check_records(tenant: Tenant, first: datetime) -> None:
    """What doesn't expire by the ledger's calendar is there, and its times are near each other."""
    records = tenant.get(range(12))  # type: ignore[call-overload]
    assert [record.vector.tobytes() for record in records] == [row.tobytes() for row in VECTORS]
    assert tenant.count() == tenant.usage().vectors.used == 12
    for record in records:
        for at in (record.created_at, record.updated_at):
            assert abs(at - first) < timedelta(hours=1), f"{at} is far from {first}"


def begin(data: str) -> None:
    with llmspell.open(data) as database:
        tenant = database.create_tenant(CONFIG)
        tenant.upsert(range(6), VECTORS[:6])
        tenant.upsert(range(6, 12), VECTORS[6:], ttl=timedelta(hours=6))
        first = tenant.get(0).created_at
        assert abs(first - NOON) < timedelta(hours=1)
        with tenant.operation(embeddings=10, cost=5.0):
            pass
        for days in steps():
            check_windows(tenant)
            check_rate(tenant)
            tenant.upsert([20], VECTORS[:1], ttl=0.05)
            held = tenant._residence.slot.reserve(vectors=100, lease=0.05)
            time.sleep(0.1)
            assert database._registry.ledger.sweep() == 1, f"a lease didn't end, {days} days off"
            with pytest.raises(errors.ReservationExpired):
                held.settle()
            with pytest.raises(errors.IdNotFound):
                tenant.get(20)
            tenant.upsert([0], VECTORS[:1])
            check_records(tenant, first)


def go_on(data: str) -> None:
    with llmspell.open(data) as database:
        tenant = database.tenant(CONFIG.id)
        check_records(tenant, NOON)
        check_windows(tenant)
        check_rate(tenant)
        tenant.upsert([1], VECTORS[1:2])
        check_records(tenant, NOON)


if __name__ == "__main__":
    {"begin": begin, "go on": go_on}[sys.argv[2]](sys.argv[1])
