from __future__ import annotations

import gc
import os
import time
from pathlib import Path

import pytest

from llmspell.config import QuotaLimits
from llmspell.errors import ClosedError, InputError, QuotaExceeded, ReservationExpired
from llmspell.quota import Quota, Slot, _pure

from .conftest import KEY, MakeLedger


def test_success_keeps_what_was_reserved(slot: Slot) -> None:
    with slot.reserve(documents=1, vectors=10, storage=12_345):
        assert slot.usage().vectors.used == 10
    usage = slot.usage()
    assert (usage.documents.used, usage.vectors.used, usage.storage.used) == (1, 10, 12_345)


def test_exception_gives_everything_back(slot: Slot) -> None:
    slot.set_limits(QuotaLimits())
    before = slot.usage()
    with (
        pytest.raises(RuntimeError),
        slot.reserve(documents=1, vectors=10, storage=5, embeddings=10, tokens=9, api_calls=3),
    ):
        raise RuntimeError("the write failed")
    assert slot.usage() == before


def test_settle_gives_back_what_was_not_used(slot: Slot) -> None:
    with slot.reserve(
        documents=3, vectors=10, storage=100, dimensions=8, embeddings=5, tokens=900, cost=7_000
    ) as reservation:
        reservation.settle(vectors=4, storage=0, tokens=250, cost=6_999)
    usage = slot.usage()
    assert (usage.embeddings.used, usage.tokens.used, usage.cost.used) == (5, 250, 6_999)
    assert usage.dimensions.used == 8
    assert (usage.documents.used, usage.vectors.used, usage.storage.used) == (3, 4, 0)


def test_refused_reservation_charges_nothing(slot: Slot) -> None:
    slot.set_limit(Quota.STORAGE, 99)
    with pytest.raises(QuotaExceeded) as refused:
        slot.reserve(documents=1, vectors=1, storage=100)
    assert refused.value.quota == "max_storage_mb"
    usage = slot.usage()
    assert (usage.documents.used, usage.vectors.used, usage.storage.used) == (0, 0, 0)


def test_reservation_counts_against_the_limit_while_it_is_open(slot: Slot) -> None:
    slot.set_limit(Quota.VECTORS, 10)
    reservation = slot.reserve(vectors=8)
    with pytest.raises(QuotaExceeded):
        slot.reserve(vectors=3)
    reservation.cancel()
    slot.reserve(vectors=10).settle()
    assert slot.read(Quota.VECTORS) == (10, 10)


def test_settling_more_than_was_reserved_is_an_input_error(slot: Slot) -> None:
    with slot.reserve(vectors=5) as reservation, pytest.raises(InputError, match="6 kept"):
        reservation.settle(vectors=6)
    assert slot.read(Quota.VECTORS)[0] == 5


def test_a_reservation_is_settled_once(slot: Slot) -> None:
    reservation = slot.reserve(vectors=5)
    reservation.settle()
    with pytest.raises(ClosedError):
        reservation.settle()
    reservation.cancel()
    assert slot.read(Quota.VECTORS)[0] == 5


def test_forgotten_reservation_is_given_back(slot: Slot) -> None:
    reservation = slot.reserve(vectors=5)
    del reservation
    assert slot.read(Quota.VECTORS)[0] == 0


def test_many_reservations_may_be_open(slot: Slot) -> None:
    slot.set_limit(Quota.EMBEDDINGS, 40)
    reservations = [slot.reserve(embeddings=1) for _ in range(40)]
    with pytest.raises(QuotaExceeded):
        slot.reserve(embeddings=1)
    rates = [slot.reserve(api_calls=1, queries=1) for _ in range(5_000)]
    assert len(rates) == 5_000  # more than the pool has holds: these take none
    slot.reserve(vectors=1).settle()
    for reservation in reservations[:30]:
        reservation.cancel()
    for reservation in reservations[30:]:
        reservation.settle()
    assert slot.read(Quota.EMBEDDINGS) == (10, 40)
    assert slot.read(Quota.VECTORS)[0] == 1


def test_level_set_while_reserved_keeps_the_reservation(slot: Slot) -> None:
    reservation = slot.reserve(vectors=5)
    slot.set_level(Quota.VECTORS, 100)
    assert slot.read(Quota.VECTORS)[0] == 105
    reservation.cancel()
    assert slot.read(Quota.VECTORS)[0] == 100


def test_reservation_of_a_released_slot_touches_nobody_else(make_ledger: MakeLedger) -> None:
    ledger = make_ledger()
    reservation = ledger.slot(KEY).reserve(vectors=5)
    ledger.release(KEY)
    fresh = ledger.slot(KEY)
    fresh.charge(Quota.VECTORS, 7)
    reservation.cancel()
    assert fresh.read(Quota.VECTORS)[0] == 7


