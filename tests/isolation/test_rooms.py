"""Tenants never see each other, whatever they are called."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import llmspell
from llmspell import Database, Document, QuotaLimits, Tenant, TenantConfig, errors
from tests.tenancy.texts import DIM, Lines, embed

NAMES = [
    "acme",
    "acme-corp",
    "acme/corp",
    "acme\\corp",
    "acme.",
    "acme ",
    " acme",
    "ACME",
    "Acme",
    "..",
    ".",
    "/",
    "../acme",
    "/etc/passwd",
    "con",
    "a\nb",
    "*",
    "%2e%2e",
    unicodedata.normalize("NFC", "café"),
    unicodedata.normalize("NFD", "café"),
    "ｃａｆｅ",
    "straße",
    "STRASSE",
    "İstanbul",
    "\u202eacme",
    "a\u200bcme",
    "аcme",
    "租户",
    "🦀",
    "x" * 128,
    "🦀" * 128,
]


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with llmspell.open(tmp_path / "data", texts=Lines()) as database:
        yield database


def create(db: Database, name: str) -> Tenant:
    return db.create_tenant(TenantConfig(id=name, quotas=QuotaLimits.unlimited()))


def test_names_that_look_alike_are_different_rooms(db: Database) -> None:
    vectors = np.random.default_rng(0).standard_normal((len(NAMES), DIM)).astype(np.float32)
    for number, name in enumerate(NAMES):
        tenant = create(db, name)
        tenant.upsert(["same-id"], vectors[number : number + 1], [{"n": number}], [f"of {number}"])
    assert sorted(info.id for info in db.tenants()) == sorted(NAMES)
    root = db.path
    db.close()
    with llmspell.open(root) as again:
        for number, name in enumerate(NAMES):
            tenant = again.tenant(name)
            assert tenant.id == name
            hits = tenant.search(vectors[0], k=50)
            assert [(hit.id, hit.text) for hit in hits] == [("same-id", f"of {number}")]
            assert tenant.get("same-id").metadata == {"n": number}
            assert tenant.usage().vectors.used == 1
            tenant.close()


def test_names_never_become_paths(db: Database, tmp_path: Path) -> None:
    for name in NAMES:
        create(db, name).upsert([1], embed(["x"]))
    assert {path.name for path in tmp_path.iterdir()} == {"data"}
    assert {path.name for path in db.path.iterdir()} == {
        "catalog",
        "catalog.lock",
        "staging",
        "staging.lock",
        "ledger",
        "ledger.lock",
        "tenants",
    }
    rooms = list(db.path.glob("tenants/*/*"))
    assert len(rooms) == len(NAMES)
    for room in rooms:
        assert set(room.name) <= set("0123456789abcdef")
        assert len(room.name) == 32
        assert room.parent.name == room.name[:2]


@pytest.mark.parametrize("name", ["", "x" * 129, "a\0b", "\ud800", 7, None])
def test_names_that_are_none_are_refused(db: Database, name: object) -> None:
    with pytest.raises(errors.ConfigError):
        TenantConfig(id=name)  # type: ignore[arg-type]
    with pytest.raises((errors.TenantNotFound, errors.InputError)):
        db.tenant(name)  # type: ignore[arg-type]


def test_nothing_of_one_tenant_reaches_the_other(db: Database) -> None:
    acme, corp = create(db, "acme"), create(db, "acme-corp")
    acme.upsert(["shared", "secret-id"], embed(["a", "b"]), [{"k": "secret"}] * 2, ["secret"] * 2)
    corp.upsert(["shared"], embed(["a"]), [{"k": "open"}], ["open"])
    acme.ingest(Document("doc", "secret line", {"k": "secret"}))

    assert [hit.text for hit in corp.search("a", k=50)] == ["open"]
    assert corp.search("a", k=50, filter={"k": "secret"}) == []
    assert [hit.text for hits in corp.search(["a", "b"], k=50) for hit in hits] == ["open"] * 2
    for call in (lambda: corp.get("secret-id"), lambda: corp.get(["shared", "doc#0"])):
        with pytest.raises(errors.IdNotFound) as caught:
            call()
        assert "secret-id" in str(caught.value) or "doc#0" in str(caught.value)
        assert "secret line" not in str(caught.value)
    assert corp.delete(["secret-id", "doc", "doc#0"]) == 0
    assert (acme.count(), corp.count()) == (3, 1)
    assert corp.usage().documents.used == 0
    corp.delete(["shared"])
    assert acme.get("shared").text == "secret"


def test_quota_of_one_tenant_is_not_used_by_the_other(db: Database) -> None:
    small = db.create_tenant(TenantConfig(id="a", quotas=QuotaLimits(max_vectors=2)))
    other = db.create_tenant(TenantConfig(id="b", quotas=QuotaLimits(max_vectors=2)))
    small.upsert(range(2), embed(["x", "y"]))
    with pytest.raises(errors.QuotaExceeded):
        small.upsert([2], embed(["z"]))
    other.upsert(range(2), embed(["x", "y"]))
    assert other.usage().vectors.used == 2


def test_tenants_may_differ_in_dimension_and_metric(db: Database) -> None:
    one = db.create_tenant(TenantConfig(id="one", metric="l2"))
    two = db.create_tenant(TenantConfig(id="two", metric="ip"))
    one.upsert([1], np.ones((1, 3), dtype=np.float32))
    two.upsert([1], np.ones((1, 5), dtype=np.float32))
    assert one.search(np.ones(3, dtype=np.float32))[0].distance == 0
    assert two.search(np.ones(5, dtype=np.float32))[0].score == 5


def test_dropped_tenant_takes_nothing_of_others_with_it(db: Database) -> None:
    acme, corp = create(db, "acme"), create(db, "acme-corp")
    acme.upsert([1], embed(["secret"]), texts=["the-secret-of-acme"])
    corp.upsert([1], embed(["open"]), texts=["open"])
    db.drop_tenant("acme")
    assert corp.get(1).text == "open"
    again = create(db, "acme")
    assert again.search(embed(["secret"])[0]) == []
    assert "the-secret-of-acme" not in db.metrics()
    for path in db.path.rglob("*"):
        assert path.is_dir() or b"the-secret-of-acme" not in path.read_bytes()


def test_threads_in_many_rooms_do_not_mix_them_up(db: Database) -> None:
    tenants = [create(db, f"t{i}") for i in range(4)]
    failures: list[object] = []

    def work(number: int) -> None:
        tenant = tenants[number]
        rng = np.random.default_rng(number)
        for step in range(15):
            tenant.upsert(
                [f"r{step}"],
                rng.standard_normal((1, DIM)).astype(np.float32),
                [{"owner": number}],
                [f"of {number}"],
            )
            query = rng.standard_normal(DIM).astype(np.float32)
            hits = tenant.search(query, k=50, filter={"owner": number})
            if len(hits) != step + 1 or {hit.text for hit in hits} != {f"of {number}"}:
                failures.append((number, step, len(hits)))
            if tenant.search(query, filter={"owner": (number + 1) % 4}):
                failures.append((number, step))

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures
    assert [tenant.count() for tenant in tenants] == [15] * 4
