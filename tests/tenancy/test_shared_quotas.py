"""Two databases on two directories as two hosts, whose tenants' quotas are shared over a server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import llmspell
from llmspell import Database, Document, QuotaLimits, TenantConfig, TenantEvent, errors
from llmspell.quota import SHARED_QUOTAS, JoinedSlot, SharedLedger, WhenAway
from tests.cli.conftest import run_here
from tests.quota.redis_server import RedisServer
from tests.quota.test_shared_redis_hosts import LEASE_S, server, wait_until
from tests.tenancy.texts import Lines

__all__ = ["server"]  # a fixture

VECTORS = np.random.default_rng(0).standard_normal((20, 16)).astype(np.float32)
QUOTAS = QuotaLimits(
    max_vectors=10,
    max_embeddings_per_day=20,
    max_tokens_per_day=1_000,
    max_cost_per_month=1,
    max_api_calls_per_minute=None,
)


class Hosts:
    """Databases of one server, each on a directory of its own."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.made: list[tuple[SharedLedger, Database]] = []

    def make(
        self, when_away: WhenAway = "closed", told: Callable[[TenantEvent], object] | None = None
    ) -> Database:
        ledger = SharedLedger(
            self.server.url, lease=4, lease_seconds=LEASE_S, when_away=when_away, timeout=10
        )
        path = self.folder / f"host{len(self.made)}"
        database = llmspell.open(path, texts=Lines(), shared_quotas=ledger, on_event=told)
        self.made.append((ledger, database))
        return database

    def pair(self, quotas: QuotaLimits = QUOTAS) -> tuple[llmspell.Tenant, llmspell.Tenant]:
        config = TenantConfig(id="acme", quotas=quotas)
        return self.make().create_tenant(config), self.make().create_tenant(config)

    def close(self) -> None:
        for ledger, database in self.made:
            database.close()
            ledger.close()


@pytest.fixture
def hosts(server: RedisServer, tmp_path: Path) -> Iterator[Hosts]:
    hosts = Hosts(server, tmp_path)
    yield hosts
    hosts.close()


def admitted(call: Callable[[], object], most: int) -> int:
    """How often a call goes well before a quota refuses it."""
    for count in range(most + 1):
        try:
            call()
        except errors.QuotaExceeded:
            return count
    return most + 1


def test_hosts_together_never_embed_more_than_the_quota(hosts: Hosts) -> None:
    one, other = hosts.pair()
    one.ingest(Document("a", "\n".join(f"line {i}" for i in range(9))))
    other.upsert([1], VECTORS[:1])
    first = admitted(lambda: other.search("text"), 20)
    assert first + admitted(lambda: one.search("text"), 20) == 11
    with pytest.raises(errors.QuotaExceeded) as refusal:
        other.search("text")
    error = refusal.value
    assert (error.quota, error.limit, error.used) == ("max_embeddings_per_day", 20, 20)
    assert error.retry_after is not None
    assert one.usage().embeddings == other.usage().embeddings
    assert one.usage().embeddings.used == 20


def test_hosts_share_tokens_and_cost_of_operations(hosts: Hosts) -> None:
    one, other = hosts.pair()
    with one.operation(tokens=700, cost=0.6):
        with pytest.raises(errors.QuotaExceeded) as refusal:
            other.operation(tokens=301).__enter__()
        assert (refusal.value.quota, refusal.value.limit) == ("max_tokens_per_day", 1_000)
        with other.operation(tokens=290, cost=0.3) as operation:
            operation.use(tokens=100, cost=0.35)
            with pytest.raises(errors.QuotaExceeded, match="max_cost_per_month"):
                operation.use(cost=0.1)
    wait_until(lambda: other.usage().tokens.used == 800)
    used = one.usage()
    assert (used.tokens.limit, used.cost.limit) == (1_000, 1_000_000)


def wait_for_all_tokens(tenant: llmspell.Tenant) -> None:
    """What comes back stays leased to its host until it has reported."""

    def fits() -> bool:
        try:
            with tenant.operation(tokens=1_000):
                return True
        except errors.QuotaExceeded:
            return False

    wait_until(fits)


