"""Hosts as processes that share quotas over a real server: exactness, death and pauses."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from llmspell.errors import QuotaExceeded
from llmspell.quota import Quota, SharedLedger
from llmspell.quota._redis import PREFIX
from tests.quota.redis_server import RedisServer
from tests.quota.shared_host import KEY, admitted

LIMIT = 2_000
HELD = [quota for quota in Quota if quota < Quota.API_CALLS]
LEASE_S = 1.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.age()
    yield server
    server.kill()


class Host:
    """A process that hammers the quotas of one tenant."""

    def __init__(
        self, server: RedisServer, record: Path, quotas: list[Quota], lease_s: float
    ) -> None:
        self.record = record
        names = ",".join(quota.name for quota in quotas)
        command = ["-m", "tests.quota.shared_host", server.url, str(record), "50", str(lease_s)]
        self.process = subprocess.Popen(
            [sys.executable, *command, "closed", names],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def finish(self) -> None:
        self.go()
        assert self.process.wait(timeout=60) == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def admitted(self) -> list[int]:
        return admitted(self.record)


MakeHosts = Callable[..., list[Host]]


@pytest.fixture
def hosts(server: RedisServer, tmp_path: Path) -> Iterator[MakeHosts]:
    made: list[Host] = []
    numbers = itertools.count()

    def make(
        count: int, quotas: list[Quota], limit: int = LIMIT, lease_s: float = LEASE_S
    ) -> list[Host]:
        with SharedLedger(server.url, lease_seconds=lease_s) as ledger:
            for quota in quotas:
                ledger.slot(KEY).set_limit(quota, limit)
        new = [
            Host(server, tmp_path / f"record{next(numbers)}", quotas, lease_s) for _ in range(count)
        ]
        made.extend(new)
        for host in new:
            host.go()
        return new

    yield make
    for host in made:
        host.kill()
        for pipe in (host.process.stdin, host.process.stdout):
            assert pipe is not None
            pipe.close()


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def sums(hosts: list[Host]) -> list[int]:
    return [sum(column) for column in zip(*(host.admitted for host in hosts), strict=True)]


def used(server: RedisServer) -> list[int]:
    with SharedLedger(server.url, lease_seconds=LEASE_S) as ledger:
        usage = ledger.slot(KEY).usage()
        return [usage.of(quota).used for quota in Quota]


def test_hosts_admit_exactly_the_limit_and_all_of_it_is_counted(
    server: RedisServer, hosts: MakeHosts
) -> None:
    ours = hosts(3, HELD)
    wait_until(lambda: all(sums(ours)[quota] >= LIMIT for quota in HELD))
    for host in ours:
        host.finish()
    assert [sums(ours)[quota] for quota in HELD] == [LIMIT] * len(HELD)
    assert [used(server)[quota] for quota in HELD] == [LIMIT] * len(HELD)


def test_hosts_that_close_early_leave_exactly_what_they_charged(
    server: RedisServer, hosts: MakeHosts
) -> None:
    ours = hosts(3, HELD, 10**9)
    wait_until(lambda: all(host.admitted[quota] > 100 for host in ours for quota in HELD))
    for host in ours:
        host.finish()
    assert [used(server)[quota] for quota in HELD] == [sums(ours)[quota] for quota in HELD]


def test_hosts_keep_to_a_rate(server: RedisServer, hosts: MakeHosts) -> None:
    start = time.monotonic()
    ours = hosts(3, [Quota.QUERIES], 500)
    wait_until(lambda: sums(ours)[Quota.QUERIES] >= 1_000)
    for host in ours:
        host.finish()
    assert sums(ours)[Quota.QUERIES] <= 500 + 500 * (time.monotonic() - start)


def test_what_a_killed_host_may_have_used_stays_counted_and_no_more_than_its_lease(
    server: RedisServer, hosts: MakeHosts
) -> None:
    first, second = hosts(2, HELD, 100_000)
    wait_until(lambda: all(n > 50 for n in (first.admitted[quota] for quota in HELD)))
    first.kill()
    second.finish()
    time.sleep(LEASE_S)
    counted = used(server)
    for quota in HELD:
        # Each of two threads may have been charged what it had not yet written down.
        assert 0 <= counted[quota] - sums([first, second])[quota] <= 50 + 2 * 3 * 2


def test_an_idle_host_that_is_killed_takes_nothing_with_it(server: RedisServer) -> None:
    script = (
        "import sys; from llmspell.quota import *\n"
        f"slot = SharedLedger(sys.argv[1], lease_seconds={LEASE_S}).slot({KEY!r})\n"
        "slot.set_limit(Quota.TOKENS, 100)\n"
        "for _ in range(10): slot.charge(Quota.TOKENS)\n"
        "print('charged', flush=True); sys.stdin.readline()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, server.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "charged\n"
        wait_until(lambda: used(server)[Quota.TOKENS] == 10)
        process.kill()
    with SharedLedger(server.url, lease_seconds=LEASE_S) as ledger:
        slot = ledger.slot(KEY)
        slot.charge(Quota.TOKENS, 90)
        with pytest.raises(QuotaExceeded):
            slot.charge(Quota.TOKENS)


def test_a_host_paused_beyond_its_lease_charges_nothing_that_others_were_given(
    server: RedisServer, hosts: MakeHosts
) -> None:
    paused, other = hosts(2, HELD, 20_000)
    wait_until(lambda: all(paused.admitted[quota] > 50 for quota in HELD))
    for _ in range(3):
        paused.process.send_signal(signal.SIGSTOP)
        time.sleep(2 * LEASE_S)
        paused.process.send_signal(signal.SIGCONT)
        time.sleep(0.3)
    wait_until(lambda: all(sums([paused, other])[quota] >= 20_000 for quota in HELD))
    paused.finish()
    other.finish()
    assert [sums([paused, other])[quota] for quota in HELD] == [20_000] * len(HELD)
    assert [used(server)[quota] for quota in HELD] == [20_000] * len(HELD)


def test_a_host_silent_for_ten_leases_has_used_them_and_begins_again(
    server: RedisServer, hosts: MakeHosts
) -> None:
    paused, other = hosts(2, HELD, 10**9, 0.5)
    wait_until(lambda: all(paused.admitted[quota] > 50 for quota in HELD))
    with redis.Redis.from_url(server.url) as client:
        # Both hosts, and what is counted; and without the one that is silent.
        wait_until(lambda: client.hlen(PREFIX + KEY.hex()) == 3)
        paused.process.send_signal(signal.SIGSTOP)
        wait_until(lambda: client.hlen(PREFIX + KEY.hex()) == 2)
    before = paused.admitted
    paused.process.send_signal(signal.SIGCONT)
    wait_until(lambda: all(paused.admitted[quota] > before[quota] + 50 for quota in HELD))
    paused.finish()
    other.finish()
    for quota in HELD:
        # It lost its lease once, and the use that it hadn't reported is counted twice.
        assert 0 <= used(server)[quota] - sums([paused, other])[quota] <= 2 * (50 + 6)
