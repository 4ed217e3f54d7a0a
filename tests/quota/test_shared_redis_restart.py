"""The server is killed, started again, or silent, while hosts charge."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from llmspell.errors import LedgerUnavailable, QuotaExceeded
from llmspell.quota import Quota, SharedLedger, SharedSlot
from tests.quota.redis_server import RedisServer
from tests.quota.shared_host import KEY
from tests.quota.test_shared_redis_hosts import (
    HELD,
    LEASE_S,
    MakeHosts,
    hosts,
    server,
    sums,
    used,
    wait_until,
)

__all__ = ["hosts", "server"]  # fixtures

#: More than hosts use of a quota until they are given a limit that they come to.
LIMIT = 10_000_000


def set_limits(slot: SharedSlot, limit: int) -> None:
    """Limits may be lost with the server's data: their owner sets them again."""
    for quota in HELD:
        slot.set_limit(quota, limit)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("--save", ""), id="all lost"),
        pytest.param(("--appendonly", "yes", "--appendfsync", "everysec"), id="log"),
        pytest.param(("--save", "1 1"), id="snapshot"),
    ],
)
def test_hosts_stay_at_the_limit_while_the_server_is_killed_and_comes_back(
    options: tuple[str, ...], server: RedisServer, hosts: MakeHosts
) -> None:
    server.kill()
    server.options = options
    server.start()
    server.age()
    ours = hosts(2, HELD, LIMIT)
    wait_until(lambda: all(sums(ours)[quota] > 500 for quota in HELD))
    for _ in range(2):
        time.sleep(0.3)
        before = sums(ours)
        server.kill()
        time.sleep(0.1)
        server.start()
        assert all(n < LIMIT for n in before)
        for quota in HELD:
            wait_until(lambda q=quota: sums(ours)[q] > before[q] + 100)  # type: ignore[misc]  # noqa: B023
    # A limit not far away, so that the hosts come to it; they are not to pass it meanwhile.
    for host in ours:
        host.process.send_signal(signal.SIGSTOP)
    limit = max(sums(ours)) + 3_000
    with SharedLedger(server.url, lease_seconds=LEASE_S) as ledger:
        set_limits(ledger.slot(KEY), limit)
    for host in ours:
        host.process.send_signal(signal.SIGCONT)
    wait_until(lambda: all(sums(ours)[quota] >= limit for quota in HELD))
    for host in ours:
        host.finish()
    assert [sums(ours)[quota] for quota in HELD] == [limit] * len(HELD)
    assert [used(server)[quota] for quota in HELD] == [limit] * len(HELD)


def test_what_a_closed_host_used_is_known_from_others_when_all_data_is_lost(
    server: RedisServer,
) -> None:
    with SharedLedger(server.url, lease_seconds=LEASE_S) as witness:
        slot = witness.slot(KEY)
        set_limits(slot, 100)
        with SharedLedger(server.url, lease_seconds=LEASE_S) as closed:
            for quota in HELD:
                closed.slot(KEY).charge(quota, 30)
        for quota in HELD:
            slot.charge(quota, 20)
        server.kill()
        server.start()
        wait_until(lambda: [used(server)[quota] for quota in HELD] == [50] * len(HELD))
        assert slot.read(Quota.TOKENS) == (50, 100)  # it has told of its limits, too


def test_a_server_without_a_past_gives_leases_once_old_ones_have_passed(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    try:
        with SharedLedger(server.url, lease_seconds=LEASE_S) as ledger:
            slot = ledger.slot(KEY)
            with pytest.raises(LedgerUnavailable, match="restarted or is new"):
                slot.charge(Quota.TOKENS)
            time.sleep(LEASE_S)
            slot.charge(Quota.TOKENS)
            assert slot.read(Quota.TOKENS) != (0, None)
    finally:
        server.kill()


def test_after_a_restart_rates_begin_with_all_used(server: RedisServer) -> None:
    with SharedLedger(server.url, lease_seconds=LEASE_S) as ledger:
        slot = ledger.slot(KEY)
        slot.set_limit(Quota.API_CALLS, 60)
        slot.charge(Quota.API_CALLS, 60)
        server.kill()
        server.start()
        wait_until(lambda: not ledger.away)
        slot.set_limit(Quota.API_CALLS, 60)
        time.sleep(LEASE_S)
        with pytest.raises(QuotaExceeded):
            slot.charge(Quota.API_CALLS, 40)


def leased(server: RedisServer, when_away: str) -> SharedLedger:
    """A ledger that holds some units of an unlimited use of TOKENS, its server then killed."""
    ledger = SharedLedger(
        server.url,
        lease=50,
        lease_seconds=LEASE_S,
        when_away=when_away,  # type: ignore[arg-type]
    )
    slot = ledger.slot(KEY)
    slot.set_limit(Quota.TOKENS, 1_000)
    for _ in range(70):
        slot.charge(Quota.TOKENS)
    server.kill()
    wait_until(lambda: ledger.away)
    return ledger


def test_closed_refuses_while_the_server_is_away(server: RedisServer) -> None:
    with leased(server, "closed") as ledger:
        with pytest.raises(LedgerUnavailable, match=str(server.port)):
            ledger.slot(KEY).charge(Quota.TOKENS)
        with pytest.raises(LedgerUnavailable):
            ledger.slot(KEY).usage()


def test_local_goes_on_with_what_is_held(server: RedisServer) -> None:
    admitted = 0
    # On a slow machine all may have been returned, as it lay idle, before the server was killed.
    for _ in range(20):
        with leased(server, "local") as ledger:
            slot = ledger.slot(KEY)
            with pytest.raises(LedgerUnavailable):
                for _ in range(1_000):
                    slot.charge(Quota.TOKENS)
                    admitted += 1
        assert admitted <= 50
        if admitted:
            break
        server.start()
        server.age()
    assert admitted


def test_local_refuses_when_the_lease_has_passed(server: RedisServer) -> None:
    with leased(server, "local") as ledger:
        time.sleep(LEASE_S)
        with pytest.raises(LedgerUnavailable):
            ledger.slot(KEY).charge(Quota.TOKENS)


def test_open_admits_and_reports_it_later(server: RedisServer) -> None:
    with leased(server, "open") as ledger:
        slot = ledger.slot(KEY)
        for _ in range(2_000):
            slot.charge(Quota.TOKENS)
        slot.reserve(tokens=10).settle(tokens=4)
        server.start()
        wait_until(lambda: not ledger.away)
        slot.set_limit(Quota.TOKENS, 1_000)
        time.sleep(LEASE_S)
        with pytest.raises(QuotaExceeded):
            slot.charge(Quota.TOKENS)
    assert used(server)[Quota.TOKENS] == 70 + 2_000 + 4


def test_a_silent_server_is_away_and_its_late_answers_change_no_count(server: RedisServer) -> None:
    with SharedLedger(server.url, lease_seconds=10, timeout=1) as ledger:
        slot = ledger.slot(KEY)
        slot.set_limit(Quota.TOKENS, 100)
        slot.charge(Quota.TOKENS)
        server.pause()
        with pytest.raises(LedgerUnavailable):
            slot.charge(Quota.TOKENS, 60)
        server.resume()
        wait_until(lambda: not ledger.away)
        slot.charge(Quota.TOKENS, 60)
    assert used(server)[Quota.TOKENS] == 61
