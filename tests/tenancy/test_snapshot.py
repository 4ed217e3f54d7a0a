"""Snapshots of tenants: what is in them, where they go to, and that they show one moment."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import llmspell
from llmspell import Database, QuotaLimits, Tenant, errors
from tests.tenancy.copies import filled, members, packed, rows, same
from tests.tenancy.texts import Lines
from tests.tenancy.transfers import Stream


def test_a_directory_and_a_tar_file_hold_the_same_files(db: Database, tmp_path: Path) -> None:
    acme = filled(db)
    in_directory = acme.snapshot(tmp_path / "snapshot")
    in_tar = acme.snapshot(tmp_path / "snapshot.tar")
    names = {path.name for path in (tmp_path / "snapshot").iterdir()}
    assert names == {"data.mdb", "index-0000000000000004.snap", "payload.snap", "manifest.json"}
    with tarfile.open(tmp_path / "snapshot.tar") as file:
        assert set(file.getnames()) == names
        assert file.getnames()[-1] == "manifest.json"
    assert in_directory.bytes == sum(
        path.stat().st_size for path in (tmp_path / "snapshot").iterdir()
    )
    assert (in_directory.records, in_directory.documents) == (acme.count(), 1)
    assert in_tar.records == in_directory.records
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "snapshot", "snapshot.tar"]


def test_measured_recall_goes_with_the_index(db: Database) -> None:
    acme = filled(db, count=3_000)
    acme.calibrate()
    acme.close()
    raw = packed(db.tenant("acme"))
    assert "recall.json" in members(raw)
    restored = db.restore_tenant(io.BytesIO(raw), tenant_id="copy")
    assert restored.estimated_recall() == db.tenant("acme").estimated_recall() is not None


def test_a_stream_takes_and_gives_a_few_bytes_at_a_time(db: Database) -> None:
    acme = filled(db)
    stream = Stream()
    acme.snapshot(stream)  # type: ignore[arg-type]
    raw = stream.raw.getvalue()
    same(acme, db.restore_tenant(Stream(raw), tenant_id="copy"))  # type: ignore[arg-type]


def test_an_empty_tenant_has_a_snapshot(db: Database, acme: Tenant) -> None:
    restored = db.restore_tenant(io.BytesIO(packed(acme)), tenant_id="copy")
    assert (restored.count(), restored.dim) == (0, None)
    restored.upsert([1], np.eye(1))


def test_the_handle_is_charged_one_call_and_the_operator_none(
    db: Database, acme: Tenant, tmp_path: Path
) -> None:
    db.update_tenant("acme", quotas=QuotaLimits(max_api_calls_per_minute=2))
    acme.snapshot(tmp_path / "1.tar")
    assert acme.usage().api_calls.used == 1
    db.snapshot_tenant("acme", tmp_path / "2.tar")
    assert acme.usage().api_calls.used == 1
    acme.count()
    with pytest.raises(errors.QuotaExceeded):
        acme.snapshot(tmp_path / "3.tar")
    assert not (tmp_path / "3.tar").exists()


def test_a_suspended_tenant_has_snapshots_of_its_operator_alone(
    db: Database, acme: Tenant, tmp_path: Path
) -> None:
    db.suspend_tenant("acme")
    with pytest.raises(errors.TenantSuspended):
        acme.snapshot(tmp_path / "1")
    db.snapshot_tenant("acme", tmp_path / "2")
    assert [path.name for path in tmp_path.glob("[12]*")] == ["2"]


def test_a_snapshot_has_the_quotas_that_are_in_force(db: Database, acme: Tenant) -> None:
    db.update_tenant("acme", name="Acme", quotas=QuotaLimits(max_vectors=7))
    config = db.restore_tenant(io.BytesIO(packed(acme)), tenant_id="copy").config
    assert (config.name, config.quotas.max_vectors) == ("Acme", 7)


@pytest.mark.parametrize("name", ["there", "there.txt"])
def test_what_is_there_is_not_written_over(
    db: Database, acme: Tenant, tmp_path: Path, name: str
) -> None:
    target = tmp_path / name
    target.mkdir() if name == "there" else target.write_text("mine")
    with pytest.raises(errors.InputError, match="there already"):
        acme.snapshot(target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", name]
    with pytest.raises(errors.InputError, match="path or an open binary file"):
        acme.snapshot(7)  # type: ignore[arg-type]


class FailsLate(io.RawIOBase):
    """Takes some bytes, and then raises."""

    def __init__(self, error: BaseException) -> None:
        self._error = error
        self._left = 100_000

    def write(self, data: object) -> int:
        self._left -= len(data)  # type: ignore[arg-type]
        if self._left < 0:
            raise self._error
        return len(data)  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [OSError("gone"), KeyboardInterrupt()])
def test_a_snapshot_that_breaks_off_leaves_the_tenant_usable(
    db: Database, error: BaseException
) -> None:
    acme = filled(db, count=3_000)
    expected = errors.StorageError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        acme.snapshot(FailsLate(error))  # type: ignore[arg-type]
    assert [thread.name for thread in threading.enumerate() if "copy" in thread.name] == []
    acme.upsert([5_000], rows(1))
    acme.close()
    assert db.tenant("acme").get(5_000).id == 5_000


def test_a_directory_that_breaks_off_is_not_there(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = filled(db)
    for target in ("snapshot", "snapshot.tar"):
        with monkeypatch.context() as patch:
            patch.setattr("llmspell.storage.manifest.Manifest.encode", _interrupted)
            with pytest.raises(KeyboardInterrupt):
                acme.snapshot(tmp_path / target)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def _interrupted(*_: object) -> bytes:
    raise KeyboardInterrupt


def test_damage_is_found_before_it_is_kept(
    db: Database, acme: Tenant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    acme.upsert([1, 2], rows(2))
    store = acme._enter().store

    def lose(txn: object) -> None:
        with txn.cursor(store._env.databases[b"vectors"]) as cursor:  # type: ignore[attr-defined]
            cursor.first()
            cursor.delete()

    store._env.write(lose)
    with pytest.raises(errors.CorruptFile, match=r"vector 1 \(id 1\): missing"):
        acme.snapshot(tmp_path / "snapshot")
    assert not list(tmp_path.glob("snapshot*"))


WRITER = """
import sys, numpy as np, llmspell
with llmspell.open(sys.argv[1], lock_timeout=30.0) as db:
    acme = db.tenant("acme")
    for i in range(100_000, 200_000):
        acme.upsert([i, -i], np.random.default_rng(i).standard_normal((2, 16)))
        print(i, flush=True)
