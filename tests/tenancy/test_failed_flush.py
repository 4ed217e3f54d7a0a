"""Acknowledged writes that can't be committed: they stay, in order, and everybody is told."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llmspell
from llmspell import Database, QuotaLimits, Tenant, TenantConfig, errors
from llmspell.storage import encode_id
from llmspell.storage.batch import Batch
from llmspell.storage.environment import Environment
from llmspell.storage.store import TenantStore
from llmspell.storage.views import Views

VECTORS = np.random.default_rng(8).standard_normal((60, 8)).astype(np.float32)
SIZE = 10


@pytest.fixture(params=["batch", "async"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """One in which nothing is committed because its time has come."""
    with llmspell.open(
        tmp_path / "data",
        durability=request.param,
        flush_interval=3600.0,
        write_batch_size=SIZE,
        lock_timeout=0.1,
    ) as database:
        yield database


@pytest.fixture
def acme(db: Database) -> Tenant:
    tenant = db.create_tenant(TenantConfig(id="acme", quotas=QuotaLimits.unlimited()))
    put(tenant, 0)
    return tenant


def put(tenant: Tenant, *ids: int) -> None:
    tenant.upsert(ids, VECTORS[list(ids)], [{"n": i} for i in ids])


def ids(tenant: Tenant) -> set[Any]:
    return {record.id for record in tenant.scan().records}


@contextmanager
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def fail(*_: object) -> None:
        raise errors.StorageFull("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(TenantStore, "_require_room", fail)
        yield


ASKED: dict[str, Callable[[Tenant, Database], Any]] = {
    "flush": lambda tenant, db: tenant.flush(),
    "flush of the database": lambda tenant, db: db.flush(),
    "search": lambda tenant, db: tenant.search(VECTORS[0]),
    "get": lambda tenant, db: tenant.get(0),
    "count": lambda tenant, db: tenant.count(),
    "insert": lambda tenant, db: tenant.insert(9, VECTORS[9]),
    "delete": lambda tenant, db: tenant.delete([0]),
    "filter": lambda tenant, db: tenant.delete(filter={}),
    "close": lambda tenant, db: tenant.close(),
    "close of the database": lambda tenant, db: db.close(),
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_failed_flush_is_told_and_loses_nothing(
    db: Database,
    acme: Tenant,
    ask: Callable[[Tenant, Database], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(acme, 1)
    put(acme, 2)
    with full_disk(monkeypatch):
        for _ in range(2):
            with pytest.raises(errors.FlushFailed, match="2 acknowledged writes") as caught:
                ask(acme, db)
                acme.flush()  # pragma: no cover - a handle closes only once
            assert isinstance(caught.value.__cause__, errors.StorageFull)
            if ask is ASKED["close"]:
                acme = db.tenant("acme")
    db.close()
    with llmspell.open(db.path) as again:
        assert ids(again.tenant("acme")) == {0, 1, 2}
        assert again.tenant("acme").usage().vectors.used == 3


def test_failed_flush_of_a_forgotten_tenant_is_told_to_nobody_who_asks_for_another(
    db: Database,
    acme: Tenant,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    forgotten = db.create_tenant(TenantConfig(id="forgotten", quotas=QuotaLimits.unlimited()))
    put(forgotten, 0)
    put(forgotten, 1)
    with full_disk(monkeypatch):
        del forgotten
        assert db.tenant("acme").count() == 1
    assert "tenant forgotten: closing its room" in caplog.text
    assert ids(db.tenant("forgotten")) == {0, 1}


def test_write_behind_a_failed_flush_is_refused_until_one_succeeds(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(acme, 1)
    with full_disk(monkeypatch):
        with pytest.raises(errors.FlushFailed):
            acme.flush()
        with pytest.raises(errors.FlushFailed):
            put(acme, 2)
        assert len(acme.search(VECTORS[0], consistency="eventual")) == 1
        assert acme.usage().vectors.used == 2, "what waits counts as it was reserved"
    put(acme, 3)
    assert ids(acme) == {0, 1, 3}
    assert acme.usage().vectors.used == 3


def test_call_whose_commit_fails_is_not_in_the_queue(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(acme, 1)
    with full_disk(monkeypatch), pytest.raises(errors.FlushFailed):
        acme.insert([2, 3], VECTORS[2:4])
    assert ids(acme) == {0, 1}
    assert acme.usage().vectors.used == 2


def test_nothing_overtakes_a_write_that_cannot_be_committed(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Batch.write

    def poisoned(self: Batch, one: Any, *given: Any) -> Any:
        if any(put.key == encode_id(2) for put in one.puts):
            raise errors.CorruptFile("a record that 2 replaces is damaged")
        return write(self, one, *given)

    for i in (1, 2, 3):
        put(acme, i)
    with monkeypatch.context() as patch:
        patch.setattr(Batch, "write", poisoned)
        with pytest.raises(errors.FlushFailed, match="that 2 replaces is damaged"):
            acme.delete([0])
        assert [hit.id for hit in acme.search(VECTORS[0], consistency="eventual")] == [0, 1]
    assert ids(acme) == {0, 1, 2, 3}
    assert acme.usage().vectors.used == 4


def test_another_process_that_writes_is_waited_for(db: Database, acme: Tenant) -> None:
    put(acme, 1)
    room = acme._enter()
    held = threading.Event()
    go_on = threading.Event()

    def hold() -> None:
        with room.writer._file_lock(0.0):
            held.set()
            go_on.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    try:
        with pytest.raises(errors.FlushFailed) as caught:
            acme.flush()
        assert isinstance(caught.value.__cause__, errors.DatabaseLocked)
        with pytest.raises(errors.DatabaseLocked):
            acme.delete([0])
    finally:
        go_on.set()
        holder.join()
    acme.flush()
    assert ids(acme) == {0, 1}


def test_flush_of_a_database_names_every_tenant_that_failed(
    db: Database, acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = db.create_tenant(TenantConfig(id="other"))
    put(other, 0)
    for tenant in (acme, other):
        put(tenant, 1)
    with full_disk(monkeypatch), pytest.raises(errors.FlushFailed, match="acme") as caught:
        db.flush()
    assert "other" in "".join(caught.value.__notes__)


def await_true(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.parametrize("durability", ["batch", "async"])
def test_thread_logs_a_failure_and_commits_when_it_has_passed(
    tmp_path: Path,
    durability: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with llmspell.open(tmp_path / "data", durability=durability, flush_interval=0.01) as db:
        tenant = db.create_tenant(TenantConfig(id="acme"))
        put(tenant, 0)
        with full_disk(monkeypatch), caplog.at_level(logging.ERROR, "llmspell"):
            put(tenant, 1)
            await_true(lambda: "1 acknowledged writes of tenant 'acme'" in caplog.text)
        await_true(lambda: tenant._enter().store.counters().vectors == 2)
        assert ids(tenant) == {0, 1}


def test_thread_lets_no_tenant_wait_for_one_that_another_process_writes(tmp_path: Path) -> None:
    with llmspell.open(tmp_path / "data", durability="async", flush_interval=0.01) as db:
        a, b = (db.create_tenant(TenantConfig(id=name)) for name in "ab")
        for tenant in (a, b):
            put(tenant, 0)
        with a._enter().writer._file_lock(0.0):
            put(a, 1)
            put(b, 1)
            await_true(lambda: b._enter().store.counters().vectors == 2)
            assert a._enter().store.counters().vectors == 1
        await_true(lambda: a._enter().store.counters().vectors == 2)


@pytest.mark.parametrize(
    "where", [(Environment, "write"), (Views, "follow"), (TenantStore, "apply")]
)
@pytest.mark.parametrize("is_behind", [False, True])
def test_interrupt_of_a_flush_loses_and_doubles_nothing(
    acme: Tenant, where: tuple[type, str], is_behind: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = getattr(*where)

    def interrupt(*given: Any, **named: Any) -> Any:
        if is_behind:
            original(*given, **named)
        raise KeyboardInterrupt

    for i in (1, 2):
        put(acme, i)
    with monkeypatch.context() as patch:
        patch.setattr(*where, interrupt)
        with pytest.raises(KeyboardInterrupt):
            acme.flush()
    put(acme, 3)
    assert {hit.id for hit in acme.search(VECTORS[0], k=99)} == {0, 1, 2, 3}
    assert ids(acme) == {0, 1, 2, 3}
    assert acme.usage().vectors.used == acme.count() == 4
