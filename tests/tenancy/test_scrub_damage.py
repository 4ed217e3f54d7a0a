"""A scrub names what is damaged, all of it, and writes files of views anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llmspell
from llmspell import Database, Document, IndexParams, QuotaLimits, ScrubReport, Tenant, TenantConfig
from llmspell.storage.ids import pack_rowid
from tests.tenancy.ledgers import shares_ledger
from tests.tenancy.texts import Lines
from tests.tenancy.transfers import vectors

DIM = 16
FILES = ("index-*.snap", "payload.snap", "recall.json")


def fill(database: Database, name: str) -> Tenant:
    tenant = database.create_tenant(
        TenantConfig(id=name, quotas=QuotaLimits.unlimited(), index=IndexParams(graph_threshold=10))
    )
    tenant.upsert(range(20), vectors(20, DIM), [{"n": i} for i in range(20)], ttl=100_000)
    tenant.upsert(["secret"], vectors(1, DIM), texts="a text")
    tenant.ingest(Document("d", "one\ntwo\nthree"))
    tenant.delete([3])
    return tenant


@pytest.fixture
def root(tmp_path: Path) -> Path:
    with llmspell.open(tmp_path / "data", texts=Lines()) as database:
        for tenant in [fill(database, name) for name in ("acme", "other")]:
            tenant.search(np.ones(DIM), filter={"n": 1})
            tenant.calibrate()
    return tmp_path / "data"


def flip(path: Path, at: int | None = None) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2 if at is None else at] ^= 1
    path.write_bytes(raw)


def room_of(root: Path, tenant_id: str) -> Path:
    with llmspell.open(root) as database:
        return database.tenant(tenant_id)._residence.path


def rewrite(database: Database, table: bytes, change: Callable[[Any, Any], object]) -> None:
    """Change a table of acme's store, past everything that would object."""
    env = database.tenant("acme")._enter().store._env
    env.write(lambda txn: change(txn, env.databases[table]))


def flipped_value(key: bytes) -> Callable[[Any, Any], object]:
    def change(txn: Any, db: Any) -> None:
        raw = bytearray(txn.get(key, db=db))
        raw[-1] ^= 1
        txn.put(key, bytes(raw), db=db)

    return change


def flipped_last_key(txn: Any, db: Any) -> None:
    with txn.cursor(db) as cursor:
        assert cursor.last()
        key, raw = cursor.key(), cursor.value()
    txn.delete(key, db=db)
    txn.put(key[:-1] + bytes([key[-1] ^ 1]), raw, db=db)


def missing_last_key(txn: Any, db: Any) -> None:
    with txn.cursor(db) as cursor:
        assert cursor.last()
        cursor.delete()


# Record 21 is "secret"; the table and what is done to it, and where the damage is said to be.
STORED: dict[str, tuple[bytes, Callable[[Any, Any], object], str]] = {
    "a record": (b"records", flipped_value(pack_rowid(21)), "record 21 (id 'secret')"),
    "a vector": (b"vectors", flipped_value(pack_rowid(8)), "vector 8 (id 7)"),
    "a log entry": (b"log", flipped_value(pack_rowid(2)), "log entry 2"),
    "a document": (b"documents", flipped_value(b"d"), "documents"),
    "the counters": (b"meta", flipped_value(b"counters"), "counters"),
    "a key of an id": (b"ids", flipped_last_key, "ids"),
    "an id that is missing": (b"ids", missing_last_key, "ids"),
    "a key of an expiry": (b"expiry", flipped_last_key, "expiry"),
    "a document that is missing": (b"documents", missing_last_key, "documents"),
    "a record that is missing": (b"records", missing_last_key, "record 24 (id 'd#2')"),
    "a vector that is missing": (b"vectors", missing_last_key, "vector 24 (id 'd#2')"),
    "a last log entry that is missing": (b"log", missing_last_key, "log entry 4"),
}


