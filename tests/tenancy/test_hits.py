"""Hits are read when they are looked at: one moment, no earlier than the search."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import llmspell
from llmspell import Database, Hits, QuotaLimits, Tenant, TenantConfig, errors

VECTORS = np.eye(8, dtype=np.float32) + 0.1


def fill(tenant: Tenant) -> None:
    tenant.upsert(range(8), VECTORS, [{"n": i} for i in range(8)], [f"text {i}" for i in range(8)])


LOOKS: dict[str, Callable[[Hits], object]] = {
    "len": len,
    "item": lambda hits: hits[0],
    "slice": lambda hits: hits[:2],
    "iteration": list,
    "ids": lambda hits: hits.ids,
    "scores": lambda hits: hits.scores,
    "repr": repr,
    "in": lambda hits: None in hits,
    "reversed": lambda hits: list(reversed(hits)),
}


def test_hits_of_a_tenant_without_records_are_none(acme: Tenant) -> None:
    for _ in range(2):  # the room is open the second time
        assert list(acme.search(VECTORS[0])) == []


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS.keys())
def test_first_look_reads_and_later_writes_change_nothing(
    acme: Tenant, look: Callable[[Hits], object]
) -> None:
    fill(acme)
    hits = acme.search(VECTORS[3], k=3)
    look(hits)
    acme.delete(range(8))  # type: ignore[arg-type]
    assert next(iter(hits)).text == "text 3"
    assert (len(hits), hits.ids[0], hits[0].metadata) == (3, 3, {"n": 3})
    assert hits.scores.dtype == np.float32
    assert hits.scores.tolist() == pytest.approx([hit.score for hit in hits])


def test_record_that_goes_before_the_look_is_made_up_for(acme: Tenant) -> None:
    fill(acme)
    query = VECTORS[3].copy()
    hits = acme.search(query, k=3)
    query[:] = VECTORS[6]  # what was asked for is what was given then
    acme.delete(3)
    acme.upsert(1, VECTORS[3], texts="new")
    assert (len(hits), hits[0].id, hits[0].text) == (3, 1, "new")
    assert 3 not in hits.ids


WAYS: dict[str, Callable[[Tenant, np.ndarray], Hits]] = {
    "as is": lambda tenant, query: tenant.search(query, k=3),
    "eventual": lambda tenant, query: tenant.search(query, k=3, consistency="eventual"),
    "of another width": lambda tenant, query: tenant.search(query, k=3, ef_search=50),
    "with recall": lambda tenant, query: tenant.search(query, k=3, recall=0.9),
    "with a threshold": lambda tenant, query: tenant.search(query, k=3, threshold=-1.0),
    "more than there are": lambda tenant, query: tenant.search(query, k=300),
    "of float64": lambda tenant, query: tenant.search(query.astype(np.float64), k=3),
    "with steps": lambda tenant, query: tenant.search(np.repeat(query, 2)[::2], k=3),
}


@pytest.mark.parametrize("search", WAYS.values(), ids=WAYS.keys())
def test_search_made_again_asks_what_was_asked(
    acme: Tenant, search: Callable[[Tenant, np.ndarray], Hits]
) -> None:
    fill(acme)
    seen, again = (search(acme, VECTORS[3]) for _ in range(2))
    expected = [(one.id, one.score) for one in seen]
    assert expected[0] == (3, pytest.approx(1.0))
    acme.delete(3)
    acme.upsert("three", VECTORS[3])
    found = [(one.id, one.score) for one in again]
    assert found == [("three" if id == 3 else id, pytest.approx(score)) for id, score in expected]


def test_only_hits_that_are_there_and_unread_wait_to_be_read(acme: Tenant) -> None:
    fill(acme)
    kept = [acme.search(VECTORS[i], k=1) for i in range(6)]
    assert [len(kept[i]) for i in (0, 3)] == [1, 1]
    del kept[1], kept[-1]
    room = acme._enter()
    waiting = room.unread.close()
    assert sorted(hit.id for one in waiting for hit in one.look()) == [2, 4]
    # From now on they read their own.
    assert room.unread.close() == []
    late = acme.search(VECTORS[7], k=1)
    acme.delete(7)
    assert late.ids == [7]


def test_hits_never_given_any_are_none() -> None:
    assert list(Hits.__new__(Hits)) == []


def test_hits_outlive_their_tenant_and_its_database(tmp_path: Path) -> None:
    with llmspell.open(tmp_path / "data") as db:
        tenant = db.create_tenant(TenantConfig(id="a", quotas=QuotaLimits.unlimited()))
        fill(tenant)
        many = [tenant.search(VECTORS[i % 8], k=2) for i in range(600)]
        kept = many[::50]
        del many
    assert [hits[0].id for hits in kept] == [i % 8 for i in range(0, 600, 50)]


def test_hits_not_looked_at_before_the_drop_are_gone(db: Database, acme: Tenant) -> None:
    fill(acme)
    seen, unseen = acme.search(VECTORS[0], k=1), acme.search(VECTORS[0], k=1)
    assert seen[0].id == 0
    db.drop_tenant("acme")
    assert seen[0].text == "text 0"
    with pytest.raises(errors.TenantNotFound):
        len(unseen)


def test_hits_compare_as_lists_do(acme: Tenant) -> None:
    assert acme.search(VECTORS[0]) == []
    fill(acme)
    hits = acme.search(VECTORS[0], k=2)
    assert hits == list(hits)
    assert hits == tuple(hits)
    assert hits != []
    assert hits != "text"
    with pytest.raises(TypeError):
        hash(hits)


@pytest.mark.parametrize("consistency", ["strong", "eventual"])
def test_own_writes_are_seen_at_either_consistency(acme: Tenant, consistency: str) -> None:
    fill(acme)
    hits = acme.search(VECTORS[5], k=1, consistency=consistency)  # type: ignore[call-overload]
    assert hits[0].id == 5


def test_unknown_consistency_is_refused(acme: Tenant) -> None:
    with pytest.raises(errors.InputError, match="consistency"):
        acme.search(VECTORS[0], consistency="some")  # type: ignore[call-overload]


def test_queries_are_charged_by_the_second(db: Database) -> None:
    quotas = QuotaLimits(max_queries_per_second=3, max_api_calls_per_minute=None)
    tenant = db.create_tenant(TenantConfig(id="q", quotas=quotas))
    fill(tenant)
    tenant.search(VECTORS[:3], k=1)
    with pytest.raises(errors.QuotaExceeded, match="max_queries_per_second") as refused:
        tenant.search(VECTORS[0], k=1)
    assert refused.value.retry_after is not None
    assert 0 < refused.value.retry_after <= 1
