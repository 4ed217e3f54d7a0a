"""Who is told that use has come to 80 % or 100 % of a limit, and how often."""

from __future__ import annotations

import logging
import threading

import pytest

from llmspell.errors import QuotaExceeded, ReservationExpired
from llmspell.quota import Quota

from .conftest import KEY, MakeLedger

Told = list[tuple[str, int, int, int]]


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("quota", Quota)
def test_each_threshold_is_told_of_once(
    make_ledger: MakeLedger, quota: Quota, soft: bool, now: int
) -> None:
    told: Told = []
    slot = make_ledger().slot(KEY, lambda *crossing: told.append(crossing))
    slot.set_limit(quota, 11, soft=soft)
    name = quota.limit_name
    for amount, expected in (
        (8, []),  # 80 % of 11 is 8.8
        (1, [(name, 80, 9, 11)]),
        (1, [(name, 80, 9, 11)]),
        (1, [(name, 80, 9, 11), (name, 100, 11, 11)]),
    ):
        slot.charge_at(quota, amount, now)
        assert told == expected


def test_one_charge_may_cross_both(make_ledger: MakeLedger) -> None:
    told: Told = []
    slot = make_ledger().slot(KEY, lambda *crossing: told.append(crossing))
    slot.set_limit(Quota.VECTORS, 10)
    slot.reserve(vectors=10).cancel()
    assert told == [("max_vectors", 80, 10, 10), ("max_vectors", 100, 10, 10)]
    slot.charge_all((Quota.VECTORS, 9), (Quota.DOCUMENTS, 1))
    assert told[2:] == [("max_vectors", 80, 9, 10)]


def test_a_refused_operation_tells_nothing(make_ledger: MakeLedger) -> None:
    told: Told = []
    slot = make_ledger().slot(KEY, lambda *crossing: told.append(crossing))
    slot.set_limit(Quota.VECTORS, 10)
    slot.set_limit(Quota.STORAGE, 10)
    with pytest.raises(QuotaExceeded):
        slot.charge(Quota.VECTORS, 11)
    with pytest.raises(QuotaExceeded):
        slot.charge_all((Quota.VECTORS, 9), (Quota.STORAGE, 11))
    with pytest.raises(QuotaExceeded):
        slot.reserve(vectors=9, storage=11)
    assert told == []


def test_what_a_callback_raises_is_logged_and_the_charge_stands(
    make_ledger: MakeLedger, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the pager is down")

    slot = make_ledger().slot(KEY, fail)
    slot.set_limit(Quota.VECTORS, 10)
    with caplog.at_level(logging.ERROR, "llmspell.quota"):
        slot.charge(Quota.VECTORS, 10)
    assert "the pager is down" in caplog.text
    assert slot.read(Quota.VECTORS) == (10, 10)


def test_a_callback_may_use_the_slot(make_ledger: MakeLedger) -> None:
    seen: list[int] = []
    slot = make_ledger().slot(KEY, lambda *_: seen.append(slot.read(Quota.VECTORS)[0]))
    slot.set_limit(Quota.VECTORS, 10)
    slot.charge(Quota.VECTORS, 8)
    assert seen == [8]


def test_one_of_many_threads_is_told(make_ledger: MakeLedger) -> None:
    ledger = make_ledger()
    told: Told = []

    def charge() -> None:
        slot = ledger.slot(KEY, lambda *crossing: told.append(crossing))
        for _ in range(1_000):
            slot.charge(Quota.TOKENS)

    ledger.slot(KEY).set_limit(Quota.TOKENS, 4_000)
    threads = [threading.Thread(target=charge) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    name = "max_tokens_per_day"
    assert told == [(name, 80, 3_200, 4_000), (name, 100, 4_000, 4_000)]


def test_a_look_ahead_refuses_as_a_reservation_and_tells_nothing(make_ledger: MakeLedger) -> None:
    told: Told = []
    slot = make_ledger().slot(KEY, lambda *crossing: told.append(crossing))
    slot.set_limit(Quota.VECTORS, 10)
    slot.charge(Quota.VECTORS, 3)
    slot.require_room(documents=2**48 - 1, vectors=7)
    with pytest.raises(QuotaExceeded) as refused:
        slot.require_room(vectors=8)
    error = refused.value
    assert (error.quota, error.limit, error.used) == ("max_vectors", 10, 3)
    assert (error.requested, error.retry_after) == (8, None)
    with pytest.raises(QuotaExceeded, match="max_documents"):
        slot.require_room(documents=2**48)
    slot.set_limit(Quota.VECTORS, 2)
    slot.require_room(vectors=0)
    slot.set_limit(Quota.VECTORS, 2, soft=True)
    slot.require_room(vectors=100)
    assert (slot.read(Quota.VECTORS)[0], told) == (3, [])


def test_a_look_ahead_sees_room_that_a_lease_had_held(make_ledger: MakeLedger) -> None:
    slot = make_ledger().slot(KEY)
    slot.set_limit(Quota.VECTORS, 10)
    held = slot.reserve(vectors=10, lease=0.001)
    threading.Event().wait(0.01)
    slot.require_room(vectors=10)
    with pytest.raises(ReservationExpired):
        held.settle()


@pytest.mark.parametrize("rate", [Quota.API_CALLS, Quota.QUERIES])
def test_a_rate_tells_of_the_crossing_that_follows_one_undone(
    make_ledger: MakeLedger, rate: Quota
) -> None:
    told: Told = []
    slot = make_ledger().slot(KEY, lambda *crossing: told.append(crossing))
    slot.set_limit(Quota.API_CALLS, 10)
    slot.set_limit(Quota.QUERIES, 10)
    other = Quota.QUERIES if rate is Quota.API_CALLS else Quota.API_CALLS
    with pytest.raises(QuotaExceeded):
        slot.charge_all((rate, 10), (other, 11))
    assert told == []
    slot.charge(rate, 10)
    assert told == [(rate.limit_name, 80, 10, 10), (rate.limit_name, 100, 10, 10)]