def test_failed_operation_gives_back_to_all_hosts(hosts: Hosts) -> None:
    one, other = hosts.pair()
    with pytest.raises(ZeroDivisionError), one.operation(tokens=1_000):
        1 / 0  # noqa: B018
    wait_for_all_tokens(other)


def test_reservation_that_nobody_has_any_more_gives_back_to_all_hosts(hosts: Hosts) -> None:
    one, other = hosts.pair()
    held = one._residence.slot.reserve(tokens=1_000, lease=3_600.0)
    with pytest.raises(errors.QuotaExceeded), other.operation(tokens=1_000):
        pass
    del held
    wait_for_all_tokens(other)


def test_operation_that_is_late_is_charged_at_its_end(hosts: Hosts) -> None:
    one, other = hosts.pair()
    with one.operation(tokens=900, cost=0.5, lease=0.01) as operation:
        operation.use(tokens=60)
        wait_until(lambda: other.usage().tokens.used <= 4)  # a lease may be out
        with pytest.raises(errors.ReservationExpired):
            operation.renew()
    slot = one._residence.slot
    assert isinstance(slot, JoinedSlot)
    assert (slot.own_usage().tokens.used, slot.own_usage().cost.used) == (60, 500_000)
    assert 60 <= other.usage().tokens.used <= 64


def test_renewed_operation_holds(hosts: Hosts) -> None:
    one, other = hosts.pair()
    with one.operation(tokens=900, lease=1) as operation:
        operation.renew(60)
        threading.Event().wait(1.3)
        assert other.usage().tokens.used >= 900
    assert one._residence.slot.usage().tokens.used >= 900


def test_hosts_share_rates_from_their_first_call(hosts: Hosts) -> None:
    one, other = hosts.pair(QuotaLimits(max_api_calls_per_minute=12))
    calls = admitted(one.count, 12) + admitted(other.count, 12)
    assert 12 <= calls <= 14  # some come back while this runs
    with pytest.raises(errors.QuotaExceeded) as refusal:
        one.search(VECTORS[0])
    assert refusal.value.quota == "max_api_calls_per_minute"
    assert refusal.value.retry_after is not None


def test_levels_belong_to_their_directory(hosts: Hosts) -> None:
    one, other = hosts.pair()
    one.upsert(range(10), VECTORS[:10])
    other.upsert(range(10), VECTORS[:10])
    for tenant in (one, other):
        with pytest.raises(errors.QuotaExceeded, match="max_vectors"):
            tenant.upsert([99], VECTORS[:1])
        assert tenant.usage().vectors.used == tenant.count() == 10
    one.delete(range(10))
    assert (one.usage().vectors.used, other.usage().vectors.used) == (0, 10)


def test_every_quota_is_a_level_or_shared() -> None:
    levels = {"max_documents", "max_vectors", "max_storage_mb", "max_dimensions"}
    assert {quota.limit_name for quota in SHARED_QUOTAS} == set(
        llmspell.config.QUOTA_NAMES
    ) - levels


def test_tenants_of_other_names_share_nothing(hosts: Hosts) -> None:
    one, other = hosts.make(), hosts.make()
    with one.create_tenant(TenantConfig(id="acme", quotas=QUOTAS)).operation(tokens=1_000):
        corp = other.create_tenant(TenantConfig(id="acme-corp", quotas=QUOTAS))
        with corp.operation(tokens=1_000):
            assert corp.usage().tokens.used == 1_000


def test_new_limits_hold_on_all_hosts(hosts: Hosts) -> None:
    one, other = hosts.pair()
    with one.operation(tokens=1), other.operation(tokens=1):
        pass
    db = hosts.made[0][1]
    db.update_tenant("acme", quotas=QuotaLimits(max_tokens_per_day=5_000))
    with other.operation(tokens=2_000):
        assert other.usage().tokens.limit == 5_000


