"""Tenants that are closed to make room for others, and open again when they are used."""

from __future__ import annotations

import gc
import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llmspell
from llmspell import Database, IndexParams, QuotaLimits, Tenant, TenantConfig, errors
from llmspell.storage import Catalog, Room, TenantStore
from llmspell.storage.room import ROOM_DESCRIPTORS
from tests.tenancy.test_closing import open_files

ROOMS = 3
DIM = 8
VECTORS = np.random.default_rng(3).standard_normal((200, DIM)).astype(np.float32)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    limit = ROOMS * ROOM_DESCRIPTORS
    with llmspell.open(tmp_path / "data", max_open_descriptors=limit) as database:
        yield database


def create(db: Database, name: str, rows: int = 50) -> Tenant:
    tenant = db.create_tenant(
        TenantConfig(
            id=name,
            quotas=QuotaLimits.unlimited(),
            index=IndexParams(graph_threshold=20, m=4, ef_construction=20),
        )
    )
    tenant.upsert(range(rows), VECTORS[:rows], [{"n": n} for n in range(rows)], ["text"] * rows)
    return tenant


def evict(db: Database, tenant: Tenant) -> None:
    """Use other tenants until this one has been closed."""
    room = tenant._enter()
    listed = {info.id for info in db.tenants()}
    others = [db.tenant(n) if n in listed else create(db, n, rows=1) for n in ("x", "y", "z")]
    # The first round may do no more than take the tenant's mark off.
    for other in (*others, *others):
        other.count()
    assert room.is_closed
    assert tenant._room is None


def overtake(tenant: Tenant, act: Callable[[], None]) -> None:
    """Let something happen to the next search by a vector, when it has taken the room."""
    door = tenant._door
    assert door is not None

    class Overtaken:
        def search(self, *given: Any) -> Any:
            act()
            return door.search(*given)

    tenant._door = Overtaken()  # type: ignore[assignment]


def open_rooms(db: Database) -> int:
    return sum(1 for path in open_files(db.path / "tenants") if path.endswith("lock.mdb"))


def answers(tenant: Tenant) -> list[Any]:
    """What a tenant says to each question that there is."""
    file = io.BytesIO()
    tenant.export(file)
    return [
        [(hit.id, hit.score, hit.metadata, hit.text) for hit in tenant.search(VECTORS[3], k=7)],
        [[hit.id for hit in hits] for hits in tenant.search(VECTORS[:5], k=4)],
        [hit.id for hit in tenant.search(VECTORS[3], k=7, filter={"n": {"$lt": 20}})],
        [(one.id, one.metadata, one.vector.tolist()) for one in tenant.get([1, 2, 3])],
        tenant.count(),
        tenant.dim,
        [record.id for record in tenant.scan(limit=20).records],
        len(file.getvalue()),
        tenant.usage().vectors.used,
    ]


def test_no_more_rooms_are_open_than_descriptors_are_given_for(db: Database) -> None:
    tenants = [create(db, f"{number}") for number in range(4 * ROOMS)]
    assert open_rooms(db) == len(db._house.residents) == ROOMS
    for tenant in (*tenants, *reversed(tenants)):
        assert tenant.count() == 50
        assert open_rooms(db) <= ROOMS
    assert len(open_files(db.path / "tenants")) <= ROOMS * ROOM_DESCRIPTORS


def test_answers_of_an_evicted_tenant_are_those_of_before(db: Database) -> None:
    tenant = create(db, "a")
    tenant.delete([4, 5])
    before = answers(tenant)
    for _ in range(3):
        evict(db, tenant)
        assert answers(tenant) == before


def test_each_operation_opens_an_evicted_tenant(db: Database) -> None:
    tenant = create(db, "a")
    file = io.BytesIO()
    tenant.export(file)
    operations: list[Callable[[], object]] = [
        lambda: tenant.search(VECTORS[0]),
        lambda: tenant.search(VECTORS[:2]),
        lambda: tenant.search(VECTORS[0], filter={"n": 3}),
        lambda: tenant.search(VECTORS[0], consistency="eventual"),
        lambda: tenant.upsert([1], VECTORS[1]),
        lambda: tenant.insert([1_000], VECTORS[1]),
        lambda: tenant.get(1),
        lambda: tenant.update_metadata(1, {"m": 1}),
        lambda: tenant.scan(),
        lambda: tenant.export(io.BytesIO()),
        lambda: tenant.import_from(io.BytesIO(file.getvalue()), on_conflict="replace"),
        lambda: tenant.calibrate(2),
        lambda: tenant.estimated_recall(2),
        lambda: tenant.count(),
        lambda: tenant.dim,
        lambda: tenant.delete([2]),
        lambda: tenant.delete(filter={"n": 9}),
    ]
    for operation in operations:
        evict(db, tenant)
        operation()
        assert tenant._room is not None


