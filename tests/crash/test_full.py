"""A full map and a full disk refuse writes, and lose and miscount nothing."""

from __future__ import annotations

import subprocess
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
