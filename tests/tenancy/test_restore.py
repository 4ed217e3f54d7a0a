"""Tenants restored from snapshots: new ones, ones in place of others, and what keeps them out."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llmspell
from llmspell import Database, QuotaLimits, Tenant, TenantConfig, TenantEvent, errors
from llmspell.quota import Quota
from llmspell.storage import Catalog, FileLock
from llmspell.storage.verify import verify
from tests.tenancy.copies import (
    filled,
    found,
    levels,
    nothing_is_left,
    packed,
    recount,
    rows,
    same,
    tree,
)
from tests.tenancy.ledgers import shares_ledger
from tests.tenancy.test_lifecycle import everything_fails
from tests.tenancy.test_processes import Worker
from tests.tenancy.transfers import content


@pytest.mark.parametrize("name", ["snapshot", "snapshot.tar"])
@pytest.mark.parametrize("count", [200, 3_000])  # swept, and with a graph
def test_what_is_restored_elsewhere_is_the_same(
    db: Database, tmp_path: Path, name: str, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    acme = filled(db, count=count, metric="l2", schema={"n": "int"}, name="Acme")
    acme.snapshot(tmp_path / name)
    with llmspell.open(tmp_path / "elsewhere") as elsewhere:
        elsewhere.create_tenant(TenantConfig(id="other"))
        restored = elsewhere.restore_tenant(tmp_path / name)
        assert restored.config == acme.config
        assert restored.generation == 2
        same(acme, restored)
    with llmspell.open(tmp_path / "elsewhere") as elsewhere:
        restored = elsewhere.tenant("acme")
        same(acme, restored)
        restored.upsert(["new"], rows(1))
        restored.delete(range(50))  # type: ignore[arg-type]
        assert levels(restored.usage()) == recount(restored)
    # Nothing was built anew.
    assert [record.message for record in caplog.records if "build" in record.message] == []


def test_another_id_name_and_quotas_are_taken(db: Database) -> None:
    raw = packed(filled(db))
    quotas = QuotaLimits(max_vectors=500)
    restored = db.restore_tenant(io.BytesIO(raw), tenant_id="ä/..", name="Ä", quotas=quotas)
    assert (restored.id, restored.config.name, restored.config.quotas) == ("ä/..", "Ä", quotas)
    assert restored.usage().vectors.limit == 500
    assert [info.id for info in db.tenants()] == ["acme", "ä/.."]


def test_an_existing_tenant_is_replaced_only_where_that_is_said(db: Database) -> None:
    acme = filled(db)
    raw = packed(acme)
    before, kept = tree(db), content(acme)
    for tenant_id in (None, "acme"):
        with pytest.raises(errors.TenantExists, match="replace=True"):
            db.restore_tenant(io.BytesIO(raw), tenant_id=tenant_id)
    nothing_is_left(db, before, 1)
    assert content(acme) == kept


def test_a_replaced_tenant_ends_with_all_of_its_handles(db: Database) -> None:
    acme = filled(db)
    raw = packed(acme)
    wanted = content(acme)
    acme.delete(filter={})
    acme.upsert(["later"], rows(1))
    untouched = db.tenant("acme")
    restored = db.restore_tenant(io.BytesIO(raw), replace=True)
    assert restored.generation > acme.generation
    for handle in (acme, untouched):
        everything_fails(handle, errors.TenantNotFound)
        with pytest.raises(errors.TenantNotFound):
            handle.usage()
    assert content(restored) == content(db.tenant("acme")) == wanted
    assert (
        len(db.tenants()) == len(list(db.path.glob("tenants/*/*"))) == len(db._registry.ledger) == 1
    )
    assert levels(restored.usage()) == recount(restored)


def test_replacing_makes_a_tenant_where_there_is_none(db: Database) -> None:
    raw = packed(filled(db))
    assert db.restore_tenant(io.BytesIO(raw), tenant_id="new", replace=True).id == "new"


def test_what_an_operator_set_of_a_replaced_tenant_stays(db: Database) -> None:
    acme = filled(db)
    raw = packed(acme)
    quotas = QuotaLimits(max_vectors=1_000, max_embeddings_per_day=50)
    db.update_tenant("acme", name="Acme", quotas=quotas)
    embedded = acme.usage().embeddings.used
    assert embedded > 0
    acme._residence.slot.charge(int(Quota.COST), 77)
    db.suspend_tenant("acme")
    restored = db.restore_tenant(io.BytesIO(raw), replace=True)
    assert (restored.config.name, restored.config.quotas) == ("Acme", quotas)
    assert restored.usage().embeddings.used == embedded
    assert restored.usage().cost.used == 77
    with pytest.raises(errors.TenantSuspended):
        restored.count()
    (info,) = db.tenants()
    assert info.suspension == "all"
    db.resume_tenant("acme")
    assert restored.count() == recount(restored)[1]


@pytest.mark.parametrize(
    "short",
    [{"max_vectors": 190}, {"max_documents": 0}, {"max_storage_mb": 0}, {"max_dimensions": 15}],
)
def test_no_more_is_restored_than_quotas_admit(db: Database, short: dict[str, int]) -> None:
    acme = filled(db)
    raw = packed(acme)
    quotas = QuotaLimits(**{"max_api_calls_per_minute": None, **short})  # type: ignore[arg-type]
    before, wanted = tree(db), content(acme)
    with pytest.raises(errors.QuotaExceeded, match=next(iter(short))):
        db.restore_tenant(io.BytesIO(raw), tenant_id="copy", quotas=quotas)
    with pytest.raises(errors.QuotaExceeded, match=next(iter(short))):
        db.restore_tenant(io.BytesIO(raw), replace=True, quotas=quotas)
    nothing_is_left(db, before, 1)
    db.update_tenant("acme", quotas=quotas)
    with pytest.raises(errors.QuotaExceeded, match=next(iter(short))):
        db.restore_tenant(io.BytesIO(raw), replace=True)
    nothing_is_left(db, before, 1)
    assert content(acme) == wanted
    # Beyond its own limits it was before: nothing else would bring it back.
    beyond = packed(acme)
    restored = db.restore_tenant(io.BytesIO(beyond), tenant_id="copy")
    assert levels(restored.usage()) == recount(restored)
    with pytest.raises(errors.QuotaExceeded):
        restored.upsert(["one more"], rows(1), texts="x" * 20)
        restored.ingest(llmspell.Document("d", "one line"))
        db.restore_tenant(io.BytesIO(beyond), tenant_id="third", quotas=quotas)


def test_events_tell_of_what_was_restored_and_dropped(tmp_path: Path) -> None:
    events: list[TenantEvent] = []
    with llmspell.open(tmp_path / "data", on_event=events.append) as db:
        acme = db.create_tenant(TenantConfig(id="acme"))
        acme.snapshot(tmp_path / "snapshot")
        db.restore_tenant(tmp_path / "snapshot", tenant_id="copy")
        db.restore_tenant(tmp_path / "snapshot", replace=True)
        db.clone_tenant("acme", "clone")
        told = [(event.kind, event.tenant_id, event.generation) for event in events]
        assert told == [
            ("created", "acme", 1),
            ("restored", "copy", 2),
            ("dropped", "acme", 1),
            ("restored", "acme", 3),
            ("created", "clone", 4),
        ]
        assert {info.id: info.generation for info in db.tenants()} == {
            **{"acme": 3, "clone": 4, "copy": 2}
        }


def test_a_tenant_that_another_process_writes_to_is_not_replaced(
    db: Database, acme: Tenant
) -> None:
    raw = packed(acme)
    before = tree(db)
    (room,) = db.path.glob("tenants/*/*")
    stranger = FileLock(room / "writer.lock", timeout=0, holder="test")
    with pytest.raises(errors.DatabaseLocked):
        db.restore_tenant(io.BytesIO(raw), replace=True)
    stranger.release()
    nothing_is_left(db, before, 1)
    acme.upsert([1], np.ones((1, 4)))
    assert acme.count() == 1


def test_a_map_that_is_too_small_is_named(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = packed(filled(db, count=20_000))
    # The header of the first file tells; nothing of it is unpacked.
    monkeypatch.setattr("llmspell.storage.archive.write_all", None)
    with llmspell.open(tmp_path / "small", map_size=1 << 20) as small:
        with pytest.raises(errors.StorageFull, match="map_size"):
            small.restore_tenant(io.BytesIO(raw))
        nothing_is_left(small, tree(small), 0)
        assert small.tenants() == []


@pytest.mark.parametrize(
    "at",
    [
        "llmspell.storage.manifest.Manifest.decode",
        "llmspell.tenancy.tenant_maker.verify",
        "llmspell.storage.staging.StagedRoom.move",
        "llmspell.storage.catalog.encode_entry",
    ],
)
@pytest.mark.parametrize("replace", [False, True])
def test_an_interrupted_restoring_leaves_the_old_state(
    db: Database, monkeypatch: pytest.MonkeyPatch, at: str, *, replace: bool
) -> None:
    acme = filled(db)
    raw = packed(acme)
    before, wanted = tree(db), content(acme)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(at, interrupted)
        with pytest.raises(KeyboardInterrupt):
            db.restore_tenant(
                io.BytesIO(raw), tenant_id=None if replace else "copy", replace=replace
            )
    nothing_is_left(db, before, 1)
    assert content(acme) == wanted
    same(acme, db.restore_tenant(io.BytesIO(raw), tenant_id="copy"))


def test_an_interrupt_behind_the_commit_leaves_the_new_state(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = filled(db)
    raw = packed(acme)
    install = Catalog.install

    def commit_and_interrupt(*given: object) -> None:
        install(*given)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Catalog, "install", commit_and_interrupt)
        with pytest.raises(KeyboardInterrupt):
            db.restore_tenant(io.BytesIO(raw), tenant_id="copy")
    same(acme, db.tenant("copy"))
    assert not list((db.path / "staging").iterdir())


def test_a_closed_database_refuses(db: Database, acme: Tenant) -> None:
    raw = packed(acme)
    db.close()
    for call in (
        lambda: db.restore_tenant(io.BytesIO(raw)),
        lambda: db.clone_tenant("acme", "copy"),
        lambda: db.snapshot_tenant("acme", io.BytesIO()),
        db.purge_expired,
    ):
        with pytest.raises(errors.ClosedError):
            call()


def test_an_id_that_no_tenant_can_have_is_refused_at_once(db: Database, acme: Tenant) -> None:
    raw = packed(acme)
    for tenant_id in ("", "x" * 129, "a\0b", 7):
        with pytest.raises(errors.ConfigError, match="id must"):
            db.restore_tenant(io.BytesIO(raw), tenant_id=tenant_id)  # type: ignore[arg-type]
        with pytest.raises(errors.ConfigError, match="id must"):
            db.clone_tenant("acme", tenant_id)  # type: ignore[arg-type]
    for source in (7, None):
        with pytest.raises(errors.InputError, match="path or an open binary file"):
            db.restore_tenant(source)  # type: ignore[arg-type]
    with pytest.raises(errors.StorageError, match="nowhere"):
        db.restore_tenant(db.path / "nowhere")
    nothing_is_left(db, tree(db), 1)


OPENER = """
import sys, llmspell
with llmspell.open(sys.argv[1]) as db:
    print(*(info.id for info in db.tenants()))
