"""What "batch" and "async" let wait, who commits it and when, and who sees it meanwhile."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llmspell
from llmspell import Database, Document, QuotaLimits, Tenant, TenantConfig, errors
from llmspell.storage import flusher, queue
from llmspell.storage.environment import Environment
from tests.tenancy.texts import Lines

VECTORS = np.random.default_rng(8).standard_normal((300, 16)).astype(np.float32)
DELAYED = ("batch", "async")
SIZE = 10


@pytest.fixture
def open_as(tmp_path: Path) -> Iterator[Callable[..., Database]]:
    """Opens databases in which nothing is committed because its time has come."""
    opened: list[Database] = []

    def open(durability: Any, **more: Any) -> Database:
        given = {"flush_interval": 3600.0, "write_batch_size": SIZE, "texts": Lines(), **more}
        opened.append(llmspell.open(tmp_path / "data", durability=durability, **given))
        return opened[-1]

    yield open
    for database in opened:
        database.close()


def make(db: Database, **quotas: int) -> Tenant:
    """A tenant with the record 0, whose dimension is therefore known."""
    limits = replace(QuotaLimits.unlimited(), **quotas)
    tenant = db.create_tenant(TenantConfig(id="acme", quotas=limits))
    put(tenant, 0)
    return tenant


def put(tenant: Tenant, *ids: int) -> None:
    tenant.upsert(ids, VECTORS[list(ids)], [{"n": i} for i in ids], [f"text {i}" for i in ids])


def committed(tenant: Tenant) -> int:
    """Records in the log, whatever waits."""
    return tenant._enter().store.counters().vectors


def await_commit(tenant: Tenant, count: int) -> None:
    deadline = time.monotonic() + 60
    while committed(tenant) != count:
        assert time.monotonic() < deadline, f"{committed(tenant)} committed, not {count}"
        time.sleep(0.002)


@pytest.fixture
def committers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the threads that committed, in order."""
    names: list[str] = []
    write = Environment.write

    def noted(self: Environment, body: Any) -> Any:
        names.append(threading.current_thread().name)
        return write(self, body)

    monkeypatch.setattr(Environment, "write", noted)
    return names


@pytest.mark.parametrize("durability", ["sync", *DELAYED])
@pytest.mark.parametrize("count", [1, 3])
def test_array_that_is_used_again_changes_nothing_that_was_written(
    open_as: Callable[..., Database], durability: str, count: int
) -> None:
    db = open_as(durability)
    tenant = make(db)
    given = np.empty((count, 16), dtype=np.float32)
    for first in range(1, 8, count):
        given[:] = VECTORS[first : first + count]
        tenant.upsert(range(first, first + count), given)
    given[:] = VECTORS[100]
    for i in range(8):
        (hit,) = tenant.search(VECTORS[i], 1)
        assert hit.id == i
    db.close()
    tenant = open_as("sync").tenant("acme")
    for i in range(8):
        (hit,) = tenant.search(VECTORS[i], 1)
        assert hit.id == i


def test_sync_commits_before_it_returns(open_as: Callable[..., Database]) -> None:
    tenant = make(open_as("sync"))
    for i in range(1, 4):
        put(tenant, i)
        assert committed(tenant) == i + 1
    tenant.flush()


@pytest.mark.parametrize("durability", DELAYED)
def test_first_write_of_a_tenant_is_committed_at_once(
    open_as: Callable[..., Database], durability: str
) -> None:
    tenant = make(open_as(durability))
    assert committed(tenant) == 1
    put(tenant, 1)
    assert committed(tenant) == 1


def test_batch_is_committed_by_the_call_that_fills_it(
    open_as: Callable[..., Database], committers: list[str]
) -> None:
    tenant = make(open_as("batch"))
    committers.clear()
    for i in range(1, SIZE):
        put(tenant, i)
    assert (committed(tenant), committers) == (1, [])
    put(tenant, SIZE)
    assert committed(tenant) == 1 + SIZE
    assert committers == [threading.current_thread().name]
    put(tenant, *range(20, 20 + SIZE))
    assert committed(tenant) == 1 + 2 * SIZE


