"""Readers that died or stand still: nothing waits for them, and the dead ones keep no room."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import llmspell
from llmspell import Database, QuotaLimits, Tenant, TenantConfig, errors
from llmspell.storage import readers
from tests.crash.trace import ROOT
from tests.tenancy.transfers import content

CONFIG = TenantConfig(id="acme", metric="ip", quotas=QuotaLimits.unlimited())
RECORDS = 1_000
TEXT = "x" * 3_000
# Far more than a pipe holds, so that the reader is in the middle of it until it is read.
VECTORS = np.random.default_rng(0).standard_normal((RECORDS, 8)).astype(np.float32)


def rewrite(tenant: Tenant, turn: int) -> None:
    texts = [f"{turn} {TEXT}"] * RECORDS
    tenant.upsert(range(RECORDS), VECTORS, [{"turn": turn}] * RECORDS, texts)


def oldest_reader(tenant: Tenant) -> str:
    # LMDB's own table of readers, of the environment that the tenant has open here.
    return readers.describe_oldest(tenant._enter().store._env._env)


def size(db: Database) -> int:
    (file,) = db.path.glob("tenants/*/*/data.mdb")
    return file.stat().st_size


@contextmanager
def exporting(data: Path) -> Iterator[tuple[subprocess.Popen[bytes], bytes]]:
    """A process in the middle of an export that nobody reads, and what it has written."""
    run = [sys.executable, "-m", "tests.crash.reading", str(data)]
    with subprocess.Popen(run, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        begin = process.stdout.read(1)
        try:
            yield process, begin
        finally:
            process.kill()


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with llmspell.open(tmp_path / "data", map_size=1 << 26) as db:
        rewrite(db.create_tenant(CONFIG), 0)
        yield db


def settle(tenant: Tenant) -> None:
    """Replace all so often that replacing it again takes no more room."""
    for turn in range(1, 8):
        rewrite(tenant, turn)


def test_dead_readers_keep_no_room(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "LOOKED_AFTER_SECONDS", 0.0)
    tenant = db.tenant("acme")
    settle(tenant)
    taken = size(db)
    for _ in range(3):
        with exporting(db.path):
            rewrite(tenant, 8)
    for turn in range(10):
        rewrite(tenant, turn)
    assert size(db) < 3 * taken


def test_dead_reader_is_forgotten_before_a_write(db: Database) -> None:
    tenant = db.tenant("acme")
    with exporting(db.path):
        rewrite(tenant, 1)
    assert oldest_reader(tenant)
    time.sleep(readers.LOOKED_AFTER_SECONDS)
    rewrite(tenant, 2)
    assert oldest_reader(tenant) == ""


def test_stalled_reader_holds_up_nobody_and_reads_its_own_moment(db: Database) -> None:
    tenant = db.tenant("acme")
    settle(tenant)
    before = content(tenant)
    with exporting(db.path) as (process, begin):
        process.send_signal(signal.SIGSTOP)
        taken = size(db)
        for turn in range(20, 25):
            rewrite(tenant, turn)
        assert tenant.get(0).metadata == {"turn": 24}
        assert size(db) > taken
        process.send_signal(signal.SIGCONT)
        assert process.stdout is not None
        raw = begin + process.stdout.read()
        assert process.wait() == 0
    made = db.create_tenant(TenantConfig(id="copy", metric="ip", quotas=QuotaLimits.unlimited()))
    made.import_from(io.BytesIO(raw))
    assert content(made) == before


def test_full_map_names_the_reader_that_fills_it(tmp_path: Path) -> None:
    with llmspell.open(tmp_path / "data", map_size=16 << 20) as db:
        tenant = db.create_tenant(CONFIG)
        rewrite(tenant, 0)
        with exporting(db.path) as (process, _):
            with pytest.raises(errors.StorageFull, match=f"process {process.pid} reads what"):
                for turn in range(100):
                    rewrite(tenant, turn)
            held = content(tenant)
        # It was killed, and its room is there again.
        time.sleep(readers.LOOKED_AFTER_SECONDS)
        assert content(tenant) == held
        for turn in range(100, 110):
            rewrite(tenant, turn)
        assert tenant.get(0).metadata == {"turn": 109}
        assert tenant.count() == tenant.usage().vectors.used == RECORDS
