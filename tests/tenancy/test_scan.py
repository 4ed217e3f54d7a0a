"""Scans give every record once, in the order of ids, page by page, whatever goes on beside them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import llmspell
from llmspell import Database, QuotaLimits, Record, ScanPage, Tenant, TenantConfig, errors
from tests.tenancy.texts import Lines

IDS = st.integers(-(1 << 63), (1 << 63) - 1) | st.text(min_size=1, max_size=20)


def vectors(count: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, 4)).astype(np.float32)


def pages(tenant: Tenant, **named: Any) -> Iterator[ScanPage]:
    page = tenant.scan(**named)
    yield page
    while page.cursor is not None:
        page = tenant.scan(cursor=page.cursor, **named)
        yield page


def records(tenant: Tenant, **named: Any) -> list[Record]:
    return [record for page in pages(tenant, **named) for record in page.records]


def in_order(ids: Any) -> list[int | str]:
    ints = sorted(one for one in ids if isinstance(one, int))
    return [*ints, *sorted((one for one in ids if isinstance(one, str)), key=str.encode)]


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(ids=st.sets(IDS, max_size=30), limit=st.integers(1, 31))
def test_pages_hold_every_record_once_in_the_order_of_ids(
    acme: Tenant, ids: set[int | str], limit: int
) -> None:
    acme.delete(filter={})
    acme.upsert(list(ids), vectors(len(ids)))
    found = list(pages(acme, limit=limit))
    assert [r.id for page in found for r in page.records] == in_order(ids)
    assert all(len(page.records) == limit for page in found[:-1])
    assert found[-1].records or not ids


def test_records_are_as_get_gives_them_and_vectors_can_be_left_out(acme: Tenant) -> None:
    acme.upsert([1, "a"], vectors(2), [{"n": 1}, None], [None, "text"], ttl=1_000)
    for scanned, got in zip(records(acme), acme.get([1, "a"]), strict=True):
        assert np.array_equal(scanned.vector, got.vector)
        assert (scanned.id, scanned.text, scanned.metadata) == (got.id, got.text, got.metadata)
        assert (scanned.created_at, scanned.expires_at) == (got.created_at, got.expires_at)
    assert [r.vector.shape for r in records(acme, vectors=False)] == [(0,), (0,)]


def test_an_empty_tenant_has_one_empty_page(acme: Tenant) -> None:
    assert acme.scan() == ScanPage(records=[], cursor=None)
    assert acme.scan(filter={"n": 1}) == ScanPage(records=[], cursor=None)


@pytest.mark.parametrize("limit", [1, 7, 3_000])
def test_a_filter_keeps_what_matches(acme: Tenant, limit: int) -> None:
    acme.upsert(range(2_500), vectors(2_500), [{"n": i} for i in range(2_500)])
    condition = {"n": {"$in": [0, 3, 1_023, 1_024, 1_025, 2_047, 2_048, 2_499]}}
    found = records(acme, filter=condition, limit=limit)
    assert [r.id for r in found] == [0, 3, 1_023, 1_024, 1_025, 2_047, 2_048, 2_499]
    assert records(acme, filter={"n": -1}, limit=limit) == []


def test_expired_records_are_left_out(acme: Tenant) -> None:
    acme.upsert(range(4), vectors(4), [{"n": i} for i in range(4)])
    acme.upsert([1, 3], vectors(2), [{"n": 1}, {"n": 3}], ttl=1e-6)
    assert [r.id for r in records(acme, limit=1)] == [0, 2]
    assert [r.id for r in records(acme, filter={"n": {"$gte": 1}})] == [2]


def test_a_cursor_goes_on_after_the_database_was_opened_again(db: Database, acme: Tenant) -> None:
    acme.upsert(range(10), vectors(10))
    cursor = acme.scan(limit=4).cursor
    db.close()
    with llmspell.open(db.path, texts=Lines()) as again:
        assert [r.id for r in again.tenant("acme").scan(cursor=cursor).records] == [*range(4, 10)]


def test_the_record_that_a_cursor_names_may_go(acme: Tenant) -> None:
    acme.upsert(range(6), vectors(6))
    cursor = acme.scan(limit=3).cursor
    acme.delete([1, 2, 3])
    assert [r.id for r in acme.scan(cursor=cursor).records] == [4, 5]


def test_every_damage_to_a_cursor_is_seen(acme: Tenant) -> None:
    acme.upsert(["ab", "b"], vectors(2))
    cursor = acme.scan(limit=1).cursor
    assert cursor is not None
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/ é"
    for at in range(len(cursor)):
        for other in set(alphabet) - {cursor[at]}:
            with pytest.raises(errors.InvalidCursor):
                acme.scan(cursor=cursor[:at] + other + cursor[at + 1 :])
    for wrong in ("", cursor[:-1], cursor + "A", cursor + "=", cursor * 100, 7, b"AAAA"):
        with pytest.raises(errors.InvalidCursor):
            acme.scan(cursor=wrong)  # type: ignore[arg-type]


def test_a_cursor_of_another_or_a_former_tenant_is_refused(db: Database, acme: Tenant) -> None:
    acme.upsert(range(4), vectors(4))
    cursor = acme.scan(limit=2).cursor
    other = db.create_tenant(TenantConfig(id="acme-corp", quotas=QuotaLimits.unlimited()))
    other.upsert(range(4), vectors(4))
    with pytest.raises(errors.InvalidCursor, match="another tenant"):
        other.scan(cursor=cursor)
    db.drop_tenant("acme")
    again = db.create_tenant(TenantConfig(id="acme", quotas=QuotaLimits.unlimited()))
    with pytest.raises(errors.InvalidCursor, match="made again"):
        again.scan(cursor=cursor)


@pytest.mark.parametrize("limit", [0, -1, 100_001, True, 1.5, "3"])
def test_a_limit_out_of_range_is_refused(acme: Tenant, limit: Any) -> None:
    with pytest.raises(errors.InputError, match="limit"):
        acme.scan(limit=limit)


@pytest.mark.parametrize("condition", [None, {"stays": True}])
def test_what_stays_comes_once_while_others_write(
    acme: Tenant, condition: dict[str, bool] | None
) -> None:
    acme.upsert(range(0, 400, 2), vectors(200), [{"stays": True}] * 200)
    is_done = threading.Event()

    def write() -> None:
        turn = 0
        while not is_done.is_set():
            odd = [(turn * 2 + 1) % 400, (turn * 14 + 3) % 400]
            acme.upsert(list(set(odd)), vectors(len(set(odd))), [{"stays": False}] * len(set(odd)))
            # Replaced, these have other rows: a filter must follow them there.
            acme.upsert([turn * 2 % 400], vectors(1), [{"stays": True}])
            acme.delete([(turn * 6 + 1) % 400])
            turn += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(5):
            found = [r.id for r in records(acme, filter=condition, limit=17)]
            assert [i for i in found if isinstance(i, int) and i % 2 == 0] == [*range(0, 400, 2)]
            assert found == sorted(set(found), key=int)
    finally:
        is_done.set()
        writer.join()
