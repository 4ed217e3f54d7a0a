"""What changes records beside upsert: insert, update_metadata, delete by filter, and time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

import llmspell
from llmspell import Database, IndexParams, QuotaLimits, Tenant, TenantConfig, errors
from llmspell.quota import Ledger

VECTORS = np.random.default_rng(1).standard_normal((60, 8)).astype(np.float32)
HOUR_US = 3_600_000_000


def fill(tenant: Tenant, count: int = 10) -> None:
    tenant.upsert(
        range(count),
        VECTORS[:count],
        [{"n": i, "even": i % 2 == 0} for i in range(count)],
        [f"text {i}" for i in range(count)],
    )


def found(tenant: Tenant, condition: dict[str, object] | None = None) -> list[object]:
    return sorted(hit.id for hit in tenant.search(VECTORS[0], k=100, filter=condition))


class Clock:
    """Moves the ledger's calendar as the tenants see it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead_us = 0
        original = Ledger.utc_ns

        def utc_ns(ledger: Ledger) -> int:
            return original(ledger) + 1_000 * self.ahead_us

        monkeypatch.setattr(Ledger, "utc_ns", utc_ns, raising=False)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


# --- insert


def test_insert_of_an_id_that_is_there_writes_nothing(acme: Tenant) -> None:
    acme.insert(["a", "b"], VECTORS[:2], texts=["first", "second"])
    with pytest.raises(errors.DuplicateId, match="'b' there already"):
        acme.insert(["c", "b"], VECTORS[2:4])
    assert acme.count() == acme.usage().vectors.used == 2
    assert acme.get("b").text == "second"
    acme.insert("c", VECTORS[2])
    assert found(acme) == ["a", "b", "c"]


def test_insert_of_one_id_twice_writes_nothing(acme: Tenant) -> None:
    with pytest.raises(errors.DuplicateId, match="twice"):
        acme.insert([1, 2, 1], VECTORS[:3])
    assert acme.count() == 0


# --- update_metadata


def test_update_sets_the_keys_it_has_and_leaves_the_rest(acme: Tenant) -> None:
    fill(acme)
    before = acme.get(4)
    found(acme, {"even": True})  # the payload index is there, and must follow
    acme.update_metadata(4, {"even": False, "seen": "yes"})
    after = acme.get(4)
    assert after.metadata == {"n": 4, "even": False, "seen": "yes"}
    assert (after.text, after.created_at) == (before.text, before.created_at)
    assert after.updated_at > before.updated_at
    assert np.array_equal(after.vector, before.vector)
    assert found(acme, {"even": True}) == [0, 2, 6, 8]
    assert found(acme, {"seen": "yes"}) == [4]
    assert acme.search(VECTORS[4], k=1)[0].metadata["seen"] == "yes"


def test_update_can_replace_all_metadata(acme: Tenant) -> None:
    fill(acme)
    acme.update_metadata([1, 2], [{"x": 1}, {}], replace=True)
    assert [record.metadata for record in acme.get([1, 2])] == [{"x": 1}, {}]
    assert found(acme, {"n": {"$exists": False}}) == [1, 2]


def test_update_of_a_missing_id_changes_nothing(acme: Tenant) -> None:
    fill(acme)
    with pytest.raises(errors.IdNotFound, match="99"):
        acme.update_metadata([1, 99], [{"n": -1}, {"n": -1}])
    assert acme.get(1).metadata["n"] == 1


def test_storage_follows_the_metadata(acme: Tenant) -> None:
    fill(acme, 1)
    before = acme.usage().storage.used
    acme.update_metadata(0, {"note": "x" * 100})
    assert acme.usage().storage.used == before + len("note") + 1 + 100 + 2
    acme.delete(0)
    assert acme.usage().storage.used == 0


def test_update_beyond_the_storage_quota_is_refused(db: Database) -> None:
    quotas = QuotaLimits(max_storage_mb=1, max_api_calls_per_minute=None)
    tenant = db.create_tenant(TenantConfig(id="small", quotas=quotas))
    fill(tenant)
    with pytest.raises(errors.QuotaExceeded, match="max_storage_mb"):
        tenant.update_metadata(3, {"note": "x" * (1 << 20)})
    assert tenant.get(3).metadata == {"n": 3, "even": False}


def test_updates_are_there_after_opening_again(tmp_path: Path) -> None:
    with llmspell.open(tmp_path / "data") as db:
        tenant = db.create_tenant(TenantConfig(id="a", quotas=QuotaLimits.unlimited()))
        fill(tenant)
        found(tenant, {"n": 3})
    with llmspell.open(tmp_path / "data") as db:
        tenant = db.tenant("a")
        for n in (30, 31, 32):
            tenant.update_metadata(3, {"n": n})
        db.tenant("a")._enter().views.close(snapshot=False, has_written=True)
    with llmspell.open(tmp_path / "data") as db:
        tenant = db.tenant("a")
        assert found(tenant, {"n": {"$gte": 10}}) == [3]
        assert found(tenant, {"n": 3}) == found(tenant, {"n": 31}) == []