def test_least_recently_used_room_goes_first(db: Database) -> None:
    others = [create(db, f"{number}") for number in range(2 * ROOMS)]
    often = create(db, "often")
    room = often._enter()
    for _ in range(3):
        for other in others:
            other.count()
            often.search(VECTORS[0])
    assert not room.is_closed
    for other in others:
        other.count()
    assert room.is_closed


def test_memory_has_a_budget_of_its_own(tmp_path: Path) -> None:
    with llmspell.open(tmp_path / "data") as db:
        tenants = [create(db, f"{number}", rows=200) for number in range(4)]
        sizes = [tenant._enter().memory for tenant in tenants]
    budget = sum(sizes[:2])
    with llmspell.open(tmp_path / "data", max_open_bytes=budget) as db:
        opened = [db.tenant(f"{number}") for number in range(4)]
        for _ in range(2):
            for tenant in opened:
                tenant.search(VECTORS[0])
                assert db._house.residents.bytes_in_memory <= budget
                assert 1 <= open_rooms(db) <= 2


def test_tenant_beyond_the_budget_by_itself_is_served(tmp_path: Path) -> None:
    with llmspell.open(tmp_path / "data", max_open_bytes=1, max_open_descriptors=1) as db:
        for number in range(3):
            tenant = create(db, f"{number}")
            assert len(tenant.search(VECTORS[0], k=50)) == 50
            assert open_rooms(db) == 1


def test_tenant_that_grows_makes_others_close(tmp_path: Path) -> None:
    with llmspell.open(tmp_path / "data", max_open_bytes=8 << 20) as db:
        idle = create(db, "idle")
        idle.count()
        room = idle._enter()
        grows = create(db, "grows")
        assert not room.is_closed
        for start in range(0, 20_000, 5_000):
            vectors = np.random.default_rng(start).standard_normal((5_000, DIM))
            grows.upsert(range(start, start + 5_000), vectors)
        assert room.is_closed
        assert grows.count() == 20_000
        assert idle.count() == 50


def test_hits_that_nobody_looked_at_are_those_of_before(db: Database) -> None:
    tenant = create(db, "a")
    expected = [hit.id for hit in tenant.search(VECTORS[3], k=9)]
    hits = tenant.search(VECTORS[3], k=9)
    evict(db, tenant)
    tenant.delete(expected)
    assert [hit.id for hit in hits] == expected


def test_hits_of_a_search_that_eviction_overtakes_are_read(db: Database) -> None:
    tenant = create(db, "a")
    expected = list(tenant.search(VECTORS[3], k=9).ids)
    overtake(tenant, lambda: evict(db, tenant))
    hits = tenant.search(VECTORS[3], k=9)
    assert hits.ids == expected


def test_search_that_eviction_overtakes_sees_what_was_written_since(db: Database) -> None:
    tenant = create(db, "a")
    other = db.tenant("a")

    def write() -> None:
        evict(db, tenant)
        other.upsert(["new"], VECTORS[199])

    overtake(tenant, write)
    assert tenant.search(VECTORS[199], k=1)[0].id == "new"


def test_search_that_eviction_overtakes_is_charged_and_counted_once(db: Database) -> None:
    tenant = create(db, "a", rows=1)
    other = db.tenant("a")
    # A second query within the second is refused.
    db.update_tenant("a", quotas=replace(QuotaLimits.unlimited(), max_queries_per_second=1))

    def write() -> None:
        evict(db, tenant)
        other.upsert([2], VECTORS[1])

    overtake(tenant, write)
    assert len(tenant.search(VECTORS[0])) == 2
    operation = db.instruments.search
    assert (operation.ok.value, operation.failed.value, operation.refused.value) == (1, 0, 0)
    with pytest.raises(errors.QuotaExceeded):
        tenant.search(VECTORS[0])


def test_cursors_hold_over_an_eviction(db: Database) -> None:
    tenant = create(db, "a")
    seen: list[object] = []
    cursor = None
    while True:
        page = tenant.scan(cursor=cursor, limit=7)
        seen += [record.id for record in page.records]
        cursor = page.cursor
        if cursor is None:
            break
        evict(db, tenant)
    assert sorted(map(int, seen)) == list(range(50))  # type: ignore[arg-type]


