"""Threads that write to one tenant at once share a commit, and each has its own outcome."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llmspell
from llmspell import Database, QuotaLimits, Tenant, TenantConfig, TenantEvent, errors
from llmspell.storage import queue
from llmspell.storage.batch import Batch
from llmspell.storage.environment import Environment
from llmspell.storage.member import Member
from llmspell.storage.store import TenantStore
from llmspell.storage.write import Write

VECTORS = np.random.default_rng(9).standard_normal((60, 8)).astype(np.float32)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with llmspell.open(tmp_path / "data", lock_timeout=60.0) as database:
        yield database


@pytest.fixture
def acme(db: Database) -> Tenant:
    tenant = db.create_tenant(TenantConfig(id="acme", quotas=QuotaLimits.unlimited()))
    tenant.upsert(0, VECTORS[0])
    return tenant


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each transaction so far was committed."""
    ended: list[bool] = []
    write = Environment.write

    def noted(self: Environment, body: Any) -> Any:
        ended.append(False)
        result = write(self, body)
        ended[-1] = True
        return result

    monkeypatch.setattr(Environment, "write", noted)
    return ended


def at_once(tenant: Tenant, *calls: Callable[[], Any]) -> list[Any]:
    """Outcomes of calls that wait for the lock of writers together, in the queue in this order."""
    outcomes: list[Any] = [None] * len(calls)

    def work(i: int, call: Callable[[], Any]) -> None:
        try:
            outcomes[i] = call()
        except errors.LlmspellError as error:
            outcomes[i] = error

    threads = []
    waiting = tenant._enter().writer._queue
    with tenant._enter().alone():
        for i, call in enumerate(calls):
            threads.append(threading.Thread(target=work, args=(i, call)))
            threads[-1].start()
            while len(waiting.members()) <= i:
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert not waiting.members()
    return outcomes


def test_threads_share_a_commit(acme: Tenant, commits: list[bool]) -> None:
    at_once(acme, *(lambda i=i: acme.upsert(i, VECTORS[i]) for i in range(1, 9)))
    assert commits == [True]
    assert acme.count() == acme.usage().vectors.used == 9
    for i in range(9):
        assert acme.search(VECTORS[i], k=1)[0].id == i


def test_writes_that_share_a_commit_are_done_in_order(acme: Tenant, commits: list[bool]) -> None:
    outcomes = at_once(
        acme,
        lambda: acme.insert("a", VECTORS[1], {"n": 1}),
        lambda: acme.upsert("a", VECTORS[2], {"n": 2}),
        lambda: acme.update_metadata("a", {"m": 3}),
        lambda: acme.insert("b", VECTORS[3]),
        lambda: acme.delete(["b", 0]),
        lambda: acme.insert("b", VECTORS[4]),
    )
    assert outcomes == [None, None, None, None, 2, None]
    assert commits == [True]
    assert {one.id: one.metadata for one in acme.scan().records} == {"a": {"n": 2, "m": 3}, "b": {}}
    assert {hit.id for hit in acme.search(VECTORS[0], k=9)} == {"a", "b"}
    assert acme.usage().vectors.used == 2


def test_refusal_of_one_is_no_other_ones(acme: Tenant, commits: list[bool]) -> None:
    outcomes = at_once(
        acme,
        lambda: acme.insert(1, VECTORS[1]),
        lambda: acme.insert(0, VECTORS[2]),
        lambda: acme.update_metadata("missing", {"n": 1}),
        lambda: acme.upsert(3, VECTORS[3]),
    )
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [type(None), errors.DuplicateId, errors.IdNotFound, type(None)]
    assert commits == [False, False, True]
    assert {record.id for record in acme.scan().records} == {0, 1, 3}
    assert acme.usage().vectors.used == 3


