"""One host's interface to quotas that are shared: units, refusals, levels, reservations, limits."""

from __future__ import annotations

import calendar
import os
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest
import redis

from llmspell import QuotaLimits
from llmspell.errors import (
    ClosedError,
    ConfigError,
    InputError,
    MissingDependency,
    QuotaExceeded,
    ReservationExpired,
    UseAfterFork,
)
from llmspell.quota import Quota, SharedLedger, SharedSlot
from tests.quota.redis_server import RedisServer
from tests.quota.shared_host import KEY
from tests.quota.test_shared_redis_hosts import LEASE_S, server, wait_until

__all__ = ["server"]  # a fixture

LEVELS = (Quota.DOCUMENTS, Quota.VECTORS, Quota.STORAGE, Quota.DIMENSIONS)


@pytest.fixture
def ledger(server: RedisServer) -> Iterator[SharedLedger]:
    with SharedLedger(server.url, lease=20, lease_seconds=LEASE_S) as ledger:
        yield ledger


@pytest.fixture
def slot(ledger: SharedLedger) -> SharedSlot:
    return ledger.slot(KEY)


@pytest.fixture
def other(server: RedisServer) -> Iterator[SharedSlot]:
    with SharedLedger(server.url, lease=20, lease_seconds=LEASE_S) as ledger:
        yield ledger.slot(KEY)


@pytest.mark.parametrize("quota", list(Quota), ids=lambda quota: quota.name)
def test_a_refusal_says_what_was_asked_and_what_is_left(quota: Quota, slot: SharedSlot) -> None:
    slot.set_limit(quota, 100)
    slot.charge(quota, 90)
    with pytest.raises(QuotaExceeded) as refused:
        slot.charge(quota, 50)
        while quota >= Quota.API_CALLS:  # they come back while this runs: on a slow machine, enough
            slot.charge(quota, 50)
    error = refused.value
    assert (error.quota, error.limit, error.requested) == (quota.limit_name, 100, 50)
    if quota >= Quota.API_CALLS:
        assert error.used > 50
    else:
        assert error.used == 90
    if quota in LEVELS:
        assert error.retry_after is None
    else:
        assert error.retry_after is not None and error.retry_after > 0
    with pytest.raises(QuotaExceeded) as refused:
        slot.charge(quota, 101)
    assert refused.value.retry_after is None


def test_all_of_a_charge_is_charged_or_nothing(slot: SharedSlot) -> None:
    slot.set_limit(Quota.VECTORS, 100)
    slot.set_limit(Quota.TOKENS, 10)
    with pytest.raises(QuotaExceeded, match="max_tokens"):
        slot.charge_all((Quota.VECTORS, 60), (Quota.TOKENS, 11))
    slot.charge_all((Quota.VECTORS, 60), (Quota.TOKENS, 5), (Quota.VECTORS, 40), (Quota.TOKENS, 5))
    assert slot.read(Quota.VECTORS) == (100, 100)
    assert slot.read(Quota.TOKENS) == (10, 10)


