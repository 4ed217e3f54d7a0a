from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from llmspell.config import QuotaLimits
from llmspell.errors import ClosedError, InputError, QuotaExceeded
from llmspell.quota import Quota, QuotaUsage, Slot

from .conftest import KEY, MakeLedger

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
LEVELS = [Quota.DOCUMENTS, Quota.VECTORS, Quota.STORAGE, Quota.DIMENSIONS]
WINDOWS = [Quota.EMBEDDINGS, Quota.TOKENS, Quota.COST]
RATES = [Quota.API_CALLS, Quota.QUERIES]
RANGES = [*((level, 48) for level in LEVELS), (Quota.TOKENS, 36), (Quota.COST, 40)]


def days_ahead(slot: Slot, now: int) -> Iterator[int]:
    """Times since boot a full day apart."""
    while True:
        now += DAY
        yield now


@pytest.mark.parametrize("quota", Quota)
def test_charge_admits_exactly_the_limit(slot: Slot, quota: Quota, now: int) -> None:
    slot.set_limit(quota, 10)
    slot.charge_at(quota, 7, now)
    with pytest.raises(QuotaExceeded) as refused:
        slot.charge_at(quota, 4, now)
    assert refused.value.quota == quota.limit_name
    assert (refused.value.limit, refused.value.used, refused.value.requested) == (10, 7, 4)
    slot.charge_at(quota, 3, now)
    with pytest.raises(QuotaExceeded):
        slot.charge_at(quota, 1, now)
    assert slot.read_at(quota, now) == (10, 10)


@pytest.mark.parametrize("quota", LEVELS)
def test_waiting_does_not_help_a_full_level(slot: Slot, quota: Quota) -> None:
    slot.set_limit(quota, 0)
    with pytest.raises(QuotaExceeded) as refused:
        slot.charge(quota)
    assert refused.value.retry_after is None


@pytest.mark.parametrize("quota", Quota)
def test_amount_beyond_the_limit_can_never_succeed(slot: Slot, quota: Quota) -> None:
    slot.set_limit(quota, 10)
    with pytest.raises(QuotaExceeded) as refused:
        slot.charge(quota, 11)
    assert refused.value.retry_after is None


@pytest.mark.parametrize("quota", Quota)
def test_zero_amount_is_always_admitted(slot: Slot, quota: Quota) -> None:
    slot.set_limit(quota, 0)
    slot.charge(quota, 0)
    assert slot.read(quota) == (0, 0)


@pytest.mark.parametrize("quota", Quota)
def test_largest_amount_does_not_wrap_around(slot: Slot, quota: Quota, now: int) -> None:
    slot.set_limit(quota, 1000)
    slot.charge_at(quota, 1, now)
    with pytest.raises(QuotaExceeded):
        slot.charge_at(quota, 2**63 - 1, now)
    assert slot.read_at(quota, now) == (1, 1000)


@pytest.mark.parametrize("amount", [-1, 2**63, -(2**70)])
@pytest.mark.parametrize("quota", Quota)
def test_amount_outside_63_bits_is_an_input_error(slot: Slot, quota: Quota, amount: int) -> None:
    with pytest.raises(InputError, match="2\\*\\*63"):
        slot.charge(quota, amount)
    with pytest.raises(InputError):
        slot.refund(quota, amount)
    with pytest.raises(InputError):
        slot.set_limit(quota, amount)
    assert slot.read(quota)[0] == 0


@pytest.mark.parametrize("quota", [-1, 9])
def test_unknown_quota_is_an_input_error(slot: Slot, quota: int) -> None:
    with pytest.raises(InputError, match="quota"):
        slot.charge(quota)
    with pytest.raises(InputError, match="quota"):
        slot.read(quota)


@pytest.mark.parametrize("quota", [*LEVELS, *WINDOWS])
def test_refund_never_goes_below_zero(slot: Slot, quota: Quota) -> None:
    slot.charge(quota, 5)
    slot.refund(quota, 2)
    assert slot.read(quota)[0] == 3
    slot.refund(quota, 100)
    assert slot.read(quota)[0] == 0


def test_refund_of_calls_frees_the_burst(slot: Slot) -> None:
    slot.set_limit(Quota.API_CALLS, 1)
    slot.charge(Quota.API_CALLS)
    slot.refund(Quota.API_CALLS, 1)
    slot.charge(Quota.API_CALLS)
    with pytest.raises(QuotaExceeded):
        slot.charge(Quota.API_CALLS)