def test_update_leaves_what_leads_from_a_chunk_to_its_document(acme: Tenant) -> None:
    acme.ingest(llmspell.Document("d", "one\ntwo"))
    acme.update_metadata("d#0", {"x": 1, "document": "other"}, replace=True)
    placed = {"document": "d", "source": "d", "version": 1, "start": 0, "end": 3}
    assert acme.get("d#0").metadata == {"x": 1} | placed
    assert acme.delete(["d#0"]) == 1
    assert acme.delete("d") == 1
    assert acme.usage().documents.used == 0


# --- delete by filter


def test_delete_by_filter_removes_what_matches(acme: Tenant) -> None:
    fill(acme)
    assert acme.delete(filter={"n": {"$gte": 3}, "even": True}) == 3
    assert found(acme) == [0, 1, 2, 3, 5, 7, 9]
    assert acme.delete(filter={"n": 77}) == 0
    assert acme.delete(filter={}) == 7
    assert acme.count() == acme.usage().vectors.used == 0


def test_delete_takes_ids_or_a_filter(acme: Tenant) -> None:
    with pytest.raises(errors.InputError, match="ids or a filter"):
        acme.delete()
    with pytest.raises(errors.InputError, match="ids or a filter"):
        acme.delete([1], filter={"n": 1})
    with pytest.raises(errors.FilterError):
        acme.delete(filter={"n": {"$over": 1}})


# --- time to live


@pytest.mark.parametrize("threshold", [0, 2_000])
def test_expired_records_are_in_no_answer(db: Database, clock: Clock, threshold: int) -> None:
    tenant = db.create_tenant(
        TenantConfig(
            id="t",
            quotas=QuotaLimits.unlimited(),
            index=IndexParams(graph_threshold=threshold),
        )
    )
    fill(tenant)
    tenant.upsert([20, 21], VECTORS[20:22], [{"n": 20}, {"n": 21}], ttl=3_600)
    tenant.upsert([22], VECTORS[22:23], [{"n": 22}], ttl=timedelta(hours=3))
    lives = tenant.get(20).expires_at
    assert lives is not None
    assert timedelta(minutes=59) < lives - datetime.now(UTC) <= timedelta(hours=1)
    assert tenant.get(1).expires_at is None
    assert found(tenant, {"n": {"$gte": 9}}) == [9, 20, 21, 22]
    clock.ahead_us = 2 * HOUR_US
    assert found(tenant, {"n": {"$gte": 9}}) == [9, 22]
    assert found(tenant) == [*range(10), 22]
    assert tenant.count() == 11
    with pytest.raises(errors.IdNotFound):
        tenant.get(20)
    with pytest.raises(errors.IdNotFound):
        tenant.update_metadata(20, {"n": 0})
    assert tenant.delete([20, 22]) == 1
    assert found(tenant) == [*range(10)]


def test_expired_id_can_be_inserted_anew(acme: Tenant, clock: Clock) -> None:
    acme.insert("a", VECTORS[0], ttl=10)
    first = acme.get("a").created_at
    with pytest.raises(errors.DuplicateId):
        acme.insert("a", VECTORS[1])
    clock.ahead_us = HOUR_US
    acme.insert("a", VECTORS[1])
    record = acme.get("a")
    assert np.array_equal(record.vector, VECTORS[1])
    assert record.created_at > first
    assert record.expires_at is None


def test_next_write_gives_back_what_expired_records_held(db: Database, clock: Clock) -> None:
    quotas = QuotaLimits(max_vectors=3, max_api_calls_per_minute=None)
    tenant = db.create_tenant(TenantConfig(id="small", quotas=quotas))
    tenant.upsert([1, 2, 3], VECTORS[:3], ttl=10)
    with pytest.raises(errors.QuotaExceeded):
        tenant.upsert([4], VECTORS[:1])
    clock.ahead_us = HOUR_US
    tenant.upsert([4, 5, 6], VECTORS[:3])
    assert tenant.usage().vectors.used == tenant.count() == 3


def test_expired_records_stay_away_after_opening_again(tmp_path: Path, clock: Clock) -> None:
    config = TenantConfig(id="a", quotas=QuotaLimits.unlimited())
    with llmspell.open(tmp_path / "data") as db:
        tenant = db.create_tenant(config)
        fill(tenant)
        tenant.upsert([20], VECTORS[20:21], ttl=10)
    clock.ahead_us = HOUR_US
    for _ in range(2):
        with llmspell.open(tmp_path / "data") as db:
            tenant = db.tenant("a")
            assert (found(tenant), tenant.count()) == ([*range(10)], 10)
    with llmspell.open(tmp_path / "data") as db:
        tenant = db.tenant("a")
        tenant.delete(3)
        assert tenant.usage().vectors.used == tenant.count() == 9


@pytest.mark.parametrize("ttl", [0, -1, True, "1h", float("nan"), 1e12])
def test_time_to_live_that_is_none_is_refused(acme: Tenant, ttl: object) -> None:
    with pytest.raises(errors.InputError, match="ttl"):
        acme.upsert("a", VECTORS[0], ttl=ttl)  # type: ignore[arg-type]
    assert acme.count() == 0