def test_quota_refuses_the_one_that_goes_beyond_it(db: Database) -> None:
    quotas = replace(QuotaLimits.unlimited(), max_vectors=4)
    tenant = db.create_tenant(TenantConfig(id="few", quotas=quotas))
    outcomes = at_once(
        tenant,
        lambda: tenant.upsert([1, 2], VECTORS[1:3]),
        lambda: tenant.upsert([3, 4, 5], VECTORS[3:6]),
        lambda: tenant.upsert([6, 7], VECTORS[6:8]),
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), errors.QuotaExceeded, type(None)]
    assert tenant.usage().vectors.used == tenant.count() == 4


def test_first_writes_of_different_dimensions(db: Database) -> None:
    tenant = db.create_tenant(TenantConfig(id="new"))
    outcomes = at_once(
        tenant,
        lambda: tenant.upsert(1, VECTORS[1]),
        lambda: tenant.upsert(2, VECTORS[2][:4]),
        lambda: tenant.upsert(3, VECTORS[3]),
    )
    assert isinstance(outcomes[1], errors.DimensionMismatch)
    assert (outcomes[1].expected, outcomes[1].actual) == (8, 4)
    assert (tenant.dim, tenant.count()) == (8, 2)


def test_commit_takes_no_more_than_its_bytes(
    acme: Tenant, commits: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "MAX_BYTES", 2 * VECTORS[0].nbytes + 50)
    at_once(acme, *(lambda i=i: acme.upsert(i, VECTORS[i]) for i in range(1, 6)))
    assert commits == [True, True, True]
    assert acme.count() == 6


def test_full_disk_refuses_each_that_does_not_fit(
    acme: Tenant, commits: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    require_room = TenantStore._require_room

    def small(self: TenantStore, txn: Any, members: Sequence[Member]) -> None:
        require_room(self, txn, members)
        if self._counters(txn).vectors > 3:
            raise errors.StorageFull("no room for more than three")

    monkeypatch.setattr(TenantStore, "_require_room", small)
    outcomes = at_once(
        acme,
        lambda: acme.upsert(1, VECTORS[1]),
        lambda: acme.upsert([2, 3, 4], VECTORS[2:5]),
        lambda: acme.upsert(5, VECTORS[5]),
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), errors.StorageFull, type(None)]
    assert commits == [False, True, False, True]
    assert {record.id for record in acme.scan().records} == {0, 1, 5}
    assert acme.usage().vectors.used == 3


