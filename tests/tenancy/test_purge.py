"""Expired records of tenants that nobody writes to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import llmspell
from llmspell import Database, QuotaLimits, TenantConfig
from llmspell.quota import Ledger
from llmspell.storage import FileLock, Room
from llmspell.storage.ids import pack_rowid
from llmspell.storage.store import TenantStore
from llmspell.storage.tables import RECORDS
from tests.tenancy.copies import levels, recount
from tests.tenancy.transfers import vectors

HOUR_NS = 3_600 * 10**9


_now = Ledger.utc_ns


@pytest.fixture
def an_hour_passes(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Lets the ledger's calendar go on."""

    def pass_on() -> None:
        monkeypatch.setattr(Ledger, "utc_ns", lambda self: _now(self) + HOUR_NS)

    return pass_on


def make(db: Database, tenant_id: str, expiring: int) -> None:
    tenant = db.create_tenant(TenantConfig(id=tenant_id, quotas=QuotaLimits.unlimited()))
    tenant.upsert(range(expiring), vectors(expiring), ttl=60)
    tenant.upsert(["stays", "stays longer"], vectors(2), ttl=None)
    tenant.upsert(["stays longer"], vectors(1), ttl=7_200)
    tenant.close()


def test_what_has_expired_goes_from_tenants_that_nobody_opens(
    db: Database, an_hour_passes: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmspell.storage.room.PURGED_AT_ONCE", 8)  # in several writes
    make(db, "acme", 20)
    make(db, "other", 3)
    make(db, "suspended", 5)
    db.suspend_tenant("suspended", reads_stay=True)
    assert db.purge_expired() == 0
    an_hour_passes()
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


def test_an_open_tenant_is_purged_in_step_with_its_views(
    db: Database, an_hour_passes: Callable[[], None]
) -> None:
    make(db, "acme", 20)
    acme = db.tenant("acme")
    assert acme.count() == 22
    an_hour_passes()
    assert db.purge_expired() == 20
    assert acme.count() == acme.usage().vectors.used == 2
    assert levels(acme.usage()) == recount(acme)
    acme.upsert([7], np.ones((1, 4)))
    assert acme.count() == 3


def test_tenants_that_others_write_to_or_that_are_damaged_are_passed_over(
    tmp_path: Path, an_hour_passes: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    with llmspell.open(tmp_path / "data") as db:
        for name in ("a", "b", "c"):
            make(db, name, 2)
        rooms = {info.id: db.path / db._catalog.get(info.id).directory for info in db.tenants()}
        (rooms["a"] / "data.mdb").unlink()
        an_hour_passes()
        with FileLock(rooms["b"] / "writer.lock", timeout=0, holder="test"):
            assert db.purge_expired() == 2
        assert "tenant a: not purged" in caplog.text
        assert db.purge_expired() == 2


def test_a_record_that_is_missing_where_it_should_expire_is_named(
    db: Database,
    an_hour_passes: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("llmspell.storage.room.PURGED_AT_ONCE", 2)
    make(db, "acme", 3)
    make(db, "other", 3)
    path = db.path / db._catalog.get("acme").directory
    slot = db._registry.slot(db._catalog.get("acme"))
    with closing(TenantStore(path, slot, map_size=1 << 30)) as store:
        env = store._env
        env.write(lambda txn: txn.delete(pack_rowid(2), db=env.databases[RECORDS]))
    an_hour_passes()
    assert db.purge_expired() == 3
    assert "acme" in caplog.text and "record 2 is to expire, but isn't there" in caplog.text