def test_large_charges_of_several_threads_are_exact(slot: SharedSlot, other: SharedSlot) -> None:
    slot.set_limit(Quota.STORAGE, 10**9)
    admitted: list[int] = []

    def work(mine: SharedSlot) -> None:
        for _ in range(40):
            try:
                mine.charge(Quota.STORAGE, 7_654_321)
            except QuotaExceeded:
                continue
            admitted.append(7_654_321)

    threads = [threading.Thread(target=work, args=(mine,)) for mine in (slot, other) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(admitted) == 10**9 // 7_654_321
    assert slot.read(Quota.STORAGE)[0] - sum(admitted) in range(2 * 20 + 1)


def test_more_than_is_counted_is_refused_whatever_the_limit(slot: SharedSlot) -> None:
    for quota, most in ((Quota.STORAGE, 2**48 - 1), (Quota.TOKENS, 2**36 - 1)):
        slot.charge(quota, most)
        with pytest.raises(QuotaExceeded):
            slot.charge(quota)
        assert slot.read(quota) == (most, None)


def test_no_more_than_the_lease_is_out_beyond_what_was_charged(slot: SharedSlot) -> None:
    for _ in range(1_000):
        slot.charge(Quota.TOKENS)
    assert 1_000 <= slot.read(Quota.TOKENS)[0] <= 1_020


def test_units_that_lie_idle_are_given_back(slot: SharedSlot, other: SharedSlot) -> None:
    for _ in range(50):
        slot.charge(Quota.TOKENS)
    assert other.read(Quota.TOKENS)[0] >= 50
    wait_until(lambda: other.read(Quota.TOKENS)[0] == 50)


def test_soft_limits_count_and_refuse_nothing(slot: SharedSlot) -> None:
    for quota in Quota:
        slot.set_limit(quota, 5, soft=True)
        slot.charge(quota, 12)
    wait_until(lambda: slot.read(Quota.TOKENS) == (12, 5))
    assert slot.read(Quota.API_CALLS) == (5, 5)  # one burst is owed at most


def test_limits_are_those_of_all_hosts(slot: SharedSlot, other: SharedSlot) -> None:
    slot.set_limits(QuotaLimits(max_documents=3, max_cost_per_month=0.5))
    usage = other.usage()
    assert (usage.documents.limit, usage.cost.limit, usage.tokens.limit) == (3, 500_000, None)
    other.charge(Quota.DOCUMENTS, 3)
    with pytest.raises(QuotaExceeded):
        slot.charge(Quota.DOCUMENTS)


def test_what_is_given_back_can_be_charged_by_another_host(
    slot: SharedSlot, other: SharedSlot
) -> None:
    slot.set_limit(Quota.VECTORS, 100)
    slot.charge(Quota.VECTORS, 100)
    other.refund(Quota.VECTORS, 60)  # it deleted what another had written
    wait_until(lambda: slot.read(Quota.VECTORS) == (40, 100))
    slot.charge(Quota.VECTORS, 60)
    with pytest.raises(QuotaExceeded):
        other.charge(Quota.VECTORS)


def test_giving_back_more_than_was_used_leaves_no_credit(
    slot: SharedSlot, other: SharedSlot
) -> None:
    slot.set_limit(Quota.VECTORS, 100)
    slot.charge(Quota.VECTORS, 10)
    wait_until(lambda: slot.read(Quota.VECTORS)[0] == 10)
    other.refund(Quota.VECTORS, 500)
    wait_until(lambda: slot.read(Quota.VECTORS)[0] == 0)
    slot.charge(Quota.VECTORS, 100)
    with pytest.raises(QuotaExceeded):
        other.charge(Quota.VECTORS)


def test_a_level_that_is_set_replaces_use_and_keeps_what_is_reserved(
    slot: SharedSlot, other: SharedSlot
) -> None:
    slot.charge(Quota.VECTORS, 30)
    reserved = other.reserve(vectors=7)
    slot.set_levels(documents=0, vectors=100, storage=5, dimensions=3)
    wait_until(lambda: slot.read(Quota.VECTORS)[0] == 107)
    reserved.settle(vectors=2)
    wait_until(lambda: slot.read(Quota.VECTORS)[0] == 102)
    slot.charge(Quota.VECTORS)
    other.charge(Quota.VECTORS)
    wait_until(lambda: slot.read(Quota.VECTORS)[0] == 104)
    assert slot.usage().dimensions.used == 3


@pytest.mark.parametrize("kept", [0, 4, 10])
def test_what_a_reservation_doesn_t_keep_is_given_back(kept: int, slot: SharedSlot) -> None:
    slot.set_limit(Quota.TOKENS, 10)
    with slot.reserve(tokens=10) as reservation:
        with pytest.raises(QuotaExceeded):
            slot.charge(Quota.TOKENS)
        reservation.settle(tokens=kept)
    with pytest.raises(ClosedError):
        reservation.settle()
    wait_until(lambda: slot.read(Quota.TOKENS)[0] == kept)


def test_a_reservation_keeps_all_unless_its_block_fails(slot: SharedSlot) -> None:
    with slot.reserve(documents=2, api_calls=1):
        pass
    with pytest.raises(ZeroDivisionError), slot.reserve(documents=3):
        _ = 1 // 0
    wait_until(lambda: slot.read(Quota.DOCUMENTS)[0] == 2)
    with pytest.raises(InputError, match="3 reserved"):
        slot.reserve(documents=3).settle(documents=4)


def test_an_overdue_reservation_is_given_back_and_a_renewed_one_is_not(slot: SharedSlot) -> None:
    with slot._reservations_lock:  # so that it isn't given back before, where this thread pauses
        renewed = slot.reserve(tokens=3, lease=1)
        renewed.renew(60)
    overdue = slot.reserve(tokens=5, lease=1)
    wait_until(lambda: slot.read(Quota.TOKENS)[0] == 3)
    with pytest.raises(ReservationExpired):
        overdue.settle()
    renewed.settle()
    assert slot.read(Quota.TOKENS)[0] == 3


def test_leases_outlive_their_seconds_while_the_host_lives(
    slot: SharedSlot, other: SharedSlot
) -> None:
    reservation = slot.reserve(tokens=5)
    time.sleep(2 * LEASE_S)
    other.set_levels(0, 0, 0, 0)
    reservation.settle()
    assert slot.read(Quota.TOKENS)[0] == 5


def test_a_wall_clock_a_day_off_opens_nothing(
    server: RedisServer, slot: SharedSlot, monkeypatch: pytest.MonkeyPatch
) -> None:
    slot.set_limit(Quota.TOKENS, 10)
    slot.charge(Quota.TOKENS, 10)
    for days in (-1, 1, 40):
        off = time.time() + days * 86_400
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda off=off: off)
            patch.setattr(time, "time_ns", lambda off=off: int(off * 1e9))
            ledger = SharedLedger(server.url, lease_seconds=LEASE_S)
            with ledger, pytest.raises(QuotaExceeded):
                ledger.slot(KEY).charge(Quota.TOKENS)


