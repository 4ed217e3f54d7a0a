"""Damaged files, files of a later release, full disks: named errors, no guesses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import llmspell
from llmspell import QuotaLimits, Tenant, TenantConfig, errors

CONFIG = TenantConfig(id="acme", quotas=QuotaLimits.unlimited())
VECTORS = np.random.default_rng(2).standard_normal((20, 8)).astype(np.float32)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    with llmspell.open(tmp_path / "data") as db:
        acme = db.create_tenant(CONFIG)
        acme.upsert(range(20), VECTORS, texts=[f"the text of {i:02}" for i in range(20)])
    return tmp_path / "data"


def room_of(root: Path) -> Path:
    (path,) = (path.parent for path in root.glob("tenants/*/*/data.mdb"))
    return path


def test_flipped_bit_in_a_text_is_named_where_it_is_read(root: Path) -> None:
    data = room_of(root) / "data.mdb"
    raw = data.read_bytes()
    data.write_bytes(raw.replace(b"the text of 07", b"the text of 06"))
    with llmspell.open(root) as db:
        acme = db.tenant("acme")
        hits = acme.search(VECTORS[7], k=2)
        with pytest.raises(errors.CorruptFile, match=r"record 8: its checksum"):
            _ = hits[0].text
        with pytest.raises(errors.CorruptFile, match=r"record 8: its checksum"):
            acme.get(7)
        with pytest.raises(errors.CorruptFile, match=r"record 8: its checksum"):
            acme.delete(7)
        assert hits[1].text != "the text of 06"
        assert acme.count() == 20
        assert acme.usage().vectors.used == 20


def test_directory_of_a_later_release_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmspell.storage.catalog.FORMAT", 9)
    llmspell.open(tmp_path / "data").close()
    monkeypatch.undo()
    with pytest.raises(errors.UnsupportedFormat, match="version 9, expected 3"):
        llmspell.open(tmp_path / "data")


def test_tenant_of_a_later_release_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with llmspell.open(tmp_path / "data") as db:
        monkeypatch.setattr("llmspell.storage.store.FORMAT", 9)
        tenant = db.create_tenant(CONFIG)
        tenant.count()
        tenant.close()
        monkeypatch.undo()
        for _ in range(2):
            with pytest.raises(errors.UnsupportedFormat, match="version 9, expected 3"):
                db.tenant("acme").count()


def test_damaged_catalog_is_named(root: Path) -> None:
    data = root / "catalog" / "data.mdb"
    raw = data.read_bytes()
    assert b"acme" in raw
    data.write_bytes(raw.replace(b"acme", b"acne"))
    with llmspell.open(root) as db:
        for read in (lambda: db.tenant("acme"), lambda: db.tenant("acne"), db.tenants):
            with pytest.raises(errors.CorruptFile, match="catalog"):
                read()  # type: ignore[operator]


FILL = """
import resource, sys
import numpy as np
import llmspell
from llmspell import errors

with llmspell.open(sys.argv[1]) as db:
    acme = db.tenant("acme")
    acme.count()
    import signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
    written = 20
    try:
        while True:
            acme.upsert([f"x{written}"], np.ones((1, 8), np.float32), texts="x" * 50_000)
            written += 1
    except errors.StorageError as error:
        print(written, acme.usage().vectors.used)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
"""


def test_full_disk_loses_nothing_and_counts_nothing(root: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FILL, str(root)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    written, used = map(int, run.stdout.split())
    assert 25 < written == used
    with llmspell.open(root) as db:
        acme: Tenant = db.tenant("acme")
        assert acme.count() == written
        assert acme.get(f"x{written - 1}").text == "x" * 50_000
        assert len(acme.search(VECTORS[0], k=1000)) == written
        acme.upsert("more", VECTORS[0])