def test_cost_starts_again_each_month(slot: Slot, now: int) -> None:
    slot.set_limit(Quota.COST, 10)
    slot.charge_at(Quota.COST, 10, now)
    with pytest.raises(QuotaExceeded) as refused:
        slot.charge_at(Quota.COST, 1, now)
    wait = refused.value.retry_after
    assert wait is not None and 0 < wait <= 31 * 86_400
    end = now + int(wait * 1e9)
    with pytest.raises(QuotaExceeded):
        slot.charge_at(Quota.COST, 1, end - SECOND)
    slot.charge_at(Quota.COST, 10, end + SECOND)
    until = datetime.now(UTC) + timedelta(seconds=wait)
    assert abs((until.replace(day=1, hour=0, minute=0, second=0) - until).total_seconds()) < 60


def test_embeddings_start_again_each_day(slot: Slot, now: int) -> None:
    slot.set_limit(Quota.EMBEDDINGS, 10)
    for time_ns, _ in zip(days_ahead(slot, now), range(3), strict=False):
        slot.charge_at(Quota.EMBEDDINGS, 10, time_ns)
        with pytest.raises(QuotaExceeded) as refused:
            slot.charge_at(Quota.EMBEDDINGS, 1, time_ns)
        wait = refused.value.retry_after
        assert wait is not None and 0 < wait <= 86_400
        with pytest.raises(QuotaExceeded):
            slot.charge_at(Quota.EMBEDDINGS, 1, time_ns + int(wait * 1e9) - SECOND)


def test_midnight_is_utc(slot: Slot, now: int) -> None:
    slot.set_limit(Quota.EMBEDDINGS, 1)
    slot.charge_at(Quota.EMBEDDINGS, 1, now)
    with pytest.raises(QuotaExceeded) as refused:
        slot.charge_at(Quota.EMBEDDINGS, 1, now)
    until_midnight = 86_400 - time.time() % 86_400
    wait = refused.value.retry_after
    assert wait is not None
    assert (wait - until_midnight + 43_200) % 86_400 == pytest.approx(43_200, abs=60)


