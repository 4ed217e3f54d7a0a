"""Closing that an exception from elsewhere meets, and handles that nobody closes."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import llmspell
from llmspell import Database, QuotaLimits, Tenant, TenantConfig, errors
from llmspell.storage.view import VectorView
from llmspell.tenancy.residence import Residence
from tests.tenancy.ledgers import shares_ledger

ONE = np.ones((1, 4), dtype=np.float32)


def open_files(root: Path) -> list[str]:
    """Files of environments and locks that this process has open."""
    paths = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # another thread has closed it
            paths.append(os.readlink(f"/proc/self/fd/{name}"))
    return [path for path in paths if path.startswith(str(root)) and "ledger" not in path]


def create(db: Database, name: str) -> Tenant:
    tenant = db.create_tenant(TenantConfig(id=name, quotas=QuotaLimits.unlimited()))
    tenant.upsert([1], ONE)
    return tenant


def interrupt(*given: object) -> None:
    raise KeyboardInterrupt


def test_interrupted_close_releases_everything_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = llmspell.open(tmp_path / "data")
    tenants = [create(db, name) for name in "abc"]
    with monkeypatch.context() as patch:
        patch.setattr(VectorView, "snapshot", interrupt)
        with pytest.raises(KeyboardInterrupt):
            db.close()
    db.close()
    assert open_files(tmp_path) == []
    for tenant in tenants:
        with pytest.raises(errors.ClosedError):
            tenant.count()
    with llmspell.open(tmp_path / "data", lock_timeout=0) as again:
        assert [again.tenant(name).count() for name in "abc"] == [1, 1, 1]


def test_close_interrupted_while_a_read_goes_on_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = llmspell.open(tmp_path / "data", lock_timeout=0)
    reading = create(db, "a")._enter().store.records()
    # In another thread: what this one has begun, closing ends.
    reader = threading.Thread(target=next, args=(reading,))
    reader.start()
    reader.join()
    with monkeypatch.context() as patch:
        patch.setattr("llmspell.storage.permits.time.sleep", interrupt)
        with pytest.raises(KeyboardInterrupt):
            db.close()
    reading.close()  # type: ignore[attr-defined]
    db.close()
    with llmspell.open(tmp_path / "data", lock_timeout=0) as again:
        assert again.tenant("a").count() == 1


def test_interrupted_close_of_a_handle_gives_the_room_back(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = create(db, "a")
    with monkeypatch.context() as patch:
        patch.setattr(VectorView, "snapshot", interrupt)
        with pytest.raises(KeyboardInterrupt):
            tenant.close()
    assert db.tenant("a").count() == 1
    with pytest.raises(errors.ClosedError):
        tenant.count()


def test_rooms_of_collected_handles_are_closed_by_the_next_call(db: Database) -> None:
    for name in "abc":
        create(db, name).close()
    closed = open_files(db.path)
    for name in "abc":
        db.tenant(name).count()
    gc.collect()
    assert len(db.tenants()) == 3
    assert open_files(db.path) == closed
    assert [db.tenant(name).count() for name in "abc"] == [1, 1, 1]


def test_room_stays_open_for_a_handle_beside_a_collected_one(db: Database) -> None:
    kept = create(db, "a")
    room = kept._enter()
    db.tenant("a").count()
    gc.collect()
    assert db.tenant("a")._enter() is kept._enter() is room
    gc.collect()
    db.tenants()
    assert kept.count() == 1
    assert kept._enter() is room


def test_handle_collected_inside_a_lock_closes_nothing_there(db: Database) -> None:
    tenant = create(db, "a")
    room = tenant._enter()
    with room.writer.lock, tenant._residence._lock, db._house.lock:
        del tenant
        gc.collect()
        assert not room.is_closed
    db.tenants()
    assert room.is_closed


def test_first_handle_after_a_collected_one_takes_its_room_over(db: Database) -> None:
    room = create(db, "a")._enter()
    gc.collect()
    assert db.tenant("a")._enter() is room


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_handle_is_not_copied(acme: Tenant, copied: Callable[[object], object]) -> None:
    with pytest.raises(TypeError, match="ask a database for another"):
        copied(acme)


def test_handles_closed_beside_each_other_leave_a_later_one_its_room(
    db: Database, acme: Tenant
) -> None:
    former = acme._residence
    acme.close()
    later = db.tenant("acme")
    assert later._residence is not former
    later.upsert([1], ONE)
    db._house.retire(former)  # by a thread that closed the handle at the same time
    assert db.tenant("acme").count() == 1


def test_handle_taken_while_expired_records_are_removed_shares_the_room(
    db: Database, acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme.upsert([1], ONE)
    acme.close()
    purge = Residence.purge
    later: list[Tenant] = []

    def overtaken(self: Residence) -> int:
        db.tenant("acme").close()
        later.append(db.tenant("acme"))
        later[0].count()
        return purge(self)

    monkeypatch.setattr(Residence, "purge", overtaken)
    db.purge_expired()
    (residence,) = db._house.residences()
    assert later[0]._residence is residence
    assert later[0].count() == 1


@shares_ledger
def test_the_ledgers_file_closes_with_the_database_and_its_handles(tmp_path: Path) -> None:
    def is_open() -> bool:
        paths = map(os.path.realpath, Path("/proc/self/fd").iterdir())
        return str(tmp_path / "data" / "ledger") in paths

    db = llmspell.open(tmp_path / "data")
    acme = create(db, "acme")
    acme.search(ONE[0])
    assert is_open()
    gc.disable()
    try:
        db.close()
        del acme
        assert not is_open()  # though the database itself is still there
    finally:
        gc.enable()
    for call in (db.tenants, db.metrics, lambda: db.create_tenant(TenantConfig(id="b"))):
        with pytest.raises(errors.ClosedError):
            call()
