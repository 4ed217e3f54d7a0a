"""Opening: from a snapshot and the log behind it, or from the records where that fails."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import llmspell
from llmspell import IndexParams, QuotaLimits, Tenant, TenantConfig
from llmspell.errors import CorruptFile
from llmspell.storage import Room

DIM = 8
# Below the graph's threshold answers are exact, and can be compared to a sweep.
CONFIG = TenantConfig(id="acme", quotas=QuotaLimits.unlimited())
GRAPH = replace(CONFIG, index=IndexParams(graph_threshold=40))
VECTORS = np.random.default_rng(3).standard_normal((400, DIM)).astype(np.float32)


class Expected(dict[int, np.ndarray]):
    """The records that there should be, by id."""

    def upsert(self, tenant: Tenant, ids: range, shift: int = 0) -> None:
        matrix = VECTORS[[i + shift for i in ids]]
        tenant.upsert(ids, matrix)
        self.update(zip(ids, matrix, strict=True))

    def delete(self, tenant: Tenant, ids: range) -> None:
        tenant.delete(list(ids))
        for i in ids:
            del self[i]

    def check(self, tenant: Tenant) -> None:
        assert tenant.count() == len(self)
        ids = sorted(self)
        matrix = np.stack([self[i] for i in ids])
        unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
        for query in VECTORS[:5]:
            scores = unit @ (query / np.linalg.norm(query))
            best = [ids[i] for i in np.argsort(-scores)[:10]]
            assert [hit.id for hit in tenant.search(query, k=10)] == best


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def expected() -> Expected:
    return Expected()


def room_of(root: Path) -> Path:
    (path,) = (path.parent for path in root.glob("tenants/*/*/data.mdb"))
    return path


def snapshots(root: Path) -> list[Path]:
    return sorted(room_of(root).glob("*.snap"))


def write_two_snapshots(root: Path, expected: Expected, config: TenantConfig = CONFIG) -> None:
    with llmspell.open(root) as db:
        tenant = db.create_tenant(config)
        expected.upsert(tenant, range(100))
        expected.delete(tenant, range(10, 20))
    with llmspell.open(root) as db:
        tenant = db.tenant("acme")
        expected.upsert(tenant, range(50), shift=200)
        expected.upsert(tenant, range(100, 150))


def reopen(root: Path, expected: Expected) -> None:
    with llmspell.open(root) as db:
        expected.check(db.tenant("acme"))


def test_second_opening_builds_nothing(
    root: Path, expected: Expected, caplog: pytest.LogCaptureFixture
) -> None:
    write_two_snapshots(root, expected)
    before = {path: path.stat().st_mtime_ns for path in snapshots(root)}
    reopen(root, expected)
    assert {path: path.stat().st_mtime_ns for path in snapshots(root)} == before
    assert not caplog.records


def test_graph_is_opened_and_replayed_like_the_flat_index(
    root: Path, expected: Expected, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_two_snapshots(root, expected, GRAPH)
    monkeypatch.setattr("llmspell.storage.view.VectorView.snapshot", lambda self: None)
    with llmspell.open(root) as db:
        tenant = db.tenant("acme")
        assert tenant._enter().index.stats().graph_nodes == len(expected)  # type: ignore[union-attr]
        expected.upsert(tenant, range(150, 200))
        expected.delete(tenant, range(60, 90))
    with llmspell.open(root) as db:
        tenant = db.tenant("acme")
        hits = tenant.search(VECTORS[0], k=1000)
        assert {hit.id for hit in hits} == expected.keys()
        for hit in hits:
            assert np.array_equal(tenant.get(hit.id).vector, expected[hit.id])


def test_two_snapshots_are_kept_and_the_log_is_trimmed_behind_them(
    root: Path, expected: Expected
) -> None:
    write_two_snapshots(root, expected)
    with llmspell.open(root) as db:
        tenant = db.tenant("acme")
        expected.upsert(tenant, range(3))
    kept = [int(path.stem.removeprefix("index-"), 16) for path in snapshots(root)]
    assert kept == [4, 5]
    with llmspell.open(root) as db:
        tenant = db.tenant("acme")
        tenant.count()
        store = tenant._enter().store
        assert len(store.tail(4).changes or ()) == 1
        assert store.tail(3).changes is None


def test_log_behind_the_snapshot_is_replayed(
    root: Path, expected: Expected, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_two_snapshots(root, expected)
    newest = snapshots(root)[-1]
    monkeypatch.setattr("llmspell.storage.view.VectorView.snapshot", lambda self: None)
    with llmspell.open(root) as db:
        tenant = db.tenant("acme")
        expected.upsert(tenant, range(20, 30), shift=300)
        expected.upsert(tenant, range(150, 160))
        expected.delete(tenant, range(155, 160))
    assert snapshots(root)[-1] == newest
    reopen(root, expected)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_a_bit(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) * 2 // 3] ^= 16
    path.write_bytes(raw)


def overwrite_the_version(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[:64] = bytes(64)
    path.write_bytes(raw)


def replace_by_another_dimension(path: Path) -> None:
    sequence = int(path.stem.removeprefix("index-"), 16)
    index = llmspell.Index(dim=DIM + 1, params=CONFIG.index)
    index.add([1], np.ones((1, DIM + 1), dtype=np.float32))
    index.save(path, tag=sequence)


def rename_to_a_later_entry(path: Path) -> None:
    path.rename(path.with_name(f"index-{999:016x}.snap"))


DAMAGES = [
    truncate,
    empty,
    flip_a_bit,
    overwrite_the_version,
    replace_by_another_dimension,
    rename_to_a_later_entry,
    Path.unlink,
]


@pytest.mark.parametrize(("records", "level"), [(999, "INFO"), (1_000, "WARNING")])
def test_building_an_index_is_a_warning_where_it_takes_more_than_a_moment(
    root: Path, caplog: pytest.LogCaptureFixture, records: int, level: str
) -> None:
    with llmspell.open(root) as db:
        db.create_tenant(CONFIG).upsert(range(records), np.resize(VECTORS, (records, DIM)))
    for path in snapshots(root):
        path.unlink()
    with caplog.at_level("INFO", logger="llmspell"), llmspell.open(root) as db:
        assert db.tenant("acme").search(VECTORS[0], k=1)
    told = [one.levelname for one in caplog.records if "building the index" in one.message]
    assert told == [level]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_snapshot_costs_no_data(
    root: Path,
    expected: Expected,
    damage: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", logger="llmspell")
    write_two_snapshots(root, expected)
    damage(snapshots(root)[-1])
    reopen(root, expected)
    if damage is not Path.unlink:
        assert "is not used" in caplog.text
    assert "building the index" not in caplog.text
    caplog.clear()
    for path in snapshots(root):
        damage(path)
    reopen(root, expected)
    assert f"from its {len(expected)} records" in caplog.text
    caplog.clear()
    reopen(root, expected)
    assert not caplog.records


def test_snapshot_ahead_of_the_log_is_refused(
    root: Path, expected: Expected, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    write_two_snapshots(root, expected)
    shutil.copytree(root, tmp_path / "older")
    with llmspell.open(root) as db:
        db.tenant("acme").upsert([7], VECTORS[:1])
    ahead = snapshots(root)[-1]
    shutil.copy(ahead, room_of(tmp_path / "older") / ahead.name)
    reopen(tmp_path / "older", expected)
    assert "it is ahead of the log" in caplog.text
    assert not (room_of(tmp_path / "older") / ahead.name).exists()


def test_snapshot_of_a_log_that_was_put_back_never_fits_again(
    root: Path, expected: Expected, caplog: pytest.LogCaptureFixture
) -> None:
    write_two_snapshots(root, expected)
    data = room_of(root) / "data.mdb"
    older = data.read_bytes()
    with llmspell.open(root) as db:
        db.tenant("acme").upsert([7], VECTORS[7:8], [{"of": "later"}])
        assert db.tenant("acme").search(VECTORS[7], filter={"of": "later"})
    data.write_bytes(older)
    with llmspell.open(root) as db:
        # As many writes as the snapshots have seen, and no filter that would look at theirs.
        db.tenant("acme").upsert([8], VECTORS[208:209], [{"of": "now"}])
        expected[8] = VECTORS[208]
    assert caplog.text.count("it is ahead of the log") == 2
    with llmspell.open(root) as db:
        assert not db.tenant("acme").search(VECTORS[7], filter={"of": "later"})
        assert [hit.id for hit in db.tenant("acme").search(VECTORS[7], filter={"of": "now"})] == [8]
        expected.check(db.tenant("acme"))


def test_snapshot_that_disagrees_with_the_counters_is_refused(
    root: Path, expected: Expected, caplog: pytest.LogCaptureFixture
) -> None:
    write_two_snapshots(root, expected)
    newest = snapshots(root)[-1]
    index = llmspell.Index.load(newest)
    index.delete([int(index.search(VECTORS[0], k=1).ids[0])])
    index.save(newest, tag=index.tag)
    reopen(root, expected)
    assert "is not used: with the log it gives" in caplog.text


def test_stranger_among_the_snapshots_is_passed_over(
    root: Path, expected: Expected, caplog: pytest.LogCaptureFixture
) -> None:
    write_two_snapshots(root, expected)
    (room_of(root) / "index-copy.snap").write_bytes(b"?")
    reopen(root, expected)
    assert "index-copy.snap is not a snapshot" in caplog.text


def test_snapshot_is_taken_while_writing_once_enough_has_changed(
    root: Path, expected: Expected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmspell.storage.view.SNAPSHOT_ROWS", 30)
    with llmspell.open(root) as db:
        tenant = db.create_tenant(CONFIG)
        expected.upsert(tenant, range(20))
        assert len(snapshots(root)) == 0
        expected.upsert(tenant, range(20, 40))
        assert len(snapshots(root)) == 1
        expected.check(tenant)


def test_failing_snapshot_is_a_warning_and_not_a_failed_write(
    root: Path,
    expected: Expected,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("llmspell.storage.view.SNAPSHOT_ROWS", 1)
    with llmspell.open(root) as db:
        tenant = db.create_tenant(CONFIG)
        monkeypatch.setattr(
            "llmspell.storage.snapshots.Snapshots.path", lambda self, n: Path("/nowhere/x.snap")
        )
        expected.upsert(tenant, range(20))
        assert "failed" in caplog.text
        expected.check(tenant)
        monkeypatch.undo()
    reopen(root, expected)


def test_snapshot_cut_off_by_a_crash_is_cleared_away(root: Path, expected: Expected) -> None:
    write_two_snapshots(root, expected)
    unfinished = snapshots(root)[-1].with_suffix(".snap.tmp")
    unfinished.write_bytes(b"half")
    reopen(root, expected)
    assert not unfinished.exists()


def test_missing_room_is_named(root: Path) -> None:
    with llmspell.open(root) as db:
        tenant = db.create_tenant(CONFIG)
        tenant.count()
        tenant.close()
        shutil.rmtree(room_of(root))
        with pytest.raises(CorruptFile, match="data of tenant 'acme' is missing"):
            db.tenant("acme").count()


def test_room_made_over_a_stray_directory_is_empty(tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "index-0000000000000009.snap").write_bytes(b"?")
    Room.create(tmp_path / "room")
    assert sorted(path.name for path in (tmp_path / "room").iterdir()) == ["data.mdb", "lock.mdb"]


def test_damaged_vector_is_named_when_the_index_is_built(root: Path, expected: Expected) -> None:
    write_two_snapshots(root, expected)
    for path in snapshots(root):
        path.unlink()
    data = room_of(root) / "data.mdb"
    raw = data.read_bytes()
    needle = VECTORS[120].astype("<f4").tobytes()
    assert raw.count(needle) >= 1
    data.write_bytes(raw.replace(needle, bytes([needle[0] ^ 1]) + needle[1:]))
    with llmspell.open(root) as db, pytest.raises(CorruptFile, match=r"vector \d+"):
        db.tenant("acme").count()
