"""What an operator does to tenants: suspend, resume, rename, other quotas; and what is told."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

import llmspell
from llmspell import Database, QuotaLimits, Tenant, TenantConfig, TenantEvent, errors
from llmspell.quota import Quota
from tests.tenancy.ledgers import shares_ledger
from tests.tenancy.test_processes import CONFIG, Worker
from tests.tenancy.texts import Lines

ONE = np.ones((1, 16), dtype=np.float32)

READS: list[Callable[[Tenant], object]] = [
    lambda tenant: tenant.get(1),
    lambda tenant: tenant.search(ONE[0]),
    lambda tenant: tenant.search(ONE),
    lambda tenant: tenant.count(),
]
WRITES: list[Callable[[Tenant], object]] = [
    lambda tenant: tenant.upsert([1], ONE),
    lambda tenant: tenant.insert([5], ONE),
    lambda tenant: tenant.delete([1]),
    lambda tenant: tenant.delete(filter={}),
    lambda tenant: tenant.update_metadata(1, {"a": 1}),
    lambda tenant: tenant.ingest(llmspell.Document("d", "a line")),
]


@pytest.fixture
def told(tmp_path: Path) -> list[TenantEvent]:
    return []


@pytest.fixture
def db(tmp_path: Path, told: list[TenantEvent]):  # type: ignore[no-untyped-def]
    with llmspell.open(tmp_path / "data", texts=Lines(), on_event=told.append) as database:
        yield database


@pytest.fixture
def acme(db: Database) -> Tenant:
    tenant = db.create_tenant(CONFIG)
    tenant.upsert([1, 2], np.eye(2, 16, dtype=np.float32), [{"n": 1}, {"n": 2}])
    return tenant


def test_suspended_tenant_refuses_everything_and_loses_nothing(db: Database, acme: Tenant) -> None:
    used = acme.usage()
    info = db.suspend_tenant("acme")
    assert info.suspension == db.tenants()[0].suspension == "all"
    for call in READS + WRITES:
        for tenant in (acme, db.tenant("acme")):
            with pytest.raises(errors.TenantSuspended):
                call(tenant)
    assert acme.usage().vectors == used.vectors
    assert db.resume_tenant("acme").suspension == "none"
    assert {hit.id for hit in acme.search(ONE[0])} == {1, 2}
    acme.upsert([3], ONE)
    assert acme.count() == 3


def test_tenant_suspended_for_writes_goes_on_reading(db: Database, acme: Tenant) -> None:
    db.suspend_tenant("acme", reads_stay=True)
    for call in READS:
        call(acme)
    for call in WRITES:
        with pytest.raises(errors.TenantSuspended):
            call(acme)
    assert (acme.count(), acme.get(1).metadata) == (2, {"n": 1})
    assert acme.usage().documents.used == 0


@shares_ledger
def test_suspension_is_there_after_opening_again(tmp_path: Path) -> None:
    root = tmp_path / "other"
    with llmspell.open(root) as db:
        db.create_tenant(CONFIG).upsert([1], ONE)
        db.suspend_tenant("acme")
    (root / "ledger").unlink()
    with llmspell.open(root) as db:
        with pytest.raises(errors.TenantSuspended):
            db.tenant("acme").count()
        db.resume_tenant("acme")
        assert db.tenant("acme").count() == 1


@shares_ledger
def test_other_processes_see_suspension_and_quotas_at_once(db: Database) -> None:
    db.create_tenant(CONFIG)
    with closing(Worker(db.path)) as other:
        assert other.ask("acme.count()") == 0
        db.suspend_tenant("acme")
        assert other.ask("acme.count()") == "TenantSuspended"
        db.suspend_tenant("acme", reads_stay=True)
        assert other.ask("acme.count()") == 0
        assert other.ask("put(range(3))") == "TenantSuspended"
        db.resume_tenant("acme")
        db.update_tenant("acme", quotas=QuotaLimits(max_vectors=3, max_api_calls_per_minute=None))
        assert other.ask("put(range(3))") is None
        assert other.ask("put(range(9, 10))") == "QuotaExceeded"
        db.update_tenant("acme", quotas=QuotaLimits.unlimited())
        assert other.ask("put(range(9, 10))") is None


def test_update_changes_name_and_quotas_and_nothing_else(db: Database, acme: Tenant) -> None:
    quotas = QuotaLimits(max_vectors=2, max_api_calls_per_minute=None)
    info = db.update_tenant("acme", name="Acme Inc.", quotas=quotas)
    assert (info.name, info.config.quotas, info.id) == ("Acme Inc.", quotas, "acme")
    assert db.tenants() == [info]
    assert acme.usage().vectors.limit == 2
    with pytest.raises(errors.QuotaExceeded, match="max_vectors"):
        acme.upsert([7], ONE)
    acme.upsert([1], ONE)
    assert db.update_tenant("acme", name="Acme").config.quotas == quotas
    with pytest.raises(errors.TenantNotFound):
        db.update_tenant("nobody", name="x")


def test_events_tell_what_happened_in_order(db: Database, told: list[TenantEvent]) -> None:
    db.create_tenant(TenantConfig(id="a"))
    db.update_tenant("a", name="A")
    db.suspend_tenant("a")
    db.resume_tenant("a")
    db.drop_tenant("a")
    db.create_tenant(TenantConfig(id="a"))
    assert [(event.kind, event.generation) for event in told] == [
        ("created", 1),
        ("updated", 1),
        ("suspended", 1),
        ("resumed", 1),
        ("dropped", 1),
        ("created", 2),
    ]
    assert {event.tenant_id for event in told} == {"a"}


def test_crossings_of_quotas_are_told_once(db: Database, told: list[TenantEvent]) -> None:
    quotas = QuotaLimits(max_vectors=10, max_api_calls_per_minute=None)
    tenant = db.create_tenant(TenantConfig(id="a", quotas=quotas))
    for i in range(10):
        tenant.upsert([i], ONE)
    with pytest.raises(errors.QuotaExceeded):
        tenant.upsert([10], ONE)
    crossed = [event for event in told if event.kind == "quota"]
    assert [(e.quota, e.percent, e.used, e.limit) for e in crossed] == [
        ("max_vectors", 80, 8, 10),
        ("max_vectors", 100, 10, 10),
    ]
    assert crossed[0].tenant_id == "a"


def test_ingest_and_import_cross_once(
    db: Database, told: list[TenantEvent], tmp_path: Path
) -> None:
    quotas = QuotaLimits(max_documents=10, max_vectors=10, max_api_calls_per_minute=None)
    first = db.create_tenant(TenantConfig(id="first", quotas=quotas))
    first.ingest([llmspell.Document(f"d{i}", "a line") for i in range(8)])
    expected = {("max_documents", 80), ("max_vectors", 80)}
    assert sorted((e.quota, e.percent) for e in told if e.kind == "quota") == sorted(expected)
    first.export(tmp_path / "export")
    told.clear()
    db.create_tenant(TenantConfig(id="second", quotas=quotas)).import_from(tmp_path / "export")
    assert sorted((e.quota, e.percent) for e in told if e.kind == "quota") == sorted(expected)


def test_soft_quota_tells_and_goes_on(db: Database, told: list[TenantEvent]) -> None:
    quotas = QuotaLimits(
        max_vectors=2, max_api_calls_per_minute=None, soft=frozenset({"max_vectors"})
    )
    tenant = db.create_tenant(TenantConfig(id="a", quotas=quotas))
    tenant.upsert(range(5), np.ones((5, 16), dtype=np.float32))
    assert (tenant.count(), tenant.usage().vectors.used) == (5, 5)
    assert {event.percent for event in told if event.quota == "max_vectors"} == {80, 100}


def test_failing_hook_is_logged_and_harms_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(event: TenantEvent) -> None:
        raise RuntimeError("hook")

    with llmspell.open(tmp_path / "x", on_event=fail) as db:
        db.create_tenant(CONFIG).upsert([1], ONE)
        assert db.tenant("acme").count() == 1
    assert "on_event" in caplog.text


def test_receipt_of_a_drop_says_what_was_freed(db: Database, acme: Tenant) -> None:
    acme.upsert(range(2_500), np.random.default_rng(0).normal(size=(2_500, 16)))
    receipt = db.drop_tenant("acme")
    assert (receipt.tenant_id, receipt.generation) == ("acme", 1)
    assert receipt.bytes_on_disk > 2_500 * 8 * 4
    assert receipt.bytes_in_memory > 2_500 * 8 * 4
    assert not list(db.path.glob("tenants/*/*"))
    db.create_tenant(CONFIG)
    db.close()
    with llmspell.open(db.path) as again:
        assert again.drop_tenant("acme").bytes_in_memory == 0


def test_dimension_beyond_its_quota_is_refused(db: Database) -> None:
    quotas = QuotaLimits(max_dimensions=4, max_api_calls_per_minute=None)
    tenant = db.create_tenant(TenantConfig(id="a", quotas=quotas))
    with pytest.raises(errors.QuotaExceeded, match="max_dimensions"):
        tenant.upsert([1], ONE)
    tenant.upsert([1], ONE[:, :4])
    assert tenant.usage().dimensions.used == 4


def test_usage_names_every_quota(acme: Tenant) -> None:
    assert len(fields(acme.usage())) == len(Quota)