def test_evicted_tenant_stays_suspended(db: Database) -> None:
    tenant = create(db, "a")
    evict(db, tenant)
    db.suspend_tenant("a")
    with pytest.raises(errors.TenantSuspended):
        tenant.search(VECTORS[0])
    db.resume_tenant("a")
    assert tenant.count() == 50


def test_tenant_dropped_while_it_is_evicted_is_not_found(db: Database) -> None:
    tenant = create(db, "a")
    evict(db, tenant)
    receipt = db.drop_tenant("a")
    assert receipt.bytes_in_memory == 0
    assert receipt.bytes_on_disk > 0
    with pytest.raises(errors.TenantNotFound):
        tenant.search(VECTORS[0])
    create(db, "a")
    with pytest.raises(errors.TenantNotFound):
        tenant.search(VECTORS[0])


def test_closed_handle_of_an_evicted_tenant_stays_closed(db: Database) -> None:
    tenant, other = create(db, "a"), db.tenant("a")
    evict(db, tenant)
    tenant.close()
    with pytest.raises(errors.ClosedError):
        tenant.search(VECTORS[0])
    assert other.count() == 50


def test_tenant_in_use_is_not_closed(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    tenant = create(db, "a")
    room = tenant._enter()
    inside, leave = threading.Event(), threading.Event()
    get = Room.get

    def slow(self: Room, keys: Any) -> Any:
        if self is room:
            inside.set()
            assert leave.wait(60)
        return get(self, keys)

    monkeypatch.setattr(Room, "get", slow)
    found: list[Any] = []
    reader = threading.Thread(target=lambda: found.append(tenant.get(1)))
    reader.start()
    assert inside.wait(60)
    others = [create(db, f"{number}") for number in range(3 * ROOMS)]
    assert not room.is_closed
    assert open_rooms(db) <= ROOMS
    leave.set()
    reader.join()
    assert found[0].id == 1
    for other in others:
        other.count()
    assert room.is_closed


@pytest.mark.parametrize(
    "act",
    [
        lambda db: db.clone_tenant("a", "clone"),
        lambda db: db.snapshot_tenant("a", io.BytesIO()),
        lambda db: db.scrub_tenant("a"),
        lambda db: db.scrub(),
    ],
)
def test_tenant_that_the_operator_works_on_is_not_closed(
    db: Database, monkeypatch: pytest.MonkeyPatch, act: Callable[[Database], object]
) -> None:
    tenant = create(db, "a")
    room = tenant._enter()
    overtaken = 0

    def evicting(original: Callable[[TenantStore], Any]) -> Callable[[TenantStore], Any]:
        def moment(self: TenantStore) -> Any:
            nonlocal overtaken
            if self is room.store:
                overtaken += 1
                tenant._residence.evict()
            return original(self)

        return moment

    for name in ("moment", "copying"):
        monkeypatch.setattr(TenantStore, name, evicting(getattr(TenantStore, name)))
    act(db)
    assert overtaken
    assert not room.is_closed
    tenant._residence.evict()
    assert room.is_closed


def test_failure_to_close_one_tenant_is_not_told_to_another(
    db: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tenant = create(db, "a")
    room = tenant._enter()
    close = Room.close

    def fail(self: Room, *, snapshot: bool = True) -> None:
        close(self, snapshot=snapshot)
        if self is room:
            raise errors.StorageError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(Room, "close", fail)
        others = [create(db, f"{number}") for number in range(2 * ROOMS)]
        assert all(other.count() == 50 for other in others)
        patch.setattr(Room, "close", close)
        assert tenant.count() == 50
    assert "tenant a: closing its room: the disk is gone" in caplog.text


def test_handles_that_were_collected_leave_nothing(db: Database) -> None:
    for number in range(2 * ROOMS):
        create(db, f"{number}")
        gc.collect()
        db.tenants(limit=1)
    assert db._house.residences() == []
    assert open_rooms(db) == 0


@pytest.mark.parametrize("options", [{"max_open_bytes": 0}, {"max_open_descriptors": True}])
def test_budget_out_of_range_is_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(errors.ConfigError, match=next(iter(options))):
        llmspell.open(tmp_path / "data", **options)


def test_writes_and_searches_go_on_in_threads_beside_evictions(tmp_path: Path) -> None:
    threads, tenants, turns = 4, 12, 60
    limit = ROOMS * ROOM_DESCRIPTORS
    failures: list[BaseException] = []
    most = [0]
    with llmspell.open(tmp_path / "data", max_open_descriptors=limit) as db:
        handles = [create(db, f"{number}", rows=5) for number in range(tenants)]

        def work(thread: int) -> None:
            random = np.random.default_rng(thread)
            try:
                for turn in range(turns):
                    tenant = handles[int(random.integers(tenants))]
                    key = 1_000 + thread * turns + turn
                    tenant.upsert([key], VECTORS[key % 200])
                    hits = tenant.search(VECTORS[key % 200], k=3)
                    assert tenant.get(key).id == key
                    assert len(hits) == 3
                    assert tenant.search(VECTORS[0], k=1, filter={"n": 0})[0].id == 0
                    most[0] = max(most[0], open_rooms(db))
            except BaseException as error:
                failures.append(error)

        workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert not failures
        # What is in use stays open: a room for each thread at most, beyond the budget.
        assert 1 <= most[0] <= ROOMS + threads
        handles[0].count()
        assert open_rooms(db) <= ROOMS
        total = sum(handle.count() for handle in handles)
        assert total == tenants * 5 + threads * turns
        assert total == sum(handle.usage().vectors.used for handle in handles)
    assert open_files(tmp_path) == []
    with llmspell.open(tmp_path / "data") as again:
        assert sum(again.tenant(f"{number}").count() for number in range(tenants)) == total


def test_rooms_written_by_others_meanwhile_are_followed(db: Database) -> None:
    tenant = create(db, "a")
    evict(db, tenant)
    child = os.fork()
    if child == 0:
        os._exit(0 if _refuses(tenant) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert tenant.count() == 50


def _refuses(tenant: Tenant) -> bool:
    try:
        tenant.count()
    except errors.UseAfterFork:
        return True
    return False


def test_catalog_is_not_asked_for_tenants_that_are_open(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = create(db, "a")
    evict(db, tenant)
    tenant.count()
    monkeypatch.setattr(Catalog, "get", None)
    assert tenant.count() == 50


@pytest.mark.parametrize("lag", [0, 10_000])
def test_filters_find_their_index_after_sessions_without_filters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, lag: int
) -> None:
    monkeypatch.setattr("llmspell.storage.view.VIEW_LAG", lag)
    with llmspell.open(tmp_path / "data") as db:
        tenant = create(db, "a")
        assert tenant.search(VECTORS[3], k=1, filter={"n": 3})[0].id == 3
    (snapshot,) = tmp_path.glob("data/tenants/*/*/payload.snap")
    for n in range(50, 54):
        with llmspell.open(tmp_path / "data") as db:
            db.tenant("a").upsert([n], VECTORS[n], {"n": n})
    # What lags is removed, so that the log behind it can be.
    assert snapshot.exists() == (lag > 0)
    with llmspell.open(tmp_path / "data") as db:
        tenant = db.tenant("a")
        for n in (3, 53):
            assert tenant.search(VECTORS[n], k=1, filter={"n": n})[0].id == n
    assert not caplog.records


def test_memory_has_what_lmdb_keeps_of_a_write(tmp_path: Path) -> None:
    # In a process of its own: what others freed before would be used again.
    measured = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "data")],
        check=True,
        capture_output=True,
        text=True,
    )
    taken, counted = map(int, measured.stdout.split())
    assert 0.7 * counted <= taken <= 1.1 * counted


MEASURE = """
import gc, pathlib, sys
import numpy as np
import llmspell
from llmspell import IndexParams, QuotaLimits, TenantConfig

def taken():
    gc.collect()
    (line,) = (line for line in pathlib.Path("/proc/self/smaps_rollup").read_text().splitlines()
               if line.startswith("Anonymous:"))
    return int(line.split()[1]) << 10

rows = np.random.default_rng(0).standard_normal((2_000, 384)).astype(np.float32)
settings = {"quotas": QuotaLimits.unlimited(), "index": IndexParams(graph_threshold=1 << 20)}
with llmspell.open(sys.argv[1]) as db:
    tenants = [db.create_tenant(TenantConfig(id=f"{n}", **settings)) for n in range(6)]
    tenants.pop().upsert(range(2_000), rows)
    before, counted = taken(), db._house.residents.bytes_in_memory
    for tenant in tenants:
        tenant.upsert(range(2_000), rows)
    print(taken() - before, db._house.residents.bytes_in_memory - counted)
"""