def test_months_are_those_of_the_calendar(server: RedisServer) -> None:
    lua = files("llmspell.quota").joinpath("shared.lua").read_text(encoding="utf-8")
    start = lua.index("local function month_of")
    function = lua[start : lua.index("\nend", start) + 4]
    days = range(0, 60_000, 1)
    script = f"{function}\nlocal r = {{}} for d = 0, 59999 do r[d + 1] = month_of(d) end return r"
    with redis.Redis.from_url(server.url) as client:
        months = client.eval(script, 0)
    for day, month in zip(days, months, strict=True):
        at = time.gmtime(day * 86_400)
        assert month == (at.tm_year - 1970) * 12 + at.tm_mon - 1


def test_a_month_s_quota_comes_back_when_the_month_ends(slot: SharedSlot) -> None:
    slot.set_limit(Quota.COST, 1)
    slot.charge(Quota.COST)
    with pytest.raises(QuotaExceeded) as refused:
        slot.charge(Quota.COST)
    assert refused.value.retry_after is not None
    back = time.gmtime(time.time() + refused.value.retry_after + 1)
    assert calendar.timegm((back.tm_year, back.tm_mon, 1, 0, 0, 0)) + 60 > calendar.timegm(back)


def test_a_forked_child_can_t_charge_its_parent_s_lease(slot: SharedSlot) -> None:
    slot.charge(Quota.TOKENS)
    child = os.fork()
    if child == 0:
        try:
            slot.charge(Quota.TOKENS)
        except UseAfterFork:
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def test_slots_that_nobody_holds_are_freed_when_all_of_them_is_told(ledger: SharedLedger) -> None:
    def use(number: int) -> weakref.ref[SharedSlot]:
        slot = ledger.slot(number.to_bytes(16))
        slot.set_limit(Quota.QUERIES, 100)
        slot.charge(Quota.QUERIES)
        slot.reserve(tokens=5).cancel()
        return weakref.ref(slot)

    def touch(number: int) -> weakref.ref[SharedSlot]:
        with ledger._lock:  # so that it isn't told of all meanwhile, where this thread pauses
            slot = use(number)
            assert slot() is not None  # units are out with it
        return slot

    touched = [touch(number) for number in range(50)]
    held = ledger.slot(KEY)
    held.charge(Quota.QUERIES)
    wait_until(lambda: all(slot() is None for slot in touched))
    assert ledger.slot(KEY) is held