def test_broken_commit_is_told_to_all_that_share_it(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Environment.write

    def broken(self: Environment, body: Any) -> Any:
        def fail(txn: Any) -> Any:
            body(txn)
            raise errors.StorageError("the disk does not answer")

        return write(self, fail)

    with monkeypatch.context() as patch:
        patch.setattr(Environment, "write", broken)
        outcomes = at_once(acme, *(lambda i=i: acme.upsert(i, VECTORS[i]) for i in range(1, 4)))
    assert [str(outcome) for outcome in outcomes] == ["the disk does not answer"] * 3
    assert len({id(outcome) for outcome in outcomes}) == 3, "a traceback is one thread's own"
    assert acme.count() == acme.usage().vectors.used == 1


def test_interrupted_leader_leaves_the_others_to_themselves(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted = []
    write = Batch.write

    def interrupt(self: Batch, *given: Any) -> Any:
        if not interrupted:
            interrupted.append(threading.current_thread())
            raise KeyboardInterrupt
        return write(self, *given)

    def upsert(i: int) -> str:
        try:
            acme.upsert(i, VECTORS[i])
        except KeyboardInterrupt:
            return "interrupted"
        return "written"

    monkeypatch.setattr(Batch, "write", interrupt)
    outcomes = at_once(acme, *(lambda i=i: upsert(i) for i in range(1, 5)))
    assert sorted(outcomes) == ["interrupted", "written", "written", "written"]
    left = {i for i, outcome in enumerate(outcomes, 1) if outcome == "written"}
    assert {record.id for record in acme.scan().records} == {0, *left}
    assert acme.usage().vectors.used == 4


def test_interrupt_behind_the_commit_is_the_leaders_alone(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted = []
    write = Environment.write

    def interrupt(self: Environment, body: Any) -> Any:
        result = write(self, body)
        if not interrupted:
            interrupted.append(threading.current_thread())
            raise KeyboardInterrupt
        return result

    def insert(i: int) -> str:
        try:
            acme.insert(i, VECTORS[i])
        except KeyboardInterrupt:
            return "interrupted"
        return "written"

    monkeypatch.setattr(Environment, "write", interrupt)
    outcomes = at_once(acme, *(lambda i=i: insert(i) for i in range(1, 5)))
    assert sorted(outcomes) == ["interrupted", "written", "written", "written"]
    assert {record.id for record in acme.scan().records} == {0, 1, 2, 3, 4}
    assert acme.usage().vectors.used == 5


def test_many_threads_lose_and_double_nothing(acme: Tenant) -> None:
    gone: list[int] = []

    def work(first: int) -> None:
        for i in range(first, first + 10):
            acme.insert(i, VECTORS[i])
            if i % 3 == 0:
                gone.append(acme.delete([i]))

    threads = [threading.Thread(target=work, args=(1 + 10 * i,)) for i in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    left = {0, *(i for i in range(1, 51) if i % 3)}
    assert gone == [1] * 16
    assert {record.id for record in acme.scan().records} == left
    assert {hit.id for hit in acme.search(VECTORS[0], k=99)} == left
    assert acme.usage().vectors.used == len(left)


def test_write_from_within_a_commit_is_refused(acme: Tenant) -> None:
    room = acme._enter()

    def plan() -> Write:
        assert len(acme.search(VECTORS[0], k=99)) == 1
        for write in (lambda: acme.upsert(99, VECTORS[9]), lambda: acme.delete(filter={})):
            with pytest.raises(errors.DatabaseLocked, match="within one of its commits"):
                write()
        return Write()

    room.write_as(plan)
    assert acme.count() == 1


def test_on_event_of_a_crossing_runs_outside_of_the_commit(tmp_path: Path) -> None:
    told: list[object] = []

    def on_event(event: TenantEvent) -> None:
        if event.kind != "quota" or told:
            return
        told.append(event.used)
        other = threading.Thread(target=tenant.upsert, args=(98, VECTORS[8]))
        other.start()
        other.join(timeout=30)
        assert not other.is_alive()
        tenant.upsert(99, VECTORS[9])
        told.append(tenant.count())

    with llmspell.open(tmp_path / "data", on_event=on_event) as db:
        quotas = replace(QuotaLimits.unlimited(), max_vectors=10)
        tenant = db.create_tenant(TenantConfig(id="acme", quotas=quotas))
        tenant.upsert(range(8), VECTORS[:8])
        assert told == [8, 10]


def test_crossing_in_a_transaction_that_is_made_again_is_told_of_once(tmp_path: Path) -> None:
    told: list[tuple[str | None, int | None]] = []

    def on_event(event: TenantEvent) -> None:
        if event.kind == "quota":
            told.append((event.quota, event.percent))

    with llmspell.open(tmp_path / "data", on_event=on_event) as db:
        quotas = replace(QuotaLimits.unlimited(), max_vectors=10)
        tenant = db.create_tenant(TenantConfig(id="acme", quotas=quotas))
        tenant.upsert(0, VECTORS[0])
        outcomes = at_once(
            tenant,
            lambda: tenant.upsert(range(1, 8), VECTORS[1:8]),
            lambda: tenant.insert(0, VECTORS[0]),
        )
        assert isinstance(outcomes[1], errors.DuplicateId)
        assert told == [("max_vectors", 80)]


def test_refused_write_does_not_keep_its_handle(db: Database, acme: Tenant) -> None:
    room = acme._enter()
    acme.close()
    assert room.is_closed
    with pytest.raises(errors.DuplicateId):
        db.tenant("acme").insert(0, VECTORS[0])
    db.tenants()
    assert all(one._room is None for one in db._house.residences())
