"""Snapshot files of a room that several processes have open."""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llmspell
from llmspell import Database, Index, IndexParams, QuotaLimits, Tenant, TenantConfig
from llmspell.errors import StorageError
from llmspell.storage import payload_file, view
from llmspell.storage.payload import PayloadIndex
from llmspell.storage.snapshots import PAYLOAD, Snapshots

VECTORS = np.random.default_rng(3).standard_normal((40, 8)).astype(np.float32)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with llmspell.open(tmp_path / "data") as db:
        yield db


@pytest.fixture
def acme(db: Database) -> Tenant:
    """A tenant with something to save: records, a payload index and what was measured of recall."""
    index = IndexParams(graph_threshold=20)
    config = TenantConfig(id="acme", quotas=QuotaLimits.unlimited(), index=index)
    tenant = db.create_tenant(config)
    tenant.upsert(range(40), VECTORS, metadata=[{"n": n} for n in range(40)])
    assert len(tenant.search(VECTORS[0], filter={"n": {"$gte": 30}})) == 10
    return tenant


def test_a_snapshot_of_the_payload_index_is_not_swept_away_while_it_is_written(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    directory = acme._residence.path
    fsync: Callable[[int], None] = os.fsync

    def open_meanwhile(descriptor: int) -> None:
        if list(directory.glob(f"{PAYLOAD}*.tmp")):
            Snapshots(directory).sweep()  # as another process does that opens the room
        fsync(descriptor)

    monkeypatch.setattr(payload_file.os, "fsync", open_meanwhile)
    with caplog.at_level(logging.WARNING, "llmspell"):
        acme.close()
    assert not caplog.records
    assert (directory / PAYLOAD).exists()
    assert not list(directory.glob("*.tmp"))


def test_files_that_another_process_writes_are_left_to_it(acme: Tenant, db: Database) -> None:
    acme.calibrate(k=5)
    directory = acme._residence.path
    with Snapshots(directory).writing() as is_ours:
        assert is_ours
        acme.close()
        assert not list(directory.glob("*.snap"))
        assert not (directory / "recall.json").exists()
    again = db.tenant("acme")
    again.upsert([0], VECTORS[:1], metadata={"n": 0})
    again.calibrate(k=5)
    assert len(again.search(VECTORS[0], filter={"n": {"$gte": 30}})) == 10
    again.close()
    assert (directory / PAYLOAD).exists()
    assert (directory / "recall.json").exists()


def test_of_a_tenant_that_another_process_dropped_nothing_is_said(
    acme: Tenant, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    acme.calibrate(k=5)
    other = multiprocessing.get_context("spawn").Process(target=_drop, args=(db.path,))
    other.start()
    other.join()
    assert other.exitcode == 0
    with caplog.at_level(logging.WARNING, "llmspell"):
        acme.close()
    assert not caplog.records
    assert not acme._residence.path.exists()


def test_of_a_snapshot_that_a_scrub_removes_meanwhile_nothing_is_said(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    room = acme._enter()
    room.views.snapshot()
    acme.upsert([0], VECTORS[:1], metadata={"n": 0})
    removed: list[Path] = []
    opened = Path.open

    def overtaken(path: Path, *given: Any, **named: Any) -> Any:
        if path.name == PAYLOAD and given == ("rb",):
            path.unlink()
            removed.append(path)
        return opened(path, *given, **named)

    monkeypatch.setattr(Path, "open", overtaken)
    with caplog.at_level(logging.WARNING, "llmspell"):
        room.views.snapshot()
    assert removed
    assert not caplog.records
    # The log is trimmed behind the older of both.
    assert room.store.tail(0).changes is None


def test_of_a_disk_that_takes_no_snapshot_it_is_warned(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StorageError("the disk failed")

    acme.calibrate(k=5)
    monkeypatch.setattr(PayloadIndex, "save", fail)
    monkeypatch.setattr(Index, "save", fail)
    monkeypatch.setattr(view, "write_curves", fail)
    with caplog.at_level(logging.WARNING, "llmspell"):
        acme.close()
    assert len(caplog.records) == 3
    assert all(record.getMessage().endswith(": the disk failed") for record in caplog.records)


def _drop(path: Path) -> None:
    with llmspell.open(path) as db:
        db.drop_tenant("acme")