"""


def write_until(stop: threading.Event, db: Database, first: int, written: list[int]) -> None:
    with closing(db.tenant("acme")) as tenant:
        while not stop.is_set():
            i = first + len(written)
            tenant.upsert([i, -i], rows(2))
            written.append(i)


def test_a_snapshot_beside_writers_shows_one_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Often, so that snapshots of views are replaced and the log is trimmed meanwhile.
    monkeypatch.setattr("llmspell.storage.view.SNAPSHOT_ROWS", 60)
    monkeypatch.setattr("llmspell.storage.view.SNAPSHOT_SHARE", 0.01)
    stop = threading.Event()
    firsts = (1, 50_000)
    written: list[list[int]] = [[], []]
    taken = []
    with llmspell.open(tmp_path / "data", lock_timeout=30.0, texts=Lines()) as db:
        filled(db).close()
        other = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(db.path)], stdout=subprocess.PIPE, text=True
        )
        assert other.stdout is not None
        other.stdout.readline()
        threads = [
            threading.Thread(target=write_until, args=[stop, db, 1_000 + first, done])
            for first, done in zip(firsts, written, strict=True)
        ]
        for thread in threads:
            thread.start()
        try:
            while len(taken) < 6 or not all(written):
                before = [len(done) for done in written]
                file = io.BytesIO()
                db.snapshot_tenant("acme", file)
                taken.append((before, file.getvalue(), [len(done) for done in written]))
        finally:
            stop.set()
            for thread in threads:
                thread.join()
            other.kill()
            other.communicate()
    assert any(name.startswith("index-") for _, raw, _ in taken for name in members(raw))
    with llmspell.open(tmp_path / "elsewhere") as elsewhere:
        for before, raw, after in taken:
            copy = elsewhere.restore_tenant(
                io.BytesIO(raw), replace=True, quotas=QuotaLimits.unlimited()
            )
            ids = {record.id for record in copy.scan(limit=100_000, vectors=False).records}
            assert len(ids) == copy.count() == copy.usage().vectors.used
            assert {hit.id for hit in copy.search(rows(1)[0], k=len(ids))} == ids
            numbers = {i for i in ids if isinstance(i, int) and i > 1_000}
            for first, least, most in zip(firsts, before, after, strict=True):
                own = sorted(i for i in numbers if 0 <= i - 1_000 - first < 40_000)
                check_prefix(own, 1_000 + first, ids)
                assert least <= len(own) <= most + 1
            check_prefix(sorted(i for i in numbers if i >= 100_000), 100_000, ids)


def check_prefix(own: list[int], first: int, ids: set[object]) -> None:
    """All writes of one writer up to some moment, each as a whole, and none behind it."""
    assert own == list(range(first, first + len(own)))
    assert {-i for i in own} <= ids