def test_time_that_steps_back_opens_nothing(slot: Slot, now: int) -> None:
    for quota in (Quota.EMBEDDINGS, Quota.TOKENS, Quota.API_CALLS):
        slot.set_limit(quota, 10)
        slot.charge_at(quota, 10, now + DAY)
        for step in (0, DAY // 2, DAY - SECOND):
            with pytest.raises(QuotaExceeded):
                slot.charge_at(quota, 1, now + step)


def test_queries_flow_back_within_a_second(slot: Slot, now: int) -> None:
    slot.set_limit(Quota.QUERIES, 10)
    slot.charge_at(Quota.QUERIES, 10, now)
    with pytest.raises(QuotaExceeded) as refused:
        slot.charge_at(Quota.QUERIES, 1, now)
    assert refused.value.retry_after == 0.1
    slot.charge_at(Quota.QUERIES, 10, now + SECOND)


def test_calls_flow_back_one_by_one_within_a_minute(slot: Slot, now: int) -> None:
    slot.set_limit(Quota.API_CALLS, 60)
    slot.charge_at(Quota.API_CALLS, 60, now)
    with pytest.raises(QuotaExceeded) as refused:
        slot.charge_at(Quota.API_CALLS, 3, now)
    assert refused.value.retry_after == 3.0
    with pytest.raises(QuotaExceeded):
        slot.charge_at(Quota.API_CALLS, 1, now + SECOND - 1)
    slot.charge_at(Quota.API_CALLS, 1, now + SECOND)
    assert slot.read_at(Quota.API_CALLS, now + 31 * SECOND) == (30, 60)
    slot.charge_at(Quota.API_CALLS, 60, now + 61 * SECOND)


@pytest.mark.parametrize("limit", [1, 7, 100, 1_000_003, 2**40])
def test_a_minute_admits_the_burst_and_no_more_than_the_limit_after_it(
    slot: Slot, now: int, limit: int
) -> None:
    slot.set_limit(Quota.API_CALLS, limit)
    slot.charge_at(Quota.API_CALLS, limit, now)
    with pytest.raises(QuotaExceeded):
        slot.charge_at(Quota.API_CALLS, limit, now + 60 * SECOND - 1)


def test_unlimited_quotas_admit_everything_and_count(slot: Slot) -> None:
    slot.set_limits(QuotaLimits.unlimited())
    for quota in Quota:
        slot.charge(quota, 10**9)
        assert slot.read(quota) == (0 if quota in RATES else 10**9, None)


def test_limits_are_taken_in_their_own_units(slot: Slot) -> None:
    slot.set_limits(
        QuotaLimits(max_documents=1, max_vectors=2, max_storage_mb=3, max_cost_per_month=0.1)
    )
    usage = slot.usage()
    assert usage.documents == QuotaUsage(0, 1)
    assert usage.vectors == QuotaUsage(0, 2)
    assert usage.storage == QuotaUsage(0, 3 * 1024 * 1024)
    assert usage.embeddings == QuotaUsage(0, 50_000)
    assert usage.api_calls == QuotaUsage(0, 100)
    assert usage.cost == QuotaUsage(0, 100_000)
    assert usage.dimensions == usage.tokens == usage.queries == QuotaUsage(0, None)
    assert usage.of(Quota.STORAGE).remaining == 3 * 1024 * 1024


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize(("quota", "bits"), RANGES)
def test_nothing_is_counted_beyond_its_range(
    slot: Slot, quota: Quota, bits: int, soft: bool
) -> None:
    slot.set_limit(quota, 1 if soft else None, soft=soft)
    slot.charge(quota, (1 << bits) - 1)
    with pytest.raises(QuotaExceeded) as refused:
        slot.charge(quota, 1)
    assert refused.value.limit == refused.value.used == (1 << bits) - 1
    assert slot.read(quota)[0] == (1 << bits) - 1


@pytest.mark.parametrize("quota", Quota)
def test_a_soft_quota_counts_and_refuses_nothing(slot: Slot, quota: Quota, now: int) -> None:
    slot.set_limit(quota, 10, soft=True)
    for _ in range(5):
        slot.charge_at(quota, 8, now)
    assert slot.read_at(quota, now) == (10 if quota in RATES else 40, 10)
    slot.set_limit(quota, 10)
    with pytest.raises(QuotaExceeded):
        slot.charge_at(quota, 1, now)
    if quota in RATES:  # one burst is owed, not five
        slot.charge_at(quota, 10, now + 60 * SECOND)


def test_soft_limits_come_from_the_settings(slot: Slot) -> None:
    limits = QuotaLimits(
        max_tokens_per_day=5, max_vectors=5, soft=frozenset({"max_tokens_per_day"})
    )
    slot.set_limits(limits)
    slot.charge(Quota.TOKENS, 6)
    with pytest.raises(QuotaExceeded):
        slot.charge(Quota.VECTORS, 6)
    slot.set_limits(QuotaLimits(max_tokens_per_day=5))
    with pytest.raises(QuotaExceeded):
        slot.charge(Quota.TOKENS)


def test_lowered_limit_keeps_use_and_admits_nothing_more(slot: Slot) -> None:
    slot.charge(Quota.VECTORS, 10)
    slot.set_limit(Quota.VECTORS, 5)
    with pytest.raises(QuotaExceeded):
        slot.charge(Quota.VECTORS)
    assert slot.read(Quota.VECTORS) == (10, 5)
    assert slot.usage().vectors.remaining == 0


def test_several_quotas_are_charged_together_or_not_at_all(slot: Slot) -> None:
    slot.set_limits(QuotaLimits(max_vectors=10, max_api_calls_per_minute=5))
    before = slot.usage()
    with pytest.raises(QuotaExceeded) as refused:
        slot.charge_all(
            (Quota.API_CALLS, 1), (Quota.EMBEDDINGS, 7), (Quota.DOCUMENTS, 1), (Quota.VECTORS, 11)
        )
    assert refused.value.quota == "max_vectors"
    assert slot.usage() == before
    slot.charge_all((Quota.API_CALLS, 1), (Quota.VECTORS, 10))
    assert slot.usage().vectors.used == 10
    assert slot.usage().api_calls.used == 1


def test_a_quota_given_twice_is_charged_the_sum(slot: Slot) -> None:
    slot.set_limit(Quota.VECTORS, 5)
    slot.set_limit(Quota.API_CALLS, 5)
    with pytest.raises(QuotaExceeded) as refused:
        slot.charge_all((Quota.API_CALLS, 2), (Quota.VECTORS, 3), (Quota.VECTORS, 3))
    assert refused.value.requested == 6
    slot.charge_all((Quota.API_CALLS, 2), (Quota.VECTORS, 2), (Quota.API_CALLS, 3))
    assert slot.usage().vectors.used == 2
    with pytest.raises(QuotaExceeded):
        slot.charge(Quota.API_CALLS)


def test_levels_are_known_once_set_together(make_ledger: MakeLedger) -> None:
    ledger = make_ledger()
    slot = ledger.slot(KEY)
    slot.set_level(Quota.VECTORS, 1)
    assert not slot.levels_known
    slot.set_levels(1, 2, 3, 384)
    assert slot.levels_known and ledger.slot(KEY).levels_known
    assert [slot.read(level)[0] for level in LEVELS] == [1, 2, 3, 384]
    ledger.release(KEY)
    assert not ledger.slot(KEY).levels_known


def test_head_of_the_log_is_published_upwards_only(make_ledger: MakeLedger) -> None:
    ledger = make_ledger()
    slot, reader = ledger.slot(KEY), ledger.slot(KEY)
    assert reader.log_head == 0
    slot.publish(7)
    slot.publish(5)
    assert reader.log_head == 7
    slot.set_log_head(3)
    assert reader.log_head == 3
    ledger.release(KEY)
    assert ledger.slot(KEY).log_head == 0


def test_level_is_set_from_outside(slot: Slot) -> None:
    slot.set_level(Quota.VECTORS, 42)
    assert slot.read(Quota.VECTORS) == (42, None)
    with pytest.raises(InputError, match="levels"):
        slot.set_level(Quota.EMBEDDINGS, 1)


def test_slots_of_two_keys_share_nothing(make_ledger: MakeLedger) -> None:
    ledger = make_ledger()
    first, second = ledger.slot(KEY), ledger.slot(b"j" * 16)
    first.set_limit(Quota.VECTORS, 5)
    first.charge(Quota.VECTORS, 5)
    assert second.read(Quota.VECTORS) == (0, None)
    assert ledger.slot(KEY).read(Quota.VECTORS) == (5, 5)
    assert len(ledger) == 2


def test_released_slot_refuses_old_handles_and_starts_again(make_ledger: MakeLedger) -> None:
    ledger = make_ledger()
    old = ledger.slot(KEY)
    old.charge(Quota.VECTORS, 5)
    assert ledger.release(KEY)
    assert not ledger.release(KEY)
    fresh = ledger.slot(KEY)
    for use in (lambda: old.charge(Quota.VECTORS), lambda: old.usage(), old.reserve):
        with pytest.raises(ClosedError):
            use()
    assert fresh.read(Quota.VECTORS) == (0, None)


def test_key_of_another_length_is_an_input_error(make_ledger: MakeLedger) -> None:
    with pytest.raises(InputError, match="16 bytes"):
        make_ledger().slot(b"short")


def test_threads_admit_exactly_the_limit(slot: Slot) -> None:
    slot.set_limit(Quota.VECTORS, 5_000)
    admitted = [0] * 4

    def hammer(thread: int) -> None:
        for i in range(3_000):
            try:
                slot.charge(Quota.VECTORS, 1)
            except QuotaExceeded:
                continue
            if i % 5:
                admitted[thread] += 1
            else:
                slot.refund(Quota.VECTORS, 1)

    threads = [threading.Thread(target=hammer, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(admitted) == slot.read(Quota.VECTORS)[0] == 5_000


@pytest.mark.parametrize("amount", [0.5, 1.0, "1", None], ids=repr)
def test_amounts_that_are_no_ints_are_refused(slot: Slot, amount: Any) -> None:
    for charge in (
        lambda: slot.charge(Quota.TOKENS, amount),
        lambda: slot.charge_all((Quota.TOKENS, amount)),
        lambda: slot.reserve(tokens=amount),
        lambda: slot.refund(Quota.TOKENS, amount),
    ):
        with pytest.raises(TypeError):
            charge()
    assert slot.read(Quota.TOKENS)[0] == 0


def test_amounts_of_numpy_are_counted_as_ints(slot: Slot) -> None:
    for _ in range(3):
        slot.charge(Quota.DOCUMENTS, np.int8(100))  # type: ignore[arg-type]
    assert slot.read(Quota.DOCUMENTS)[0] == 300


@pytest.mark.parametrize("quota", [Quota.EMBEDDINGS, Quota.TOKENS, Quota.COST])
def test_refund_finds_the_charge_that_a_calendar_put_into_the_period_to_come(
    slot: Slot, quota: Quota, now: int
) -> None:
    slot.charge_at(quota, 5, now + 32 * 86_400 * 10**9)  # the calendar has stepped back since
    slot.charge(quota, 3)
    slot.refund(quota, 3)
    assert slot.read(quota)[0] == 5
