"""Several processes in one tenant: readers beside one writer at a time, and writers in turn."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llmspell
from llmspell import Database, IndexParams, QuotaLimits, Tenant, TenantConfig, errors
from tests.tenancy.ledgers import shares_ledger

VECTORS = np.random.default_rng(5).standard_normal((400, 8)).astype(np.float32)
CONFIG = TenantConfig(
    id="acme", quotas=QuotaLimits.unlimited(), index=IndexParams(graph_threshold=50)
)

#: Evaluates what it is sent, a line each, with a tenant at hand.
WORKER = """
import json, os, signal, sys
import numpy as np
import llmspell
VECTORS = np.random.default_rng(5).standard_normal((400, 8)).astype(np.float32)
with llmspell.open(sys.argv[1], lock_timeout=30.0) as db:
    acme = db.tenant("acme")
    def put(ids, **more):
        acme.upsert(ids, VECTORS[list(ids)], [{"n": i} for i in ids], **more)
    def found(condition=None):
        return sorted(hit.id for hit in acme.search(VECTORS[0], k=400, filter=condition))
    def fill(starts):
        admitted = 0
        for start in starts:
            try:
                put(range(start, start + 2))
                admitted += 1
            except llmspell.errors.QuotaExceeded:
                pass
        return admitted
    def stand_still():
        with acme._enter().alone():
            os.kill(os.getpid(), signal.SIGSTOP)
    for line in sys.stdin:
        try:
            answer = eval(line)
        except llmspell.errors.LlmspellError as error:
            answer = type(error).__name__
        print(json.dumps(answer), flush=True)
