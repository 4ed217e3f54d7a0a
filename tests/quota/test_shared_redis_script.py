"""The script of a shared ledger by itself: requests of hosts that come late, or twice."""

from __future__ import annotations

import time

import pytest

from llmspell.quota import Quota
from llmspell.quota._redis import Reply, Server
from llmspell.quota.lease import Sent
from tests.quota.redis_server import RedisServer
from tests.quota.shared_host import KEY
from tests.quota.test_shared_redis_hosts import server

__all__ = ["server"]  # a fixture

LEASE_US = 20_000
#: Ten of them are longer than a pause of the machine.
LONG_LEASE_US = 300_000


class Host:
    """Sends requests as they are told, where a real one keeps its own books."""

    def __init__(self, server: RedisServer, name: str, lease_us: int = LEASE_US) -> None:
        self._server = Server(server.url, timeout=5)
        self._name = name
        self._lease_us = lease_us
        self.epoch = ""

    def ask(
        self,
        sequence: int,
        quota: Quota,
        *,
        gen: int = 0,
        used: int = 0,
        want: int = 0,
        limit: int | None = None,
    ) -> Reply:
        parts = [Sent(0, 0, 0, 0)] * len(Quota)
        parts[quota] = Sent(gen, used, 0, 0, want, want)
        request = {
            "host": self._name,
            "seq": sequence,
            "epoch": self.epoch,
            "lease": self._lease_us,
        }
        limits = [] if limit is None else [(quota + 1, limit, False)]
        reply = self._server.ask(KEY, {**request, "parts": parts, "limits": limits, "levels": []})
        self.epoch = reply.epoch or self.epoch
        return reply


def be_forgotten() -> None:
    time.sleep(11 * LEASE_US / 1e6)


@pytest.mark.parametrize("quota", [Quota.VECTORS, Quota.TOKENS], ids=lambda quota: quota.name)
def test_use_of_the_dead_outlives_the_request_of_one_who_was_forgotten(
    server: RedisServer, quota: Quota
) -> None:
    dead, late, other = (Host(server, name) for name in ("dead", "late", "other"))
    late.ask(1, quota)
    be_forgotten()
    granted = dead.ask(1, quota, want=70).parts[quota]  # forgets the late one
    dead.ask(2, quota, gen=granted.gen, used=70)
    be_forgotten()
    assert late.ask(2, quota).status == "forgotten"
    assert other.ask(1, quota).parts[quota].used == 70


def test_rates_of_the_dead_outlive_a_request_that_comes_late(server: RedisServer) -> None:
    quota = Quota.API_CALLS
    dead, late, other = (Host(server, name, LONG_LEASE_US) for name in ("dead", "late", "other"))
    late.ask(2, quota, limit=100)
    dead.ask(1, quota, want=70)
    time.sleep(2 * LONG_LEASE_US / 1e6)
    assert late.ask(1, quota).status == "stale"
    assert other.ask(1, quota).parts[quota].used > 60


def test_retry_after_of_a_rate_is_no_longer_than_it_takes(server: RedisServer) -> None:
    quota, waited_us = Quota.API_CALLS, 50_000
    host = Host(server, "host", LONG_LEASE_US)
    host.ask(1, quota, want=1, limit=1)
    host.ask(2, quota, used=1)
    time.sleep(waited_us / 1e6)
    refusal = host.ask(3, quota, used=1, want=1).refusal
    assert refusal is not None
    assert 0 < refusal.retry_us <= 60_000_000 - waited_us