def test_suspended_tenant_charges_no_host(hosts: Hosts) -> None:
    one, other = hosts.pair()
    hosts.made[0][1].suspend_tenant("acme")
    with pytest.raises(errors.TenantSuspended):
        one.operation(tokens=10).__enter__()
    with pytest.raises(errors.TenantSuspended):
        one.search("text")
    assert other.usage().tokens.used == other.usage().embeddings.used == 0


def test_refusal_by_the_directory_gives_back_to_the_server(hosts: Hosts) -> None:
    one, other = hosts.pair()
    slot = one._residence.slot
    assert isinstance(slot, JoinedSlot)
    with pytest.raises(errors.QuotaExceeded, match="max_vectors"):
        slot.reserve(vectors=11, tokens=1_000)
    wait_until(lambda: other.usage().tokens.used <= 4)  # a lease may be out
    assert slot.own_usage().tokens.used == 0


def test_metrics_and_crossings_tell_of_this_hosts_part(hosts: Hosts) -> None:
    told: list[TenantEvent] = []
    config = TenantConfig(id="acme", quotas=QUOTAS)
    db = hosts.make(told=told.append)
    one, other = db.create_tenant(config), hosts.make().create_tenant(config)
    with other.operation(tokens=100), one.operation(tokens=850):
        text = db.metrics()
    assert 'llmspell_tenant_tokens_today{tenant="acme"} 850.0' in text
    crossed = [(event.quota, event.percent) for event in told if event.kind == "quota"]
    assert crossed == [("max_tokens_per_day", 80)]


def test_soft_quota_is_soft_on_all_hosts(hosts: Hosts) -> None:
    quotas = QuotaLimits(max_tokens_per_day=10, soft=frozenset({"max_tokens_per_day"}))
    one, other = hosts.pair(quotas)
    for tenant in (one, other):
        with tenant.operation(tokens=50):
            pass
    wait_until(lambda: one.usage().tokens.used == 100)


@pytest.mark.parametrize("when_away", ["closed", "local", "open"])
def test_policy_decides_while_the_server_is_away(hosts: Hosts, when_away: WhenAway) -> None:
    tenant = hosts.make(when_away).create_tenant(TenantConfig(id="acme", quotas=QUOTAS))
    tenant.upsert([1], VECTORS[:1])
    for _ in range(3):  # the lease grows with each request
        tenant.search("text")
    hosts.server.kill()
    wait_until(lambda: hosts.made[0][0].away)
    if when_away == "open":
        for _ in range(25):
            tenant.search("text")
    else:
        with pytest.raises(errors.LedgerUnavailable):
            for _ in range(25):
                tenant.search("text")
    with pytest.raises(errors.LedgerUnavailable):
        tenant.usage()
    own = tenant._residence.slot.own_usage()  # type: ignore[attr-defined]
    expected = {"closed": range(3, 4), "local": range(3, 21), "open": range(28, 29)}
    assert own.embeddings.used in expected[when_away]
    hosts.server.start()


def test_tenant_opens_and_reads_its_levels_while_the_server_is_away(hosts: Hosts) -> None:
    db = hosts.make()
    db.create_tenant(TenantConfig(id="acme", quotas=QUOTAS)).upsert([1], VECTORS[:1])
    hosts.server.kill()
    wait_until(lambda: hosts.made[0][0].away)
    tenant = db.create_tenant(TenantConfig(id="new", quotas=QUOTAS))
    with pytest.raises(errors.LedgerUnavailable):
        tenant.count()
    assert tenant.dim is None
    with pytest.raises(errors.LedgerUnavailable):
        db.update_tenant("new", quotas=QuotaLimits(max_vectors=1))
    assert 'llmspell_tenant_vectors{tenant="acme"} 1.0' in db.metrics()
    hosts.server.start()
    wait_until(lambda: not hosts.made[0][0].away)