def test_a_reservation_in_a_reference_cycle_is_given_back_when_collected(slot: Slot) -> None:
    def fail() -> None:
        reservation = slot.reserve(documents=1, embeddings=2)  # noqa: F841 - kept by the frame
        try:
            raise ValueError
        except ValueError as error:
            cycle = error  # noqa: F841 - the frame, the error and its traceback

    gc.disable()
    try:
        fail()
        assert slot.read(Quota.DOCUMENTS)[0] == 1
        gc.collect()
    finally:
        gc.enable()
    assert slot.read(Quota.DOCUMENTS)[0] == 0
    assert slot.read(Quota.EMBEDDINGS)[0] == 0


def test_a_refund_is_of_what_the_charge_cost(slot: Slot) -> None:
    slot.set_limit(Quota.API_CALLS, 1_000)
    reservation = slot.reserve(api_calls=10)
    slot.set_limit(Quota.API_CALLS, 10)
    slot.charge(Quota.API_CALLS, 9)
    reservation.cancel()
    slot.charge(Quota.API_CALLS, 1)
    with pytest.raises(QuotaExceeded):
        slot.charge(Quota.API_CALLS, 1)


def test_a_forked_child_gives_back_nothing_of_its_parent(slot: Slot) -> None:
    reservation = slot.reserve(documents=5)
    child = os.fork()
    if child == 0:
        reservation.cancel()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert slot.read(Quota.DOCUMENTS)[0] == 5
    reservation.settle(documents=2)
    assert slot.read(Quota.DOCUMENTS)[0] == 2


def test_a_collection_inside_the_lock_of_the_twin_does_not_wait_for_it(tmp_path: Path) -> None:
    slot = _pure.Ledger(tmp_path / "ledger").slot(KEY)
    cycle: list[object] = [slot.reserve(vectors=1)]
    cycle.append(cycle)
    del cycle
    with slot._counters.locked():
        gc.collect()
    assert slot.read(Quota.VECTORS)[0] == 0


def test_reservations_are_made_by_slots_alone(slot: Slot) -> None:
    with pytest.raises((InputError, TypeError)):
        type(slot.reserve())()


def test_a_passed_lease_is_given_back_by_a_sweep_and_its_owner_finds_out(
    make_ledger: MakeLedger,
) -> None:
    ledger = make_ledger()
    slot = ledger.slot(KEY)
    reservation = slot.reserve(vectors=5, tokens=5, lease=0.001)
    other = slot.reserve(vectors=1)
    time.sleep(0.01)
    assert ledger.sweep() == 1
    assert slot.usage().vectors.used == 1
    assert slot.usage().tokens.used == 0
    with pytest.raises(ReservationExpired, match="renew"):
        reservation.settle()
    reservation.cancel()
    with pytest.raises(ClosedError):
        reservation.settle()
    other.settle()
    assert slot.usage().vectors.used == 1


def test_an_expired_reservation_fails_its_block(make_ledger: MakeLedger) -> None:
    ledger = make_ledger()
    slot = ledger.slot(KEY)
    with pytest.raises(ReservationExpired), slot.reserve(tokens=5, lease=0.001):
        time.sleep(0.01)
        ledger.sweep()
    assert slot.usage().tokens.used == 0


def test_a_lease_that_has_passed_holds_until_somebody_sweeps(slot: Slot) -> None:
    reservation = slot.reserve(vectors=5, lease=0.001)
    time.sleep(0.01)
    reservation.settle(vectors=4)
    assert slot.read(Quota.VECTORS)[0] == 4


def test_a_renewed_lease_holds(make_ledger: MakeLedger) -> None:
    ledger = make_ledger()
    slot = ledger.slot(KEY)
    reservation = slot.reserve(vectors=5, lease=0.001)
    reservation.renew(3_600)
    time.sleep(0.01)
    assert ledger.sweep() == 0
    reservation.renew(0.001)
    time.sleep(0.01)
    assert ledger.sweep() == 1
    with pytest.raises(ReservationExpired):
        reservation.renew()


@pytest.mark.parametrize("quota", [Quota.VECTORS, Quota.TOKENS])
def test_a_refusal_first_takes_back_leases_that_have_passed(slot: Slot, quota: Quota) -> None:
    slot.set_limit(quota, 10)
    amount = {"vectors" if quota is Quota.VECTORS else "tokens": 10}
    for use in (
        lambda: slot.charge(quota, 10),
        lambda: slot.charge_all((quota, 10), (Quota.DOCUMENTS, 1)),
        lambda: slot.reserve(**amount).settle(),
    ):
        held = slot.reserve(**amount, lease=0.001)
        time.sleep(0.15)  # a process sweeps for this once in 100 ms at most
        use()
        with pytest.raises(ReservationExpired):
            held.settle()
        slot.refund(quota, 10)


@pytest.mark.parametrize("lease", [0, -1, 86_401, float("nan"), float("inf")])
def test_a_lease_is_up_to_a_day(slot: Slot, lease: float) -> None:
    with pytest.raises(InputError, match="lease"):
        slot.reserve(vectors=1, lease=lease)
    reservation = slot.reserve(vectors=1, lease=86_400)
    with pytest.raises(InputError, match="lease"):
        reservation.renew(lease)
    reservation.settle()
    assert slot.read(Quota.VECTORS)[0] == 1
