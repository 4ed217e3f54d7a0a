"""Room in an LMDB file ahead of what is written."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

import llmspell
from llmspell import QuotaLimits, TenantConfig
from llmspell.storage import ahead
from llmspell.storage.ahead import LEAST_AHEAD, MOST_AHEAD, grow_ahead

PAGE = 4096
VECTORS = np.random.default_rng(3).standard_normal((300, 96)).astype(np.float32)


def file_of(pages: int, folder: Path) -> str:
    path = folder / "data.mdb"
    path.write_bytes(b"\1" * (pages * PAGE))
    return str(path)


@pytest.mark.parametrize("pages", [3, 40, 200, 2_000])
def test_file_gets_room_of_an_eighth_within_bounds(tmp_path: Path, pages: int) -> None:
    data = file_of(pages, tmp_path)
    grow_ahead(data, pages * PAGE, PAGE, 1 << 30)
    room = min(max(pages // 8, LEAST_AHEAD), MOST_AHEAD)
    assert Path(data).read_bytes() == b"\1" * (pages * PAGE) + bytes(room * PAGE)
    # Written and not reserved: what is written over it needs no new blocks.
    assert os.stat(data).st_blocks * 512 >= (pages + room) * PAGE


def test_file_with_room_left_stays_as_it_is(tmp_path: Path) -> None:
    data = file_of(200, tmp_path)
    grow_ahead(data, 180 * PAGE, PAGE, 1 << 30)
    assert os.stat(data).st_size == 200 * PAGE


def test_file_does_not_outgrow_its_map(tmp_path: Path) -> None:
    data = file_of(200, tmp_path)
    grow_ahead(data, 200 * PAGE, PAGE, 210 * PAGE)
    assert os.stat(data).st_size == 200 * PAGE


def test_most_single_writes_do_not_make_the_file_longer(tmp_path: Path) -> None:
    with llmspell.open(tmp_path) as db:
        tenant = db.create_tenant(TenantConfig(id="acme", quotas=QuotaLimits.unlimited()))
        tenant.upsert("first", VECTORS[0])
        (data,) = (tmp_path / "tenants").rglob("data.mdb")
        sizes = [data.stat().st_size]
        for number, vector in enumerate(VECTORS):
            tenant.upsert(number, vector)
            sizes.append(data.stat().st_size)
    assert sizes[-1] > sizes[0]
    assert np.count_nonzero(np.diff(sizes)) < len(VECTORS) / 5


def test_write_needs_no_room_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with llmspell.open(tmp_path) as db:
        tenant = db.create_tenant(TenantConfig(id="acme", quotas=QuotaLimits.unlimited()))
        tenant.upsert("first", VECTORS[0])
        tried: list[int] = []

        def pwrite(descriptor: int, raw: bytes, at: int) -> int:
            tried.append(at)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(ahead.os, "pwrite", pwrite)
            for number, vector in enumerate(VECTORS):
                tenant.upsert(number, vector)
        assert tried
        assert tenant.count() == len(VECTORS) + 1