def test_limits_that_hosts_were_not_told_are_told_later(hosts: Hosts) -> None:
    tenant = hosts.make("open").create_tenant(TenantConfig(id="acme", quotas=QUOTAS))
    hosts.server.kill()
    wait_until(lambda: hosts.made[0][0].away)
    with tenant.operation(tokens=400):
        pass
    hosts.server.start()
    hosts.server.age()
    wait_until(lambda: not hosts.made[0][0].away)
    wait_until(lambda: tenant.usage().tokens.used >= 400)
    assert tenant.usage().tokens.limit == 1_000
    with pytest.raises(errors.QuotaExceeded, match="max_tokens_per_day"):
        tenant.operation(tokens=601).__enter__()


def test_threads_of_two_hosts_admit_exactly_the_limit(hosts: Hosts) -> None:
    tenants = hosts.pair()
    done: list[int] = []

    def work(tenant: llmspell.Tenant) -> None:
        done.append(admitted(lambda: tenant.execute(llmspell.RunAgent(str, 1, tokens=7)), 1_000))

    threads = [threading.Thread(target=work, args=(tenants[i % 2],)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 7 * sum(done) <= 1_000
    # What one host has left over in its lease may be too little for another call.
    assert 7 * sum(done) > 1_000 - 7 - 2 * 7


def test_url_opens_a_ledger_that_closes_with_the_database(
    server: RedisServer, tmp_path: Path
) -> None:
    with llmspell.open(tmp_path / "x", shared_quotas=server.url) as db:
        tenant = db.create_tenant(TenantConfig(id="acme", quotas=QUOTAS))
        with tenant.operation(tokens=30):
            pass
        ledger = db._registry._shared_quotas
    assert ledger is not None
    with pytest.raises(errors.ClosedError):
        ledger.slot(b"k" * 16)
    with llmspell.open(tmp_path / "y", shared_quotas=server.url) as db:
        other = db.create_tenant(TenantConfig(id="acme", quotas=QUOTAS))
        assert other.usage().tokens.used == 30


def test_async_database_shares_too(server: RedisServer, tmp_path: Path) -> None:
    async def main() -> int:
        async with llmspell.open(tmp_path / "x", shared_quotas=server.url) as db:
            acme = await db.create_tenant(TenantConfig(id="acme", quotas=QUOTAS))
            async with acme.operation(tokens=30) as operation:
                operation.use(tokens=12)
            return (await acme.usage()).tokens.used

    assert asyncio.run(main()) >= 12


@pytest.mark.parametrize("given", [7, "ftp://host", b"redis://host"])
def test_what_is_no_server_is_refused(tmp_path: Path, given: object) -> None:
    with pytest.raises(errors.ConfigError):
        llmspell.open(tmp_path / "x", shared_quotas=given)  # type: ignore[arg-type]
    llmspell.open(tmp_path / "x").close()


def test_database_that_shares_nothing_has_the_native_slot(tmp_path: Path) -> None:
    with llmspell.open(tmp_path / "x") as db:
        tenant = db.create_tenant(TenantConfig(id="acme"))
        assert type(tenant._residence.slot) is llmspell.quota.Slot


def test_command_line_charges_all_hosts(hosts: Hosts) -> None:
    db = hosts.make()
    acme = db.create_tenant(TenantConfig(id="acme", quotas=QUOTAS))
    acme.upsert([1], VECTORS[:1])
    path = hosts.folder / "cli"
    settings = {"LLMSPELL_SHARED_QUOTAS": hosts.server.url}
    given = ("--max-embeddings-per-day", "20", "--max-api-calls-per-minute", "unlimited")
    assert run_here(path, "tenant", "create", "acme", *given, **settings).code == 0
    for _ in range(5):
        acme.search("text")
    shown = run_here(path, "tenant", "show", "acme", "--json", **settings)
    assert shown.json["usage"]["embeddings"]["used"] >= 5
    assert shown.json["usage"]["vectors"]["used"] == 0
    done = run_here(path, "tenant", "update", "acme", "--max-embeddings-per-day", "3", **settings)
    assert done.code == 0, done.err
    assert acme.usage().embeddings.limit == 3