@pytest.mark.parametrize("what", STORED)
@pytest.mark.parametrize("page_bytes", [1, 1 << 20])
def test_a_flipped_bit_in_the_store_is_named(
    root: Path, what: str, page_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmspell.storage.pace.PAGE_BYTES", page_bytes)
    table, change, where = STORED[what]
    with llmspell.open(root) as database:
        rewrite(database, table, change)
        report = database.tenant("acme").scrub()
        assert where in [damage.where for damage in report.damages], report.damages
        assert not report.is_sound
        assert report.is_complete
        assert database.instruments.scrubbing.damages.value == len(report.damages)
        other = database.tenant("other").scrub()
        assert other.damages == ()
        # All that isn't damaged was looked at nevertheless.
        assert report.records >= other.records - 1
        assert report.vectors >= other.vectors - 1
        whole = database.scrub()
        assert [one.tenant_id for one in whole.tenants] == ["acme", "other"]
        assert whole.tenants[0].damages == report.damages
        assert not whole.is_sound


def test_all_damages_are_named_and_not_the_first_alone(root: Path) -> None:
    with llmspell.open(root) as database:
        for rowid in (1, 2, 9):
            rewrite(database, b"records", flipped_value(pack_rowid(rowid)))
        rewrite(database, b"vectors", flipped_value(pack_rowid(10)))
        report = database.tenant("acme").scrub(repair=True)
    assert [damage.where for damage in report.damages] == [
        "record 1 (id 0)",
        "record 2 (id 1)",
        "record 9 (id 8)",
        "vector 10 (id 9)",
    ]
    assert not any(damage.repaired for damage in report.damages)
    assert not report.is_recounted


@pytest.mark.parametrize("counter", ["documents", "vectors", "storage"])
def test_counters_are_held_against_what_is_there(root: Path, counter: str) -> None:
    with llmspell.open(root) as database:
        wrong = database.tenant("acme")._enter().store.counters()
        wrong = wrong._replace(**{counter: getattr(wrong, counter) + 1})
        rewrite(database, b"meta", lambda txn, db: txn.put(b"counters", wrong.encode(), db=db))
        report = database.tenant("acme").scrub()
    assert [damage.where for damage in report.damages] == ["counters"]


def scrubbed(root: Path, *, repair: bool = False) -> ScrubReport:
    with llmspell.open(root, texts=Lines()) as database:
        return database.tenant("acme").scrub(repair=repair)


@pytest.mark.parametrize("pattern", FILES)
@pytest.mark.parametrize("cut", [False, True])
def test_a_damaged_file_of_a_view_is_named_and_written_anew(
    root: Path, pattern: str, cut: bool
) -> None:
    (path,) = room_of(root, "acme").glob(pattern)
    if cut:
        path.write_bytes(path.read_bytes()[:-10])
    else:
        flip(path)
    report = scrubbed(root)
    assert [(one.where, one.repaired) for one in report.damages] == [(path.name, False)]
    assert report.snapshots == 3
    assert str(root) not in str(report)
    report = scrubbed(root, repair=True)
    assert [(one.where, one.repaired) for one in report.damages] == [(path.name, True)]
    assert report.is_sound
    with llmspell.open(root, texts=Lines()) as database:
        acme = database.tenant("acme")
        assert acme.scrub().damages == ()
        assert len(acme.search(np.ones(DIM), k=100)) == 23
        assert [hit.id for hit in acme.search(np.ones(DIM), filter={"n": 7})] == [7]


@pytest.mark.parametrize("pattern", FILES)
def test_a_file_of_a_view_is_written_anew_beside_the_open_view(root: Path, pattern: str) -> None:
    with llmspell.open(root, texts=Lines()) as database:
        acme = database.tenant("acme")
        assert [hit.id for hit in acme.search(np.ones(DIM), filter={"n": 7})] == [7]
        acme.upsert([99], vectors(1, DIM), [{"n": 99}])
        (path,) = room_of_open(acme).glob(pattern)
        # As a new file, for the old one is mapped.
        raw = path.read_bytes()
        path.unlink()
        path.write_bytes(raw)
        flip(path)
        assert [one.repaired for one in acme.scrub(repair=True).damages] == [True]
        assert acme.scrub().damages == ()
        assert [hit.id for hit in acme.search(np.ones(DIM), filter={"n": 99})] == [99]
        assert len(acme.search(np.ones(DIM), k=100)) == 24
    with llmspell.open(root, texts=Lines()) as database:
        assert len(database.tenant("acme").search(np.ones(DIM), k=100)) == 24


def room_of_open(tenant: Tenant) -> Path:
    return tenant._residence.path


def test_a_view_is_not_written_from_a_damaged_store(root: Path) -> None:
    with llmspell.open(root) as database:
        rewrite(database, b"vectors", flipped_value(pack_rowid(8)))
        rewrite(database, b"records", flipped_value(pack_rowid(8)))
    for pattern in FILES[:2]:
        for path in room_of(root, "acme").glob(pattern):
            flip(path)
    report = scrubbed(root, repair=True)
    assert len(report.damages) == 4
    assert not any(damage.repaired for damage in report.damages)


def of_another_version(path: Path) -> None:
    flip(path, 20)


UNOPENED: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: path.unlink(), "data.mdb is missing"),
    "no LMDB file": (lambda path: path.write_bytes(b"x" * 20_000), "INVALID"),
    "another version of LMDB": (of_another_version, "VERSION_MISMATCH"),
}


@pytest.mark.parametrize("how", UNOPENED)
def test_a_store_that_cannot_be_opened_is_a_damage(root: Path, how: str) -> None:
    change, what = UNOPENED[how]
    change(room_of(root, "acme") / "data.mdb")
    with llmspell.open(root) as database:
        report = database.scrub_tenant("acme", repair=True)
        assert [damage.where for damage in report.damages] == ["store"]
        assert what in report.damages[0].what
        assert str(root) not in str(report)
        whole = database.scrub()
        assert whole.tenants[0].damages == report.damages
        assert whole.tenants[1].damages == ()


def test_a_store_whose_format_is_damaged_is_named(root: Path) -> None:
    with llmspell.open(root) as database:
        rewrite(database, b"meta", flipped_value(b"about"))
    assert [damage.where for damage in scrubbed(root, repair=True).damages] == ["store"]


def test_a_damaged_catalog_is_named_and_other_tenants_are_scrubbed(root: Path) -> None:
    data = root / "catalog" / "data.mdb"
    raw = data.read_bytes()
    data.write_bytes(raw.replace(b"acme", b"acne"))
    with llmspell.open(root) as database:
        whole = database.scrub()
    assert whole.damages
    assert all(damage.where.startswith("catalog") for damage in whole.damages)
    assert [report.tenant_id for report in whole.tenants] == ["other"]
    assert not whole.is_sound


@shares_ledger
def test_a_damaged_header_of_the_ledger_is_named(root: Path) -> None:
    with llmspell.open(root) as database:
        assert database.scrub().damages == ()
        flip(root / "ledger", 70)
        assert [damage.where for damage in database.scrub().damages] == ["ledger"]