"""


def opened_elsewhere(db: Database) -> list[str]:
    return subprocess.run(
        [sys.executable, "-c", OPENER, str(db.path)], capture_output=True, text=True, check=True
    ).stdout.split()


def test_another_process_leaves_what_is_being_restored_alone(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = filled(db)
    raw = packed(acme)
    seen = []

    def verify_seen(*given: Any) -> Any:
        seen.append(opened_elsewhere(db))
        return verify(*given)

    monkeypatch.setattr("llmspell.tenancy.tenant_maker.verify", verify_seen)
    restored = db.restore_tenant(io.BytesIO(raw), tenant_id="copy")
    assert seen == [["acme"]]
    assert opened_elsewhere(db) == ["acme", "copy"]
    same(acme, restored)
    assert found(restored) == found(acme)


@shares_ledger
def test_a_tenant_that_is_replaced_ends_in_all_processes(
    db: Database, acme: Tenant, tmp_path: Path
) -> None:
    acme.upsert(range(8), np.eye(8))
    acme.snapshot(tmp_path / "snapshot")
    other = Worker(db.path)
    try:
        assert other.ask("put(range(10, 20))") is None
        db.restore_tenant(tmp_path / "snapshot", replace=True)
        for call in ("acme.count()", "found()", "put(range(5))", "acme.get(1)", "acme.usage()"):
            assert other.ask(call) == "TenantNotFound", call
        assert other.ask("db.tenant('acme').count()") == 8
        assert other.ask("len(db.tenant('acme').search(VECTORS[0], k=20))") == 8
    finally:
        other.kill()