def test_a_slot_that_nobody_holds_stays_for_what_a_server_without_data_is_told(
    server: RedisServer, ledger: SharedLedger
) -> None:
    ledger.slot(KEY).charge(Quota.TOKENS, 30)
    time.sleep(2 * LEASE_S)  # more than it takes to free one without such use
    server.kill()
    server.start()
    time.sleep(2 * LEASE_S)
    assert ledger.slot(KEY).read(Quota.TOKENS)[0] == 30


def test_nothing_is_charged_after_close(server: RedisServer) -> None:
    with SharedLedger(server.url, lease_seconds=LEASE_S) as ledger:
        slot = ledger.slot(KEY)
        for _ in range(5):
            slot.charge(Quota.TOKENS)
        slot.reserve(tokens=3)
    ledger.close()
    for call in (slot.charge, slot.read, lambda quota: slot.refund(quota, 1)):
        with pytest.raises(ClosedError):
            call(Quota.TOKENS)
    with SharedLedger(server.url, lease_seconds=LEASE_S) as again:
        assert again.slot(KEY).read(Quota.TOKENS) == (5, None)


@pytest.mark.parametrize(
    "settings",
    [
        {"lease": 0},
        {"lease_seconds": 0.1},
        {"lease_seconds": float("nan")},
        {"when_away": "maybe"},
        {"timeout": 0},
        {"url": "http://localhost"},
    ],
    ids=str,
)
def test_settings_out_of_range_are_config_errors(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        SharedLedger(**{"url": "redis://127.0.0.1:1/0", **settings})


@pytest.mark.parametrize("url", ["http://:secret@host", "redis://x:secret#@host"])
def test_url_that_is_refused_isnt_shown(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SharedLedger(url)
    assert "secret" not in "".join(traceback.format_exception(caught.value))


def test_a_reservation_is_listed_under_the_lock_of_those_who_walk_the_list(
    slot: SharedSlot,
) -> None:
    reserving = threading.Thread(target=slot.reserve, kwargs={"tokens": 1})
    with slot._reservations_lock:
        reserving.start()
        reserving.join(0.2)
        assert not slot._reservations
    reserving.join()
    assert len(slot._reservations) == 1


def test_an_answer_that_is_none_ends_no_thread_that_renews_leases(
    server: RedisServer, ledger: SharedLedger, caplog: pytest.LogCaptureFixture
) -> None:
    mark = "{llmspell}:quota:server"
    with redis.Redis.from_url(server.url) as client:
        ledger.slot(KEY).charge(Quota.TOKENS)  # the server has a mark then
        before = client.hget(mark, "run")
        client.hset(mark, "run", b"\xff")
        wait_until(lambda: "it is tried again" in caplog.text)
        client.hset(mark, "run", before)
    assert ledger._thread.is_alive()


def test_amounts_that_are_no_ints_are_refused(slot: SharedSlot) -> None:
    for amount in (0.5, 1.0, "1", None):
        with pytest.raises(TypeError):
            slot.charge(Quota.TOKENS, amount)  # type: ignore[arg-type]
    assert slot.read(Quota.TOKENS)[0] == 0


def test_bad_amounts_are_input_errors(slot: SharedSlot, ledger: SharedLedger) -> None:
    with pytest.raises(InputError):
        slot.charge(Quota.TOKENS, -1)
    with pytest.raises(InputError):
        slot.charge(9)
    with pytest.raises(InputError):
        slot.set_level(Quota.TOKENS, 1)
    with pytest.raises(InputError):
        ledger.slot(b"short")


def test_without_redis_py_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(MissingDependency, match=r"llmspell\[redis\]"):
        SharedLedger("redis://127.0.0.1:1/0")
