"""Tenants that are made by the thousand, and take nothing on disk before their first use."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llmspell
from llmspell import Database, QuotaLimits, Tenant, TenantConfig, errors
from llmspell.storage import (
    Catalog,
    CatalogEntry,
    Room,
    catalog,
    catalog_entry,
    is_any_abandoned,
)
from tests.tenancy.ledgers import shares_ledger
from tests.tenancy.test_lifecycle import everything_fails, in_other_process

ONE = np.ones((1, 4), dtype=np.float32)


def configs(count: int) -> list[TenantConfig]:
    return [TenantConfig(id=f"{number:05}", name=f"no. {number}") for number in range(count)]


def rooms(db: Database) -> list[Path]:
    return list(db.path.glob("tenants/*/*"))


def interrupt(*given: object) -> bytes:
    raise KeyboardInterrupt


def test_tenants_made_together_are_those_made_one_by_one(db: Database) -> None:
    db.create_tenant(TenantConfig(id="before"))
    infos = db.create_tenants(configs(300))
    assert [info.id for info in infos] == [config.id for config in configs(300)]
    assert [info.generation for info in infos] == list(range(2, 302))
    assert db.tenants(limit=300) == infos
    assert len(db._registry.ledger) == 301
    tenant = db.tenant("00007")
    assert tenant.config == configs(8)[7]
    assert tenant.usage().vectors.used == 0
    tenant.upsert([1], ONE)
    assert tenant.count() == tenant.usage().vectors.used == 1
    assert db.create_tenants([]) == []


@pytest.mark.parametrize("taken", ["there", "00003"])
def test_of_tenants_made_together_all_are_there_or_none(db: Database, taken: str) -> None:
    db.create_tenant(TenantConfig(id="there"))
    with pytest.raises(errors.TenantExists, match=taken):
        db.create_tenants([*configs(20), TenantConfig(id=taken)])
    assert [info.id for info in db.tenants()] == ["there"]
    assert len(db._registry.ledger) == 1
    db.create_tenants(configs(20))
    assert len(db.tenants()) == len(db._registry.ledger) == 21


def test_creation_of_many_that_is_interrupted_leaves_nothing(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(catalog, "pack_checked", interrupt)
        db.create_tenants(configs(5))
    assert (db.tenants(), len(db._registry.ledger)) == ([], 0)


@shares_ledger
@pytest.mark.parametrize("next_use", ["opening", "making"])
def test_slots_of_tenants_that_a_killed_process_was_making_are_freed(
    tmp_path: Path, next_use: str
) -> None:
    path = tmp_path / "data"
    with llmspell.open(path) as db:
        db.create_tenants(configs(3))
        child = multiprocessing.get_context("spawn").Process(target=make_and_die, args=(path,))
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        assert len(db._registry.ledger) == 13
        if next_use == "making":
            db.create_tenant(TenantConfig(id="next"))
            assert len(db._registry.ledger) == 4
    with llmspell.open(path) as db:
        assert len(db._registry.ledger) == len(db.tenants()) == (3 if next_use == "opening" else 4)
        assert db.tenant("00002").usage().vectors.limit is not None
    assert not list(path.glob("staging/*"))


def make_and_die(path: Path) -> None:
    def die(entry: object) -> bytes:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    with llmspell.open(path) as db:
        catalog.encode_entry = die
        db.create_tenants([TenantConfig(id=f"new {number}") for number in range(10)])


def test_slots_of_tenants_that_are_being_made_stay(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = catalog.encode_entry
    seen: list[bool] = []

    def look(entry: CatalogEntry) -> bytes:
        seen.append(is_any_abandoned(db.path))
        return encode(entry)

    monkeypatch.setattr(catalog, "encode_entry", look)
    db.create_tenants(configs(3))
    assert seen == [False] * 3
    assert len(db._registry.ledger) == 3
    assert not list(db.path.glob("staging/*"))


def test_each_of_many_is_told_of(tmp_path: Path) -> None:
    events: list[str] = []
    with llmspell.open(
        tmp_path / "data", on_event=lambda event: events.append(f"{event.kind} {event.tenant_id}")
    ) as db:
        db.create_tenants(configs(2))
    assert events == ["created 00000", "created 00001"]


def test_tenant_takes_no_disk_before_its_first_use(db: Database, acme: Tenant) -> None:
    assert acme.usage().vectors.used == 0
    assert (acme.config.id, acme.generation) == ("acme", 1)
    assert rooms(db) == []
    assert acme.count() == 0
    assert len(rooms(db)) == 1


def test_tenant_that_was_never_used_can_be_dropped(db: Database, acme: Tenant) -> None:
    assert db.drop_tenant("acme").bytes_on_disk == 0
    everything_fails(acme, errors.TenantNotFound)
    assert (rooms(db), len(db._registry.ledger)) == ([], 0)
    assert db.create_tenant(TenantConfig(id="acme")).count() == 0


def test_first_use_in_another_process_is_seen(db: Database, acme: Tenant) -> None:
    assert in_other_process(db, "acme") == ["done"]
    assert acme.count() == 1
    assert len(rooms(db)) == 1


def test_first_use_of_a_tenant_that_another_process_has_dropped(db: Database, acme: Tenant) -> None:
    assert in_other_process(db, "drop") == ["done"]
    db.create_tenant(TenantConfig(id="acme"))
    everything_fails(acme, errors.TenantNotFound)
    assert rooms(db) == []


def test_first_use_that_is_cut_short_is_made_good_by_the_next(
    db: Database, acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, where in ((catalog, "encode_entry"), (catalog_entry, "pack_checked")):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(module, where, interrupt)
            acme.count()
        (left,) = rooms(db)
        # Of no use to anyone: it was never said to be there.
        (left / "index-0000000000000009.snap").write_bytes(b"?")
    acme.upsert([1], ONE)
    assert acme.count() == 1
    assert not list(rooms(db)[0].glob("*0009.snap"))


def test_room_that_is_lost_is_told_from_one_that_was_never_made(db: Database, acme: Tenant) -> None:
    db.create_tenant(TenantConfig(id="b"))
    acme.count()
    acme.close()
    shutil.rmtree(db.path / "tenants")
    assert db.tenant("b").count() == 0
    with pytest.raises(errors.CorruptFile, match="data of tenant 'acme' is missing"):
        db.tenant("acme").count()


def test_changes_before_the_first_use_hold_after_it(db: Database, acme: Tenant) -> None:
    db.update_tenant("acme", quotas=QuotaLimits(max_vectors=1))
    db.suspend_tenant("acme", reads_stay=True)
    assert acme.count() == 0
    with pytest.raises(errors.TenantSuspended):
        acme.upsert([1], ONE)
    db.resume_tenant("acme")
    with pytest.raises(errors.QuotaExceeded):
        acme.upsert([1, 2], np.ones((2, 4)))
    assert db.tenants()[0].config.quotas == QuotaLimits(max_vectors=1)


def test_entry_of_an_earlier_release_has_its_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = catalog_entry.pack_checked

    def without(fields: dict[str, object]) -> bytes:
        fields.pop("has_room", None)
        return pack(fields)

    with llmspell.open(tmp_path / "data") as db:
        tenant = db.create_tenant(TenantConfig(id="acme"))
        monkeypatch.setattr(catalog_entry, "pack_checked", without)
        tenant.upsert([1], ONE)
        monkeypatch.undo()
    with llmspell.open(tmp_path / "data") as db:
        assert db.tenant("acme").count() == 1
        monkeypatch.setattr(Room, "create", None)
        monkeypatch.setattr(Catalog, "make_room", None)
        assert db.tenant("acme").count() == 1


@pytest.mark.parametrize(
    "given",
    [
        {"name": 5},
        {"name": "a\0b"},
        {"name": "\ud800"},
        {"quotas": {"max_vectors": 1}},
        {"index": {"m": 8}},
        {"isolation_level": "strict"},
    ],
)
def test_setting_of_a_wrong_type_is_refused_and_not_kept(
    db: Database, acme: Tenant, given: dict[str, Any]
) -> None:
    (name,) = given
    with pytest.raises(errors.ConfigError, match=name):
        TenantConfig(id="other", **given)
    before = db.tenants()
    if name in ("name", "quotas"):
        with pytest.raises(errors.ConfigError, match=name):
            db.update_tenant("acme", **given)
    assert db.tenants() == before


def test_what_is_no_config_makes_no_tenant(db: Database) -> None:
    config: Any = "acme"
    with pytest.raises(errors.ConfigError, match="TenantConfig, got 'acme'"):
        db.create_tenant(config)
    with pytest.raises(errors.ConfigError, match="TenantConfig, got 'acme'"):
        db.create_tenants([TenantConfig(id="other"), config])
    assert db.tenants() == []
