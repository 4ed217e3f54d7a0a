"""A full map and a full disk refuse writes, and lose and miscount nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import llmspell
from llmspell import QuotaLimits, Tenant, TenantConfig, errors

CONFIG = TenantConfig(id="acme", metric="ip", quotas=QuotaLimits.unlimited())
TEXT = "x" * 3_000


def row(number: int) -> np.ndarray:
    return np.random.default_rng(number).standard_normal((1, 8)).astype(np.float32)


def fill(tenant: Tenant) -> int:
    """Write until there is no room; how many records are there then."""
    number = tenant.count()
    with pytest.raises(errors.StorageFull):
        while True:
            tenant.upsert(f"x{number}", row(number), {"n": number}, TEXT)
            number += 1
    return number


def check(tenant: Tenant, held: range) -> None:
    assert tenant.count() == tenant.usage().vectors.used == len(held)
    assert [one.metadata["n"] for one in tenant.get([f"x{n}" for n in held])] == list(held)
    assert {hit.metadata["n"] for hit in tenant.search(row(0)[0], k=100_000)} == set(held)
    assert tenant.get(f"x{held[-1]}").text == TEXT


def fill_and_make_room(data: Path, *, map_size: int = 1 << 30) -> None:
    with llmspell.open(data, map_size=map_size) as db:
        tenant = db.create_tenant(CONFIG)
        written = fill(tenant)
        assert written > 100
        check(tenant, range(written))
        # One by one, for each needs room itself.
        for number in range(written // 2):
            assert tenant.delete(f"x{number}") == 1
        check(tenant, range(written // 2, written))
        tenant.upsert("more", row(0), {}, TEXT)
        tenant.delete("more")
    with llmspell.open(data) as db:
        check(db.tenant("acme"), range(written // 2, written))


def test_full_map_refuses_writes_and_lets_delete(tmp_path: Path) -> None:
    fill_and_make_room(tmp_path / "data", map_size=1 << 20)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "disk"
    path.mkdir()
    # The ledger takes three of them.
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may mount a small tmpfs")
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


def test_full_disk_refuses_writes_and_lets_delete(small_disk: Path) -> None:
    fill_and_make_room(small_disk / "data")


def test_full_disk_keeps_no_half_snapshot_and_no_half_tenant(
    small_disk: Path, tmp_path: Path
) -> None:
    with llmspell.open(tmp_path / "data") as db:
        large = db.create_tenant(CONFIG)
        vectors = np.random.default_rng(0).standard_normal((5_000, 8)).astype(np.float32)
        large.upsert(range(5_000), vectors, texts=[TEXT] * 5_000)
        for target in (small_disk / "snapshot", small_disk / "snapshot.tar"):
            with pytest.raises(errors.StorageFull):
                large.snapshot(target)
        assert list(small_disk.iterdir()) == []
        large.snapshot(tmp_path / "snapshot.tar")
        small = TenantConfig(id="small", metric="ip", quotas=QuotaLimits.unlimited())
        db.create_tenant(small).upsert([0], row(0), {"n": 0}, TEXT)
        db.snapshot_tenant("small", tmp_path / "small.tar")
    with llmspell.open(small_disk / "data") as db:
        db.restore_tenant(tmp_path / "small.tar", tenant_id="acme")
        with pytest.raises(errors.StorageFull):
            db.restore_tenant(tmp_path / "snapshot.tar", replace=True)
        assert not list(small_disk.glob("data/staging/*"))
        assert len(list(small_disk.glob("data/tenants/*/*"))) == len(db._registry.ledger) == 1
        assert db.tenant("acme").get([0])[0].text == TEXT
        # What is there can still be cloned, and written to.
        clone = db.clone_tenant("acme", "clone")
        clone.upsert([1], row(1), {}, TEXT)
        assert (clone.count(), db.tenant("acme").count()) == (2, 1)


RESTORE = """
import os, sys
from pathlib import Path
import llmspell
from llmspell import errors

disk, snapshot = Path(sys.argv[1]), sys.argv[2]
with llmspell.open(disk / "data") as db:
    filler = os.open(disk / "filler", os.O_RDWR | os.O_CREAT)
    for left in range(0, 1 << 20, 4096):
        os.ftruncate(filler, 0)
        free = os.statvfs(disk)
        os.posix_fallocate(filler, 0, free.f_bavail * free.f_frsize - left)
        try:
            restored = db.restore_tenant(snapshot, tenant_id="restored")
        except errors.StorageFull:
            assert db.tenants() == []
        else:
            assert restored.count() == 200
            break
    print(left)
"""


def test_disk_that_fills_up_at_any_point_of_a_restore_is_told(
    small_disk: Path, tmp_path: Path
) -> None:
    with llmspell.open(tmp_path / "data") as db:
        tenant = db.create_tenant(CONFIG)
        tenant.upsert(range(200), np.vstack([row(i) for i in range(200)]))
        tenant.snapshot(tmp_path / "snapshot.tar")
    command = [sys.executable, "-c", RESTORE, str(small_disk), str(tmp_path / "snapshot.tar")]
    # In a process of its own, for what LMDB maps would end it.
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert 0 < int(ended.stdout) < 1 << 20
