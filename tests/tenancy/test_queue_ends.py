"""What waits when its process, its database or its tenant ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import llmspell
from llmspell import QuotaLimits, Tenant, TenantConfig, errors
from llmspell.storage import Durability
from tests.tenancy.ledgers import shares_ledger

VECTORS = np.random.default_rng(8).standard_normal((60, 8)).astype(np.float32)
CONFIG = TenantConfig(id="acme", quotas=QuotaLimits.unlimited())

#: Leaves ten writes waiting, and then ends in its own way.
PROGRAM = """
import gc, os, sys, threading
import numpy as np
import llmspell
VECTORS = np.random.default_rng(8).standard_normal((60, 8)).astype(np.float32)
db = llmspell.open(sys.argv[1], durability=sys.argv[2], flush_interval=3600.0)
acme = db.tenant("acme")
for i in range(1, 11):
    acme.upsert(i, VECTORS[i])
assert acme._enter().store.counters().vectors == 1
"""

ENDS = {
    "falls off its end": "",
    "exits": "sys.exit(0)",
    "lets the handle go": "del acme; gc.collect()",
    "lets the database go": "del acme, db; gc.collect()",
    "keeps a thread": "threading.Thread(target=acme.flush).start()",
    "closes": "db.close()",
}


def run(data: Path, durability: str, end: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM + end, str(data), durability],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with llmspell.open(tmp_path / "data") as db:
        db.create_tenant(CONFIG).upsert(0, VECTORS[0])
    return tmp_path / "data"


def found(data: Path) -> set[object]:
    with llmspell.open(data) as db:
        tenant = db.tenant("acme")
        ids = {record.id for record in tenant.scan().records}
        assert {hit.id for hit in tenant.search(VECTORS[0], k=99)} == ids
        assert tenant.usage().vectors.used == len(ids)
        return ids


@pytest.mark.parametrize("durability", ["batch", "async"])
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_interpreter_that_ends_commits_what_waits(data: Path, durability: str, end: str) -> None:
    ended = run(data, durability, end)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert found(data) == set(range(11))


@pytest.mark.parametrize("durability", ["batch", "async"])
def test_process_that_dies_loses_what_waits_and_no_more(data: Path, durability: str) -> None:
    ended = run(data, durability, "acme.delete([1]); acme.upsert(11, VECTORS[11]); os._exit(0)")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert found(data) == {0, *range(2, 11)}


def test_what_cannot_be_committed_at_the_end_is_logged(data: Path) -> None:
    holder = "from llmspell.storage import FileLock; from pathlib import Path\n"
    holder += "path = acme._enter()._path / 'writer.lock'\n"
    holder += "held = FileLock(path, timeout=0.0, holder='')"
    ended = run(data, "batch", holder)
    assert ended.returncode == 0
    assert "lost at exit: 10 acknowledged writes of tenant 'acme'" in ended.stderr
    assert found(data) == {0}


def wait_for(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("durability", ["batch", "async"])
def test_forked_child_leaves_what_waits_to_its_parent(data: Path, durability: str) -> None:
    forks = """
pid = os.fork()
if pid == 0:
    for call in (acme.flush, db.flush, lambda: acme.upsert(20, VECTORS[20])):
        try:
            call()
        except llmspell.errors.UseAfterFork:
            continue
        os._exit(1)
    sys.exit(0)  # runs what the interpreter does at its end
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert acme._enter().store.counters().vectors == 1, "the child committed"
acme.upsert(11, VECTORS[11])
"""
    ended = run(data, durability, forks)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert found(data) == set(range(12))


def drop_elsewhere(data: Path) -> None:
    subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, llmspell\n"
            "with llmspell.open(sys.argv[1]) as db:\n"
            "    db.drop_tenant('acme')\n"
            "    db.create_tenant(llmspell.TenantConfig(id='acme'))\n",
            str(data),
        ],
        check=True,
        timeout=120,
    )


def left_waiting(tenant: Tenant) -> int:
    return tenant._residence._room.writer._queue.waiting  # type: ignore[union-attr]


@shares_ledger
@pytest.mark.parametrize("durability", ["batch", "async"])
def test_tenant_dropped_by_another_process_takes_with_it_what_waits(
    data: Path, durability: Durability
) -> None:
    with llmspell.open(data, durability=durability, flush_interval=3600.0) as db:
        acme = db.tenant("acme")
        acme.upsert(1, VECTORS[1])
        drop_elsewhere(data)
        with pytest.raises(errors.TenantNotFound):
            acme.flush()
        with pytest.raises(errors.TenantNotFound):
            acme.upsert(2, VECTORS[2])
        db.flush()
    assert found(data) == set()


def test_thread_lets_go_what_waits_for_a_tenant_dropped_elsewhere(data: Path) -> None:
    with llmspell.open(data, durability="batch", flush_interval=3600.0) as db:
        acme = db.tenant("acme")
        acme.upsert(1, VECTORS[1])
        drop_elsewhere(data)
        acme._residence.house.flusher.notice(acme._enter().writer, at_once=True)
        with pytest.raises(errors.TenantNotFound):
            acme.flush()
    assert found(data) == set()
