"""Clones of tenants: the same, and independent from then on."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import threading
from pathlib import Path

import numpy as np
import pytest

import llmspell
from llmspell import Database, QuotaLimits, TenantConfig, errors
from tests.tenancy.copies import filled, nothing_is_left, recount, rows, same, tree
from tests.tenancy.transfers import content


@pytest.mark.parametrize("count", [200, 3_000])
def test_a_clone_is_the_same_and_independent(db: Database, count: int) -> None:
    acme = filled(db, count=count, name="Acme", schema={"n": "int"})
    clone = db.clone_tenant("acme", "clone")
    assert clone.config.name == "Acme"
    same(acme, clone)
    kept = content(acme)
    clone.delete(filter={"n": {"$gte": 50}})
    clone.upsert(["own"], rows(1))
    assert content(acme) == kept
    acme.delete(filter={})
    assert clone.get("own").id == "own"
    db.drop_tenant("acme")
    assert clone.count() == recount(clone)[1] == clone.usage().vectors.used > 40


def test_a_clone_opens_from_the_snapshot_of_the_index(
    db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    filled(db, count=3_000)
    clone = db.clone_tenant("acme", "clone")
    clone.count()
    (directory,) = db.path.glob(f"tenants/*/{clone._residence.entry.key.hex()}")
    assert list(directory.glob("index-*.snap"))
    assert (directory / "payload.snap").exists()
    assert [record.message for record in caplog.records] == []


def test_a_clone_is_made_where_files_must_be_copied_byte_by_byte(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    acme = filled(db, count=3_000)
    monkeypatch.setattr(os, "copy_file_range", refuse)
    same(acme, db.clone_tenant("acme", "clone"))


def test_a_clone_is_held_to_the_quotas_given(db: Database) -> None:
    filled(db)
    before = tree(db)
    with pytest.raises(errors.QuotaExceeded, match="max_vectors"):
        db.clone_tenant("acme", "clone", quotas=QuotaLimits(max_vectors=100))
    with pytest.raises(errors.TenantExists):
        db.clone_tenant("acme", "acme")
    with pytest.raises(errors.TenantNotFound):
        db.clone_tenant("nobody", "clone")
    nothing_is_left(db, before, 1)
    clone = db.clone_tenant("acme", "clone", name="Twin", quotas=QuotaLimits(max_vectors=300))
    assert (clone.config.name, clone.usage().vectors.limit) == ("Twin", 300)


def test_a_suspended_tenant_is_cloned_and_the_clone_is_not(db: Database) -> None:
    filled(db)
    db.suspend_tenant("acme")
    assert db.clone_tenant("acme", "clone").count() > 0


def test_a_clone_beside_a_writer_shows_one_moment(tmp_path: Path) -> None:
    stop = threading.Event()
    with llmspell.open(tmp_path / "data", lock_timeout=30.0) as db:
        acme = db.create_tenant(TenantConfig(id="acme", quotas=QuotaLimits.unlimited()))
        acme.upsert([0, 100_000], rows(2))
        written = [0]

        def write() -> None:
            while not stop.is_set():
                written.append(len(written))
                acme.upsert([written[-1], 100_000 + written[-1]], rows(2))

        thread = threading.Thread(target=write)
        thread.start()
        try:
            clones = [db.clone_tenant("acme", f"clone {i}") for i in range(5)]
        finally:
            stop.set()
            thread.join()
        assert len(written) > 5
        for clone in clones:
            ids = [record.id for record in clone.scan(limit=100_000).records]
            half = len(ids) // 2
            assert ids == [*range(half), *range(100_000, 100_000 + half)]
            assert {hit.id for hit in clone.search(rows(1)[0], k=len(ids))} == set(ids)


def test_the_async_forms_do_the_same(tmp_path: Path) -> None:
    async def life() -> list[int]:
        async with llmspell.open(tmp_path / "data") as db:
            acme = await db.create_tenant(TenantConfig(id="acme"))
            await acme.upsert([1, 2], np.eye(2))
            file = io.BytesIO()
            assert (await acme.snapshot(file)).records == 2
            await db.snapshot_tenant("acme", tmp_path / "snapshot")
            file.seek(0)
            one = await db.restore_tenant(file, tenant_id="one", name="One")
            two = await db.restore_tenant(tmp_path / "snapshot", replace=True)
            three = await db.clone_tenant("acme", "three", quotas=QuotaLimits.unlimited())
            assert await db.purge_expired() == 0
            return [await tenant.count() for tenant in (one, two, three)]

    assert asyncio.run(life()) == [2, 2, 2]
