"""Dropping a tenant beside everything else, and making one where the ledger is full."""

from __future__ import annotations

import io
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llmspell
from llmspell import Database, QuotaLimits, Tenant, TenantConfig, errors
from llmspell.quota import Ledger, OnCrossing, Slot
from llmspell.storage import Catalog, CatalogEntry, FileLock
from llmspell.tools.threads import begin
from tests.processes import until
from tests.tenancy.ledgers import shares_ledger
from tests.tenancy.test_lifecycle import everything_fails, in_other_process

ONE = np.ones((1, 4), dtype=np.float32)


def test_refused_drop_ends_no_handle(db: Database, acme: Tenant) -> None:
    acme.count()
    (room,) = db.path.glob("tenants/*/*")
    stranger = FileLock(room / "writer.lock", timeout=0, holder="test")
    with pytest.raises(errors.DatabaseLocked):
        db.drop_tenant("acme")
    stranger.release()
    acme.upsert([1], ONE)
    assert acme.count() == acme.usage().vectors.used == 1
    assert db.tenant("acme").count() == 1


def test_drop_that_the_catalog_refuses_ends_no_handle(
    db: Database, acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Catalog, found: CatalogEntry) -> None:
        raise errors.StorageFull("no room")

    acme.upsert([1], ONE)
    with monkeypatch.context() as patch:
        patch.setattr(Catalog, "drop", full)
        with pytest.raises(errors.StorageFull):
            db.drop_tenant("acme")
    assert acme.count() == 1
    db.drop_tenant("acme")
    everything_fails(acme, errors.TenantNotFound)


@pytest.mark.parametrize("is_replaced", [False, True])
def test_drop_that_waits_for_a_slow_reader_keeps_no_other_tenant_waiting(
    db: Database, acme: Tenant, is_replaced: bool
) -> None:
    acme.upsert([1], ONE)
    copy = io.BytesIO()
    acme.snapshot(copy)
    copy.seek(0)
    forgotten = db.tenant("acme")
    reading, may_go_on = threading.Event(), threading.Event()

    class Slow(io.BytesIO):
        def write(self, data: Any) -> int:
            reading.set()
            assert may_go_on.wait(60)
            return super().write(data)

    exporting = begin(lambda: acme.export(Slow()))
    assert reading.wait(20)
    if is_replaced:
        dropping = begin(lambda: db.restore_tenant(copy, replace=True).count())
    else:
        dropping = begin(lambda: db.drop_tenant("acme").generation)
    until(lambda: acme._residence._end is not None)
    del forgotten  # the next who asks for any tenant closes what was forgotten
    try:
        begin(lambda: db.create_tenant(TenantConfig(id="other")).upsert([1], ONE)).result(20)
    finally:
        may_go_on.set()
    assert exporting.result(20).records == 1
    assert dropping.result(20) == 1
    everything_fails(acme, errors.TenantNotFound)


def test_tenant_whose_directory_is_missing_can_be_dropped(db: Database, acme: Tenant) -> None:
    acme.upsert([1], ONE)
    acme.close()
    handle = db.tenant("acme")
    shutil.rmtree(db.path / "tenants")
    db.drop_tenant("acme")
    assert db.tenants() == []
    everything_fails(handle, errors.TenantNotFound)
    assert db.create_tenant(TenantConfig(id="acme")).count() == 0


