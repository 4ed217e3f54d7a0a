"""Expired records of tenants that nobody writes to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import llmspell
from llmspell import Database, QuotaLimits, TenantConfig
from llmspell.quota import Ledger
from llmspell.storage import FileLock, Room
from tests.tenancy.copies import levels, recount
from tests.tenancy.transfers import vectors

HOUR_NS = 3_600 * 10**9


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger's calendar, an hour on."""
    utc_ns = Ledger.utc_ns
    monkeypatch.setattr(Ledger, "utc_ns", lambda self: utc_ns(self) + HOUR_NS, raising=False)


def make(db: Database, tenant_id: str, expiring: int) -> None:
    tenant = db.create_tenant(TenantConfig(id=tenant_id, quotas=QuotaLimits.unlimited()))
    tenant.upsert(range(expiring), vectors(expiring), ttl=60)
    tenant.upsert(["stays", "stays longer"], vectors(2), ttl=None)
    tenant.upsert(["stays longer"], vectors(1), ttl=7_200)
    tenant.close()


def test_what_has_expired_goes_from_tenants_that_nobody_opens(
    db: Database, later: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmspell.storage.room.PURGED_AT_ONCE", 8)  # in several writes
    monkeypatch.setattr(Ledger, "utc_ns", lambda self: now(self) - HOUR_NS)
    make(db, "acme", 20)
    make(db, "other", 3)
    make(db, "suspended", 5)
    db.suspend_tenant("suspended", reads_stay=True)
    assert db.purge_expired() == 0
    monkeypatch.setattr(Ledger, "utc_ns", now)
    with monkeypatch.context() as patch:
        patch.setattr(Room, "__init__", None)  # their indexes stay closed
        assert db.purge_expired() == 23
        assert db.purge_expired() == 0
    for name in ("acme", "other"):
        tenant = db.tenant(name)
        assert tenant.usage().vectors.used == 2
        assert levels(tenant.usage()) == recount(tenant)
        assert {hit.id for hit in tenant.search(vectors(1)[0])} == {"stays", "stays longer"}
    assert db.tenant("suspended").usage().vectors.used == 7


def now(ledger: Ledger) -> int:
    return super(Ledger, ledger).utc_ns()


def test_an_open_tenant_is_purged_in_step_with_its_views(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(db, "acme", 20)
    acme = db.tenant("acme")
    assert acme.count() == 22
    monkeypatch.setattr(Ledger, "utc_ns", lambda self: now(self) + HOUR_NS)
    assert db.purge_expired() == 20
    assert acme.count() == acme.usage().vectors.used == 2
    assert levels(acme.usage()) == recount(acme)
    acme.upsert([7], np.ones((1, 4)))
    assert acme.count() == 3


def test_tenants_that_others_write_to_or_that_are_damaged_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with llmspell.open(tmp_path / "data") as db:
        for name in ("a", "b", "c"):
            make(db, name, 2)
        rooms = {info.id: db.path / db._catalog.get(info.id).directory for info in db.tenants()}
        (rooms["a"] / "data.mdb").unlink()
        monkeypatch.setattr(Ledger, "utc_ns", lambda self: now(self) + HOUR_NS)
        with FileLock(rooms["b"] / "writer.lock", timeout=0, holder="test"):
            assert db.purge_expired() == 2
        assert "tenant a: not purged" in caplog.text
        assert db.purge_expired() == 2
