"""A tenant's state: values and lists under keys, durable, charged, and counted."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import llmspell
from llmspell import Database, QuotaLimits, Tenant, TenantConfig, errors
from llmspell.state import (
    MAX_VALUE_BYTES,
    NOTHING,
    Append,
    AsyncState,
    Check,
    CheckLength,
    Delete,
    Set,
    State,
    StateItem,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.text("ab€", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("kl"), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.lists(st.sampled_from(["a", "ab", "b", 1, 2]), min_size=1, max_size=3).map(tuple)
EDITS = st.one_of(
    st.builds(Set, KEYS, VALUES),
    st.builds(Append, KEYS, st.lists(VALUES, max_size=3)),
    st.builds(Delete, KEYS),
    st.builds(Check, KEYS, st.just(NOTHING) | VALUES),
    st.builds(CheckLength, KEYS, st.integers(0, 2)),
)


class Model:
    """What the state should be: a dict, whose lists are tuples."""

    def __init__(self) -> None:
        self.held: dict[Any, Any] = {}

    def write(self, edits: list[Any]) -> bool:
        held = dict(self.held)
        for edit in edits:
            there = held.get(edit.key, NOTHING)
            if isinstance(edit, Set):
                held[edit.key] = edit.value
            elif isinstance(edit, Delete):
                held.pop(edit.key, None)
            elif isinstance(edit, Append):
                if there is not NOTHING and not isinstance(there, tuple):
                    return False
                if edit.values:
                    held[edit.key] = (() if there is NOTHING else there) + tuple(edit.values)
            elif isinstance(edit, CheckLength):
                held_items = there if isinstance(there, tuple) else () if there is NOTHING else None
                if held_items is None or len(held_items) != edit.length:
                    return False
            else:
                is_one_there = (there is NOTHING) != (edit.value is NOTHING)
                if isinstance(there, tuple) or is_one_there or there != edit.value:
                    return False
        self.held = held
        return True

    def items(self) -> list[StateItem]:
        ranked = sorted(self.held, key=lambda key: [(isinstance(p, int), p) for p in key])
        return [
            StateItem(key, None, len(value))
            if isinstance(value := self.held[key], tuple)
            else StateItem(key, value)
            for key in ranked
        ]


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None
)
@given(writes=st.lists(st.lists(EDITS, max_size=4), max_size=12), prefix=KEYS)
def test_state_is_what_a_dict_would_be(acme: Tenant, writes: list[Any], prefix: Any) -> None:
    state, model = acme.state, Model()
    state.clear(())
    for edits in writes:
        if model.write(edits):
            state.write(edits)
        else:
            with pytest.raises(errors.StateConflict):
                state.write(edits)
    assert list(state.scan().items) == model.items()
    for key, value in model.held.items():
        if isinstance(value, tuple):
            assert state.items(key).values == value
            assert state.items(key, -2, 1).values == value[-2:][:1]
    below = [item for item in model.items() if item.key[: len(prefix)] == prefix]
    assert list(state.scan(prefix).items) == below
    paged, after = [], None
    while True:
        page = state.scan(prefix, after=after, limit=2)
        paged += page.items
        if (after := page.after) is None:
            break
    assert paged == below
    report = acme.scrub()
    assert report.is_sound and report.is_recounted
    assert state.clear(prefix) == len(below)
    state.clear(())
    assert acme.usage().storage.used == 0


def test_a_scan_from_before_its_prefix_gives_the_prefix_too(acme: Tenant) -> None:
    for key in ("a", "b", ("b", 1), "c"):
        acme.state.set(key, 0)
    assert [item.key for item in acme.state.scan("b", after="a").items] == [("b",), ("b", 1)]
    assert [item.key for item in acme.state.scan("b", after="b").items] == [("b", 1)]
    assert not acme.state.scan("b", after="c").items


def test_a_value_comes_back_as_it_was(acme: Tenant) -> None:
    value = {"a": [1, -2.5, None, True, b"\0", "é"], "at": datetime(2026, 1, 1, tzinfo=UTC)}
    acme.state.set("key", value)
    assert acme.state.get("key") == value
    assert acme.state.get("other", "none") == "none"


@pytest.mark.parametrize(
    "value", [object(), {1: 2}, 1 << 64, "\ud800", datetime(2026, 1, 1), b"x" * MAX_VALUE_BYTES]
)
def test_a_value_that_could_not_be_read_is_refused(acme: Tenant, value: Any) -> None:
    with pytest.raises(errors.InvalidStateValue):
        acme.state.set("key", value)
    with pytest.raises(errors.InvalidStateValue):
        acme.state.append("list", 1, value)
    assert acme.state.scan().items == ()


def test_a_value_of_its_own_kind_of_nothing_is_kept(acme: Tenant) -> None:
    acme.state.set("key", math.inf)
    acme.state.set("none", None)
    assert acme.state.get("key") == math.inf
    assert acme.state.get("none", 1) is None
    assert not acme.state.compare_and_set("none", NOTHING, 1)
    assert acme.state.compare_and_set("none", None, 1)


def test_values_and_lists_are_told_apart(acme: Tenant) -> None:
    acme.state.set("value", 1)
    acme.state.append("list", 1)
    with pytest.raises(errors.StateConflict, match="items"):
        acme.state.get("list")
    with pytest.raises(errors.StateConflict, match="get"):
        acme.state.items("value")
    with pytest.raises(errors.StateConflict, match="append takes a list"):
        acme.state.append("value", 2)
    acme.state.set("list", 2)
    assert acme.state.get("list") == 2
    assert acme.scrub().is_sound


@pytest.mark.parametrize("limit", [0, 10_001, True, 1.0])
def test_a_limit_out_of_range_is_refused(acme: Tenant, limit: Any) -> None:
    with pytest.raises(errors.InputError):
        acme.state.scan(limit=limit)
    with pytest.raises(errors.InputError):
        acme.state.items("a", limit=limit)


@pytest.mark.parametrize(
    "edits", [None, "ab", [1], [("a", 1)], [Append("a", "text")], [CheckLength("a", -1)]]
)
def test_what_is_no_edit_is_refused(acme: Tenant, edits: Any) -> None:
    with pytest.raises(errors.InputError):
        acme.state.write(edits)


CALLS: dict[str, Callable[[State], object]] = {
    "get": lambda state: state.get("a"),
    "items": lambda state: state.items("b"),
    "scan": lambda state: state.scan(),
    "set": lambda state: state.set("a", 1),
    "append": lambda state: state.append("b", 1, 2),
    "delete": lambda state: state.delete("a"),
    "clear": lambda state: state.clear("b"),
    "write": lambda state: state.write([Set("a", 1), Delete("b")]),
    "compare_and_set": lambda state: state.compare_and_set("a", NOTHING, 2),
}


@pytest.mark.parametrize("name", CALLS)
def test_every_call_is_one_api_call(db: Database, name: str) -> None:
    quotas = QuotaLimits(max_api_calls_per_minute=1)
    tenant = db.create_tenant(TenantConfig(id="one", quotas=quotas))
    CALLS[name](tenant.state)
    with pytest.raises(errors.QuotaExceeded, match="max_api_calls_per_minute"):
        CALLS[name](tenant.state)


def test_every_call_is_in_the_table_above() -> None:
    assert CALLS.keys() == {name for name in vars(State) if not name.startswith("_")}
    assert CALLS.keys() == {name for name in vars(AsyncState) if not name.startswith("_")}


def test_what_is_held_counts_for_the_storage_quota(db: Database) -> None:
    quotas = QuotaLimits(max_storage_mb=1, max_api_calls_per_minute=None)
    tenant = db.create_tenant(TenantConfig(id="small", quotas=quotas))
    tenant.state.set("key", b"x" * 500_000)
    used = tenant.usage().storage.used
    assert 500_000 < used < 500_100
    with pytest.raises(errors.QuotaExceeded, match="max_storage_mb"):
        tenant.state.write([Delete("key"), Set("other", b"x" * 1_100_000)])
    assert tenant.usage().storage.used == used
    assert len(tenant.state.get("key")) == 500_000
    tenant.state.set("key", 1)
    assert tenant.usage().storage.used < 100


def test_a_suspended_tenant_reads_and_does_not_write(db: Database, acme: Tenant) -> None:
    acme.state.set("key", 1)
    db.suspend_tenant("acme", reads_stay=True)
    with pytest.raises(errors.TenantSuspended):
        acme.state.set("key", 2)
    assert acme.state.get("key") == 1


def test_two_tenants_share_nothing(db: Database, acme: Tenant) -> None:
    other = db.create_tenant(TenantConfig(id="acme-corp"))
    acme.state.set(("a", "b"), 1)
    assert other.state.scan().items == ()
    other.state.clear(())
    assert acme.state.get(("a", "b")) == 1
    db.drop_tenant("acme")
    again = db.create_tenant(TenantConfig(id="acme"))
    assert again.state.get(("a", "b")) is None
    with pytest.raises(errors.TenantNotFound):
        acme.state.get(("a", "b"))


def test_a_clone_and_a_snapshot_hold_the_state_and_an_export_does_not(
    db: Database, acme: Tenant, tmp_path: Path
) -> None:
    acme.state.append("list", 1, {"two": 2})
    clone = db.clone_tenant("acme", "clone")
    acme.snapshot(tmp_path / "acme.tar")
    restored = db.restore_tenant(tmp_path / "acme.tar", tenant_id="restored")
    for copy in (clone, restored):
        assert copy.state.items("list").values == (1, {"two": 2})
        assert copy.usage().storage == acme.usage().storage
        copy.state.append("list", 3)
    assert acme.state.items("list").length == 2
    acme.export(tmp_path / "acme.export")
    into = db.create_tenant(TenantConfig(id="into"))
    into.import_from(tmp_path / "acme.export")
    assert into.state.scan().items == ()


def test_the_state_is_there_when_the_database_is_opened_again(tmp_path: Path) -> None:
    with llmspell.open(tmp_path / "data") as db:
        db.create_tenant(TenantConfig(id="acme")).state.append("list", 1)
    with llmspell.open(tmp_path / "data") as db:
        acme = db.tenant("acme")
        assert acme.state.append("list", 2) == 2
        assert acme.usage().storage.used > 0
        assert acme.scrub().is_recounted


def test_appends_of_many_threads_are_all_there_and_in_a_row(acme: Tenant) -> None:
    def work(number: int) -> None:
        for i in range(20):
            acme.state.append("list", (number, i))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [tuple(value) for value in acme.state.items("list").values]
    assert len(found) == 80
    in_turn = sorted(found, key=lambda one: one[0])  # stable: of each thread as it wrote them
    for _, ours in groupby(in_turn, key=lambda one: one[0]):
        assert [i for _, i in ours] == list(range(20))


def test_of_many_that_compare_and_set_one_at_a_time_wins(acme: Tenant) -> None:
    acme.state.set("count", 0)

    def work() -> None:
        for _ in range(10):
            while not acme.state.compare_and_set("count", n := acme.state.get("count"), n + 1):
                pass

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert acme.state.get("count") == 30


def test_records_and_state_are_written_beside_each_other(acme: Tenant) -> None:
    acme.upsert(["r"], [[1.0, 2.0]])
    acme.state.set("a", 1)
    acme.upsert(["s"], [[1.0, 3.0]])
    acme.state.set("a", 2)
    acme.delete(["r"])
    assert acme.count() == 1
    assert acme.scrub().is_recounted and acme.scrub().is_sound


def test_a_damaged_value_is_named_by_reads_and_by_a_scrub(acme: Tenant) -> None:
    acme.state.set("good", 1)
    acme.state.set("key", "value")
    env = acme._enter().store._env

    def flip(txn: Any) -> None:
        db = env.databases[b"state"]
        key = b"\x02key\x00"
        raw = bytearray(txn.get(key, db=db))
        raw[-1] ^= 1
        txn.put(key, bytes(raw), db=db)

    env.write(flip)
    with pytest.raises(errors.CorruptFile):
        acme.state.get("key")
    assert acme.state.get("good") == 1
    report = acme.scrub()
    assert [damage.where for damage in report.damages] == ["state"]


def test_the_async_form_does_the_same(tmp_path: Path) -> None:
    async def run() -> None:
        async with llmspell.open(tmp_path / "data") as db:
            state = (await db.create_tenant(TenantConfig(id="acme"))).state
            await state.set("a", 1)
            assert await state.get("a") == 1
            assert await state.append(("b", 1), 1, 2) == 2
            assert (await state.items(("b", 1), 1)).values == (2,)
            assert [item.key for item in (await state.scan("b")).items] == [("b", 1)]
            assert await state.compare_and_set("a", 1, 2)
            await state.write([Check("a", 2), Set("c", 3)])
            assert await state.delete("a")
            assert await state.clear(()) == 2

    asyncio.run(run())