"""


class Worker:
    """Another process that has the tenant open."""

    def __init__(self, root: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def send(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def ask(self, line: str) -> Any:
        assert self.process.stdout is not None
        self.send(line)
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        self.process.communicate()
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with llmspell.open(tmp_path / "data", lock_timeout=0.2) as database:
        yield database


@pytest.fixture
def acme(db: Database) -> Tenant:
    return db.create_tenant(CONFIG)


@pytest.fixture
def other(db: Database, acme: Tenant) -> Iterator[Worker]:
    worker = Worker(db.path)
    yield worker
    if worker.process.poll() is None:
        worker.close()


def put(tenant: Tenant, ids: range) -> None:
    tenant.upsert(ids, VECTORS[list(ids)], [{"n": i} for i in ids])


def found(tenant: Tenant, condition: dict[str, Any] | None = None) -> list[Any]:
    return sorted(hit.id for hit in tenant.search(VECTORS[0], k=400, filter=condition))


@shares_ledger
def test_reader_sees_each_write_of_another_process_at_once(acme: Tenant, other: Worker) -> None:
    assert other.ask("found()") == []
    for i in range(0, 120, 10):
        put(acme, range(i, i + 10))
        assert other.ask("found()") == list(range(i + 10))
        low = {"n": {"$lt": 5}}
        assert other.ask(f"found({low!r})") == list(range(5))
    acme.delete(range(3, 100))  # type: ignore[arg-type]
    assert other.ask("(acme.count(), found({'n': {'$lt': 5}}))") == [23, [0, 1, 2]]
    acme.update_metadata(1, {"n": 77})
    assert other.ask("found({'n': {'$lt': 5}})") == [0, 2]
    assert other.ask("acme.get(1).metadata") == {"n": 77}
    put(acme, range(1))
    assert other.ask("found()") == found(acme)


@shares_ledger
def test_processes_write_in_turn(acme: Tenant, other: Worker) -> None:
    for i in range(0, 200, 20):
        put(acme, range(i, i + 15))
        assert other.ask(f"put(range({i + 10}, {i + 20}))") is None
        assert found(acme) == other.ask("found()") == list(range(i + 20))
        assert other.ask(f"acme.delete({i})") == 1
        put(acme, range(i, i + 1))
    assert acme.count() == acme.usage().vectors.used == other.ask("acme.count()") == 200
    assert other.ask("acme.usage().vectors.used") == 200
    other.close()
    acme.close()


@shares_ledger
def test_reader_far_behind_opens_the_newest_snapshot(
    acme: Tenant, other: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(acme, range(60))
    assert other.ask("found({'n': 3})") == [3]
    monkeypatch.setattr("llmspell.storage.view.SNAPSHOT_ROWS", 10)
    for i in range(60, 200, 20):
        put(acme, range(i, i + 20))
    assert acme._enter().store.tail(1).changes is None, "the log must be trimmed for this"
    assert other.ask("found()") == list(range(200))
    assert other.ask("found({'n': {'$gte': 190}})") == list(range(190, 200))


@shares_ledger
def test_next_writer_gives_back_what_a_killed_one_had_reserved(acme: Tenant, other: Worker) -> None:
    assert other.ask("put(range(10))") is None
    slot = "acme._residence.slot.reserve(vectors=5)"
    assert other.ask(f"globals().update(held={slot})") is None
    assert acme.usage().vectors.used == 15
    other.kill()
    put(acme, range(10, 20))
    assert acme.usage().vectors.used == acme.count() == 20


@shares_ledger
def test_filter_sees_all_of_others_behind_a_replayed_snapshot(db: Database, acme: Tenant) -> None:
    put(acme, range(10))
    assert found(acme, {"n": 3}) == [3]
    acme.close()  # saves the payload index
    other = Worker(db.path)
    for i in range(10, 40, 10):
        assert other.ask(f"put(range({i}, {i + 10}))") is None
    again = db.tenant("acme")
    assert found(again, {"n": {"$gte": 0}}) == list(range(40))
    assert other.ask("put(range(40, 43))") is None
    assert found(again, {"n": {"$gte": 0}}) == list(range(43))
    other.close()


def test_killed_writer_leaves_nothing_locked(acme: Tenant, other: Worker) -> None:
    put(acme, range(10))
    assert other.ask("put(range(10, 20))") is None
    other.send("[put(range(i, i + 5)) for _ in range(10_000) for i in range(100, 300, 5)] and None")
    time.sleep(0.3)
    other.kill()
    put(acme, range(20, 30))
    everything = found(acme)
    assert set(range(30)) <= set(everything)
    assert len(everything) == acme.count() == acme.usage().vectors.used
    assert len(everything) % 5 == 0, "a batch was written by halves"


def test_writer_that_stands_still_is_waited_for_no_longer_than_said(
    acme: Tenant, other: Worker
) -> None:
    put(acme, range(10))
    other.send("stand_still()")
    deadline = time.monotonic() + 30
    while _state(other.process.pid) != "T":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert found(acme) == list(range(10)), "reading waits for no writer"
    with pytest.raises(errors.DatabaseLocked, match=str(other.process.pid)):
        put(acme, range(10, 20))
    assert acme.count() == acme.usage().vectors.used == 10
    os.kill(other.process.pid, signal.SIGCONT)
    other.kill()
    put(acme, range(10, 20))
    assert found(acme) == list(range(20))


def test_quota_is_exact_over_processes(db: Database) -> None:
    quotas = QuotaLimits(max_vectors=57, max_api_calls_per_minute=None)
    tenant = db.create_tenant(TenantConfig(id="acme", quotas=quotas))
    workers = [Worker(db.path) for _ in range(4)]
    for number, worker in enumerate(workers):
        worker.send(f"fill(range({100 * number}, {100 * number + 40}, 2))")
    admitted = []
    for worker in workers:
        assert worker.process.stdout is not None
        admitted.append(json.loads(worker.process.stdout.readline()))
        worker.close()
    assert 2 * sum(admitted) == 56 == tenant.count() == tenant.usage().vectors.used


@shares_ledger
def test_tenant_made_again_is_another_one_in_all_processes(
    db: Database, acme: Tenant, other: Worker
) -> None:
    put(acme, range(10))
    assert other.ask("acme.count()") == 10
    db.drop_tenant("acme")
    put(db.create_tenant(CONFIG), range(3))
    calls = ("count()", "get(1)", "delete(1)", "dim", "usage()", "flush()")
    for call in ("found()", "put(range(5))", *(f"acme.{one}" for one in calls)):
        assert other.ask(call) == "TenantNotFound", call
    assert other.ask("db.tenant('acme').count()") == 3


def test_tenant_that_another_process_dropped_is_closed_without_a_word(
    db: Database, acme: Tenant, other: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    put(acme, range(100))
    assert len(found(acme, {"n": {"$lt": 5}})) == 5
    assert other.ask("db.drop_tenant('acme').generation") == acme.generation
    caplog.clear()
    db.close()
    assert not caplog.records


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
