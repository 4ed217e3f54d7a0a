"""Writes cut short by an exception from elsewhere: each is there as a whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llmspell
from llmspell import Database, Index, QuotaLimits, Tenant, TenantConfig, errors
from llmspell.storage.environment import Environment
from llmspell.storage.member import Member
from llmspell.storage.payload import PayloadIndex
from llmspell.storage.store import TenantStore
from llmspell.storage.transaction import Transaction
from llmspell.storage.view import VectorView
from llmspell.storage.views import Views
from llmspell.storage.write import Write

VECTORS = np.random.default_rng(2).standard_normal((40, 8)).astype(np.float32)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with llmspell.open(tmp_path / "data") as database:
        yield database


@pytest.fixture
def acme(db: Database) -> Tenant:
    tenant = db.create_tenant(TenantConfig(id="acme", quotas=QuotaLimits.unlimited()))
    put(tenant, range(10))
    tenant.search(VECTORS[0], filter={"even": True})
    return tenant


def put(tenant: Tenant, ids: range, shift: int = 0) -> None:
    tenant.upsert(
        ids,
        VECTORS[[i + shift for i in ids]],
        [{"even": i % 2 == 0} for i in ids],
        [f"text {i + shift}" for i in ids],
    )


def check(tenant: Tenant, shifts: dict[int, int]) -> None:
    """All of the records, in every view, and their number in the ledger."""
    assert tenant.count() == tenant.usage().vectors.used == len(shifts)
    records = tenant.get(list(shifts))
    assert tenant.usage().storage.used == sum(
        record.vector.nbytes + len(record.text or "") + 9 + 7 for record in records
    )
    for record, (i, shift) in zip(records, shifts.items(), strict=True):
        assert (record.text, record.metadata) == (f"text {i + shift}", {"even": i % 2 == 0})
        assert tenant.search(VECTORS[i + shift], k=1)[0].id == i
    assert {hit.id for hit in tenant.search(VECTORS[0], k=99)} == shifts.keys()
    even = tenant.search(VECTORS[0], k=99, filter={"even": True})
    assert sorted(hit.id for hit in even) == sorted(i for i in shifts if i % 2 == 0)


def cut_transaction(self: Environment, body: Callable[[Transaction], Any]) -> None:
    WRITE(self, body)
    raise KeyboardInterrupt


WRITE = Environment.write


def interrupted(target: type, name: str, *, before: bool) -> tuple[type, str, Any]:
    original = getattr(target, name)

    def cut(*given: Any, **named: Any) -> Any:
        if not before:
            original(*given, **named)
        raise KeyboardInterrupt

    return target, name, cut


CUTS = [
    (Environment, "write", cut_transaction),
    interrupted(TenantStore, "apply", before=False),
    interrupted(Index, "add", before=True),
    interrupted(Index, "add", before=False),
    interrupted(VectorView, "add", before=False),
    interrupted(PayloadIndex, "add_many", before=True),
    interrupted(PayloadIndex, "add_many", before=False),
    interrupted(PayloadIndex, "remove_rows", before=False),
    interrupted(Index, "delete", before=True),
    interrupted(VectorView, "finish", before=False),
]


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("seen_first", [None, check])
def test_write_cut_short_after_its_commit_is_there_as_a_whole(
    db: Database,
    acme: Tenant,
    cut: tuple[type, str, Any],
    seen_first: Callable[[Tenant, dict[int, int]], None] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shifts = {**dict.fromkeys(range(10), 0), **dict.fromkeys(range(5, 15), 20)}
    with monkeypatch.context() as patch:
        patch.setattr(*cut)
        with pytest.raises(KeyboardInterrupt):
            put(acme, range(5, 15), shift=20)
    if seen_first:
        seen_first(acme, shifts)
    put(acme, range(15, 18))
    shifts.update(dict.fromkeys(range(15, 18), 0))
    check(acme, shifts)
    acme.delete(range(15, 18))  # type: ignore[arg-type]
    for i in range(15, 18):
        del shifts[i]
    check(acme, shifts)
    acme.close()
    check(db.tenant("acme"), shifts)


@pytest.mark.parametrize("cut", CUTS[:5])
def test_first_write_cut_short_is_there_as_a_whole(
    db: Database, cut: tuple[type, str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    new = db.create_tenant(TenantConfig(id="new", quotas=QuotaLimits.unlimited()))
    new.count()
    with monkeypatch.context() as patch:
        patch.setattr(*cut)
        with pytest.raises(KeyboardInterrupt):
            put(new, range(5))
    check(new, dict.fromkeys(range(5), 0))


def test_write_cut_short_before_its_commit_is_not_there(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(*interrupted(llmspell.storage.batch.Batch, "write", before=False))
        with pytest.raises(KeyboardInterrupt):
            put(acme, range(5, 15), shift=20)
    check(acme, dict.fromkeys(range(10), 0))


def test_delete_cut_short_after_its_commit_gives_its_quota_back(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Environment, "write", cut_transaction)
        with pytest.raises(KeyboardInterrupt):
            acme.delete([0, 1])
    check(acme, dict.fromkeys(range(2, 10), 0))


def test_views_that_cannot_follow_at_once_follow_later(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(Index, "add", fail)
        with pytest.raises(MemoryError):
            put(acme, range(10, 12))
        with pytest.raises(MemoryError):
            acme.search(VECTORS[0])
    check(acme, dict.fromkeys(range(12), 0))


def test_interrupt_while_the_views_catch_up_is_made_good_too(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Environment, "write", cut_transaction)
        # The views catch up behind the cut, and the cut reaches into that.
        patch.setattr(*interrupted(Views, "catch_up", before=True))
        with pytest.raises(KeyboardInterrupt):
            put(acme, range(10, 12))
    put(acme, range(12, 14))
    check(acme, dict.fromkeys(range(14), 0))


def test_row_that_is_there_already_is_named_and_nothing_is_written(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = acme._enter()
    counters = room.store.counters()
    with monkeypatch.context() as patch:
        patch.setattr(TenantStore, "_counters", lambda *_: counters._replace(next_rowid=3))
        with pytest.raises(errors.CorruptFile, match="records: 2 entries from 3 on"):
            room.store.apply([Member(Write(puts=puts(2), vectors=VECTORS[:2]))], 0)
    check(acme, dict.fromkeys(range(10), 0))


def puts(count: int) -> list[llmspell.storage.Put]:
    one = VECTORS[0].tobytes()
    return [
        llmspell.storage.Put(llmspell.storage.encode_id(f"new {i}"), b"\x80", None, one)
        for i in range(count)
    ]