def test_async_batch_is_committed_by_the_thread(
    open_as: Callable[..., Database], committers: list[str]
) -> None:
    tenant = make(open_as("async"))
    committers.clear()
    for i in range(1, SIZE + 1):
        put(tenant, i)
    await_commit(tenant, 1 + SIZE)
    tenant.flush()
    assert set(committers) == {"llmspell-flush"}


@pytest.mark.parametrize("durability", DELAYED)
def test_what_waits_is_committed_when_its_time_has_come(
    open_as: Callable[..., Database], committers: list[str], durability: str
) -> None:
    tenant = make(open_as(durability, flush_interval=0.02))
    committers.clear()
    put(tenant, 1)
    await_commit(tenant, 2)
    put(tenant, 2)
    await_commit(tenant, 3)
    assert set(committers) == {"llmspell-flush"}


def test_thread_that_could_not_be_started_is_started_by_the_next_write(
    open_as: Callable[..., Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = make(open_as("async", flush_interval=0.02))

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        put(tenant, 1)
    put(tenant, 2)
    await_commit(tenant, 3)


def test_write_that_comes_as_the_idle_thread_is_about_to_end_is_committed(
    open_as: Callable[..., Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    db = open_as("batch", flush_interval=0.02)
    tenant = make(db)
    wake = db._house.flusher._wake
    wait = wake.wait
    came = []

    def overtaken(seconds: float) -> bool:
        if seconds < flusher.IDLE_SECONDS or came:
            return wait(seconds)
        # As where its time has passed, and a write comes before it has the lock again.
        wake.release()
        came.append(put(tenant, 2))
        wake.acquire()
        return False

    monkeypatch.setattr(wake, "wait", overtaken)
    put(tenant, 1)
    await_commit(tenant, 3)
    assert came


def test_async_writer_waits_while_the_backlog_is_full(
    open_as: Callable[..., Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "BACKLOG_BATCHES", 2)
    tenant = make(open_as("async", lock_timeout=60.0))
    waiting = tenant._enter().writer._queue
    with tenant._enter().alone():
        writer = threading.Thread(target=lambda: [put(tenant, i) for i in range(1, 2 * SIZE + 1)])
        writer.start()
        while waiting.waiting < 2 * SIZE - 1 or len(waiting.members()) < 2 * SIZE:
            time.sleep(0.001)
        assert writer.is_alive()
        assert committed(tenant) == 1
    writer.join()
    assert committed(tenant) == 1 + 2 * SIZE


READS: dict[str, Callable[[Tenant], Any]] = {
    "search": lambda tenant: len(tenant.search(VECTORS[0], k=99)),
    "filtered": lambda tenant: len(tenant.search(VECTORS[0], k=99, filter={"n": {"$gte": 0}})),
    "batch of searches": lambda tenant: len(tenant.search(VECTORS[:1], k=99)[0]),
    "count": lambda tenant: tenant.count(),
    "get": lambda tenant: len(tenant.get([0, 1])),
    "scan": lambda tenant: len(tenant.scan().records),
    "filtered scan": lambda tenant: len(tenant.scan(filter={"n": {"$gte": 0}}).records),
    "export": lambda tenant: tenant.export(io.BytesIO()).records,
    "usage": lambda tenant: tenant.usage().vectors.used,
}


@pytest.mark.parametrize("durability", DELAYED)
@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_reads_see_what_was_acknowledged(
    open_as: Callable[..., Database], durability: str, read: Callable[[Tenant], Any]
) -> None:
    tenant = make(open_as(durability))
    put(tenant, 1)
    assert committed(tenant) == 1
    assert read(tenant) == 2
    assert committed(tenant) == 2


def test_eventual_search_serves_what_there_is(open_as: Callable[..., Database]) -> None:
    tenant = make(open_as("batch"))
    put(tenant, 1)
    assert len(tenant.search(VECTORS[0], consistency="eventual")) == 1
    assert committed(tenant) == 1


OTHERS: dict[str, tuple[Callable[[Tenant], Any], set[int | str]]] = {
    "insert": (lambda tenant: tenant.insert(9, VECTORS[9]), {0, 1, 2, 9}),
    "delete": (lambda tenant: tenant.delete([1]), {0, 2}),
    "filter": (lambda tenant: tenant.delete(filter={"n": 2}), {0, 1}),
    "metadata": (lambda tenant: tenant.update_metadata(1, {"x": 1}), {0, 1, 2}),
    "ingest": (lambda tenant: tenant.ingest(Document("d", "one")), {0, 1, 2, "d#0"}),
}


@pytest.mark.parametrize("durability", DELAYED)
@pytest.mark.parametrize("other", OTHERS)
def test_other_writes_are_committed_behind_what_waits(
    open_as: Callable[..., Database], durability: str, other: str
) -> None:
    write, left = OTHERS[other]
    tenant = make(open_as(durability))
    put(tenant, 1)
    put(tenant, 2)
    write(tenant)
    assert committed(tenant) == len(left)
    assert {record.id for record in tenant.scan().records} == left


@pytest.mark.parametrize("durability", DELAYED)
def test_insert_and_import_refuse_what_waits(
    open_as: Callable[..., Database], durability: str
) -> None:
    tenant = make(open_as(durability))
    put(tenant, 1)
    with pytest.raises(errors.DuplicateId):
        tenant.insert(1, VECTORS[2])
    put(tenant, 2)
    exported = io.BytesIO()
    tenant.export(exported)
    tenant.delete([2])
    put(tenant, 2)
    exported.seek(0)
    with pytest.raises(errors.DuplicateId):
        tenant.import_from(exported)
    assert tenant.get(1).vector.tolist() == VECTORS[1].tolist()


@pytest.mark.parametrize("durability", DELAYED)
def test_last_of_equal_ids_that_wait_counts(
    open_as: Callable[..., Database], durability: str
) -> None:
    tenant = make(open_as(durability))
    for i in (5, 6, 7):
        tenant.upsert("x", VECTORS[i], {"n": i})
    assert committed(tenant) == 1
    assert (tenant.count(), tenant.get("x").metadata) == (2, {"n": 7})
    assert tenant.search(VECTORS[7], k=1)[0].id == "x"
    assert tenant.usage().vectors.used == 2


@pytest.mark.parametrize("durability", DELAYED)
def test_flush_and_close_commit_all_that_waits(
    open_as: Callable[..., Database], durability: str
) -> None:
    db = open_as(durability)
    tenants = [db.create_tenant(TenantConfig(id=name)) for name in "abc"]
    for tenant in tenants:
        put(tenant, 0)
        put(tenant, 1)
    tenants[0].flush()
    assert [committed(tenant) for tenant in tenants] == [2, 1, 1]
    db.flush()
    assert [committed(tenant) for tenant in tenants] == [2, 2, 2]
    put(tenants[0], 2)
    tenants[0].close()
    put(tenants[1], 2)
    db.close()
    with pytest.raises(errors.ClosedError):
        tenants[1].flush()
    with pytest.raises(errors.ClosedError):
        db.flush()
    again = open_as("sync")
    assert [again.tenant(name).count() for name in "abc"] == [3, 3, 2]


def test_refusals_of_input_come_from_the_call(open_as: Callable[..., Database]) -> None:
    tenant = make(open_as("batch"))
    with pytest.raises(errors.DimensionMismatch):
        tenant.upsert(1, np.ones(3, np.float32))
    with pytest.raises(errors.NonFiniteVector):
        tenant.upsert(1, np.full(16, np.nan, np.float32))
    with pytest.raises(errors.MetadataError):
        tenant.upsert(1, VECTORS[1], {"n": object()})  # type: ignore[dict-item]
    assert not tenant._enter().writer._queue.members()


@pytest.mark.parametrize("durability", DELAYED)
def test_quota_refuses_the_call_that_goes_beyond_it(
    open_as: Callable[..., Database], durability: str
) -> None:
    tenant = make(open_as(durability, write_batch_size=100), max_vectors=SIZE)
    for i in range(1, SIZE):
        put(tenant, i)
    assert committed(tenant) == 1
    with pytest.raises(errors.QuotaExceeded) as caught:
        put(tenant, 99)
    assert (caught.value.used, caught.value.requested) == (SIZE, 1)
    assert tenant.count() == committed(tenant) == SIZE


def test_replacing_is_possible_at_the_limit(open_as: Callable[..., Database]) -> None:
    tenant = make(open_as("batch", write_batch_size=100), max_vectors=SIZE)
    for i in range(1, SIZE):
        put(tenant, i)
    for i in range(SIZE):
        tenant.upsert(i, VECTORS[i + 20])
    assert tenant.usage().vectors.used == tenant.count() == SIZE
    tenant.delete([0, 1])
    put(tenant, 50)
    put(tenant, 51)
    assert tenant.usage().vectors.used == tenant.count() == SIZE


@pytest.mark.parametrize("durability", DELAYED)
def test_threads_admit_exactly_the_limit(open_as: Callable[..., Database], durability: str) -> None:
    tenant = make(open_as(durability, flush_interval=0.005), max_vectors=57)
    admitted: list[int] = []

    def work(first: int) -> None:
        for i in range(first, first + 30):
            try:
                put(tenant, i)
            except errors.QuotaExceeded:
                continue
            admitted.append(i)

    threads = [threading.Thread(target=work, args=(1 + 30 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(admitted) == 56
    assert {record.id for record in tenant.scan().records} == {0, *admitted}
    assert tenant.usage().vectors.used == 57


def test_calls_beyond_the_places_of_a_database_commit_what_waits(
    open_as: Callable[..., Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmspell.storage.flusher.PLACES", 3)
    tenant = make(open_as("batch"))
    for i in range(1, 4):
        put(tenant, i)
    assert committed(tenant) == 1
    put(tenant, 4)
    assert committed(tenant) == 5
    for i in range(5, 8):
        put(tenant, i)
    assert committed(tenant) == 5, "their places were not given back"


def test_suspended_tenant_keeps_what_it_acknowledged(open_as: Callable[..., Database]) -> None:
    db = open_as("batch")
    tenant = make(db)
    put(tenant, 1)
    db.suspend_tenant("acme", reads_stay=True)
    with pytest.raises(errors.TenantSuspended):
        put(tenant, 2)
    assert tenant.count() == committed(tenant) == 2


@pytest.mark.parametrize("durability", DELAYED)
def test_dropped_tenant_takes_with_it_what_waits(
    open_as: Callable[..., Database], durability: str
) -> None:
    db = open_as(durability, flush_interval=0.02)
    tenant = make(db)
    with tenant._enter().writer.lock:  # the thread can't come before the drop
        put(tenant, 1)
        db.drop_tenant("acme")
    with pytest.raises(errors.TenantNotFound):
        tenant.flush()
    with pytest.raises(errors.TenantNotFound):
        put(tenant, 2)
    again = make(db)
    put(again, 5)
    db.flush()
    assert {record.id for record in again.scan().records} == {0, 5}
    assert again.usage().vectors.used == 2


def test_async_handles_flush(tmp_path: Path) -> None:
    async def run() -> None:
        opened = llmspell.open(tmp_path / "data", durability="async", flush_interval=3600.0)
        async with opened as db:
            tenant = await db.create_tenant(TenantConfig(id="a"))
            await tenant.upsert(0, VECTORS[0])
            await tenant.upsert(1, VECTORS[1])
            await tenant.flush()
            assert committed(tenant._tenant) == 2
            await tenant.upsert(2, VECTORS[2])
            await db.flush()
            assert committed(tenant._tenant) == 3

    asyncio.run(run())


@pytest.mark.parametrize(
    "given",
    [
        {"durability": "nosync"},
        {"flush_interval": 0.0},
        {"flush_interval": float("inf")},
        {"flush_interval": "1"},
        {"write_batch_size": 0},
        {"write_batch_size": 1.5},
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_refused(tmp_path: Path, given: dict[str, Any]) -> None:
    with pytest.raises(errors.ConfigError, match=next(iter(given))):
        llmspell.open(tmp_path / "data", **given)
    assert not (tmp_path / "data").exists()