def test_drop_leaves_nothing_of_a_creation_that_was_cut_short(
    db: Database, acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", cut)
        with pytest.raises(KeyboardInterrupt):
            acme.upsert([1], ONE)
    beneath = db.path / "tenants"
    assert [path.name for path in beneath.glob("*/*/data.mdb")] == ["data.mdb"]
    db.drop_tenant("acme")
    assert list(beneath.glob("*/*")) == []


def test_metrics_pass_over_a_tenant_that_is_dropped_meanwhile(db: Database, acme: Tenant) -> None:
    db.create_tenant(TenantConfig(id="b"))
    db.create_tenant(TenantConfig(id="c"))
    usages = db._house.usages()
    assert next(usages)[0] == "acme"
    db.drop_tenant("b")
    assert [name for name, _ in usages] == ["c"]
    assert len(db._registry.ledger) == 2


@shares_ledger
def test_usage_of_a_tenant_that_was_dropped_elsewhere_is_not_found(
    db: Database, acme: Tenant
) -> None:
    assert in_other_process(db, "drop") == ["done"]
    with pytest.raises(errors.TenantNotFound):
        acme.usage()


def test_operation_that_a_drop_overtakes_finds_no_tenant(
    db: Database, acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme.upsert([1], ONE)
    room = acme._enter()
    db.drop_tenant("acme")
    # As for an operation that took the room just before.
    acme._room = room
    everything_fails(acme, errors.TenantNotFound)


def test_ledger_without_room_leaves_no_half_made_tenant(
    db: Database, acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    find, left = Ledger.slot, [3]

    def slot(self: Ledger, key: bytes, on_crossing: OnCrossing | None = None) -> Slot:
        left[0] -= 1
        if left[0] < 0:
            raise errors.StorageFull("no room")
        return find(self, key, on_crossing)

    with monkeypatch.context() as patch, pytest.raises(errors.StorageFull):
        patch.setattr(Ledger, "slot", slot)
        db.create_tenants([TenantConfig(id=f"{number}") for number in range(5)])
    assert (len(db.tenants()), len(db._registry.ledger)) == (1, 1)
    assert db.create_tenant(TenantConfig(id="0")).count() == 0


def test_more_tenants_than_the_ledger_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmspell.tenancy.registry.MIN_LEDGER_SLOTS", 4)
    with llmspell.open(tmp_path / "data") as db:
        first = db.create_tenant(TenantConfig(id="first"))
        first.upsert([1], ONE)
        db.create_tenants([TenantConfig(id=f"{number}") for number in range(100)])
        assert first.usage().vectors.used == 1
        assert sum(1 for _ in db._house.usages()) == len(db._registry.ledger) == 101
        db.drop_tenant("7")
        assert len(db._registry.ledger) == 100


def test_creation_that_fails_gives_its_slot_and_directory_back(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(entry: object) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("llmspell.storage.catalog.encode_entry", fail)
        with pytest.raises(KeyboardInterrupt):
            db.create_tenant(TenantConfig(id="a", quotas=QuotaLimits.unlimited()))
    assert (len(db._registry.ledger), list(db.path.glob("tenants/*/*"))) == (0, [])
    db.create_tenant(TenantConfig(id="a")).upsert([1], ONE)


def test_drop_overtaken_by_another_ends_nothing_of_the_tenant_made_since(
    db: Database, acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Tenant] = []
    get = Catalog.get

    def overtaken(self: Catalog, tenant_id: str) -> CatalogEntry:
        entry = get(self, tenant_id)
        patch.undo()
        db.drop_tenant(tenant_id)
        made.append(db.create_tenant(TenantConfig(id=tenant_id)))
        made[0].upsert([1], ONE)
        return entry

    with monkeypatch.context() as patch:
        patch.setattr(Catalog, "get", overtaken)
        with pytest.raises(errors.TenantNotFound):
            db.drop_tenant("acme")
    assert made[0].count() == len(made[0].search(ONE[0])) == 1
    receipt = db.drop_tenant("acme")
    assert receipt.generation == made[0].generation
    assert receipt.bytes_on_disk > 0


def test_catalog_drops_the_tenant_that_was_found_and_no_later_one(
    db: Database, acme: Tenant
) -> None:
    entry = db._catalog.get("acme")
    db.drop_tenant("acme")
    db.create_tenant(TenantConfig(id="acme"))
    with pytest.raises(errors.TenantNotFound, match="made again"):
        db._catalog.drop(entry)
    assert [info.id for info in db.tenants()] == ["acme"]


@pytest.mark.parametrize("late", ["tenant", "update_tenant", "resume_tenant", "drop_tenant"])
def test_call_overtaken_by_a_drop_leaves_no_slot(
    db: Database, acme: Tenant, monkeypatch: pytest.MonkeyPatch, late: str
) -> None:
    key = db._catalog.get("acme").key
    name = "update" if late in ("update_tenant", "resume_tenant") else "get"
    found = getattr(Catalog, name)

    def overtaken(self: Catalog, *given: Any) -> CatalogEntry:
        entry: CatalogEntry = found(self, *given)
        patch.undo()
        db.drop_tenant("acme")
        return entry

    with monkeypatch.context() as patch:
        patch.setattr(Catalog, name, overtaken)
        with pytest.raises(errors.TenantNotFound):
            getattr(db, late)("acme")
    assert not db._registry.ledger.release(key)
    assert not db._house.residences()


def test_change_whose_slot_a_drop_frees_finds_no_tenant(
    db: Database, acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, is_late = db._registry, [True]
    with db._house.kept(db._catalog.get("acme")) as residence:
        entry, opened = residence.entry, registry._open_slot

        def overtaken(found: CatalogEntry) -> Slot:
            slot = opened(found)
            if is_late.pop():
                is_late.append(False)
                residence.drop(lambda: registry.catalog.drop(entry), registry.erase)
            return slot

        with monkeypatch.context() as patch:
            patch.setattr(registry, "_open_slot", overtaken)
            with pytest.raises(errors.TenantNotFound):
                db.update_tenant("acme", name="late")
    assert not registry.ledger.release(entry.key)
