"""State scopes: their text, their names, and the tenants that they lead to."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

import llmspell
from llmspell import Database, QuotaLimits, StateScope, Tenant, TenantConfig, errors

ONE = np.ones((1, 16), np.float32)

SCOPES = [
    StateScope("global"),
    StateScope("agent", "a"),
    StateScope("agent", "a:b"),
    StateScope("workflow", "a"),
    StateScope("step", "a", "b"),
    StateScope("step", "a:b", "c"),
    StateScope("step", "a", "b:c"),
    StateScope("step", "a%3Ab", "c"),
    StateScope("session", "a"),
    StateScope.custom("a"),
    StateScope.custom("global"),
    StateScope.custom("tenant:acme"),
    StateScope.custom("Tenant:acme"),
    StateScope.custom("tenant: acme"),
    StateScope.tenant("acme-corp"),
    StateScope.tenant("acme:b"),
    StateScope.tenant("../日本/a"),
]


def test_text_of_a_scope_gives_it_back_and_no_two_share_one() -> None:
    assert [StateScope.parse(str(scope)) for scope in SCOPES] == SCOPES
    assert len({str(scope) for scope in SCOPES}) == len(set(SCOPES)) == len(SCOPES)
    assert str(StateScope.custom("tenant:acme")) == "custom:tenant:acme"


@pytest.mark.parametrize(
    "text",
    [
        *("", "tenant:acme", "GLOBAL", "global:", "global:x", "agent", "agent:", "custom:tenant:"),
        *("step:a", "step:a:", "step::b", "step:a%3ab:c", "session:a\0b", "custom:" + "x" * 257),
        *("custom:tenant:" + "x" * 129, "agent:\ud800"),
    ],
)
def test_text_that_is_no_scope_is_refused(text: str) -> None:
    with pytest.raises(errors.InputError):
        StateScope.parse(text)


@pytest.mark.parametrize(
    ("kind", "name", "step"),
    [("agent", "a", "b"), ("global", "", "b"), ("step", "a", ""), ("agent", 7, ""), ("x", "a", "")],
)
def test_scope_of_wrong_parts_is_refused(kind: str, name: str, step: str) -> None:
    with pytest.raises(errors.InputError):
        StateScope(kind, name, step)  # type: ignore[arg-type]


def test_tenant_of_a_scope_is_exactly_what_stands_behind_its_mark() -> None:
    found = {str(scope): scope.tenant_id for scope in SCOPES if scope.tenant_id is not None}
    assert found == {
        "custom:tenant:acme": "acme",
        "custom:tenant: acme": " acme",
        "custom:tenant:acme-corp": "acme-corp",
        "custom:tenant:acme:b": "acme:b",
        "custom:tenant:../日本/a": "../日本/a",
    }


def test_scope_leads_to_the_same_room(db: Database, acme: Tenant) -> None:
    scoped = db.scope(StateScope.custom("tenant:acme"))
    scoped.upsert([1], ONE, texts=["one"])
    assert acme.get(1).text == "one"
    assert (scoped.id, scoped.generation) == (acme.id, acme.generation)
    assert scoped.usage() == acme.usage()
    with acme.operation() as operation:
        assert db.scope(operation.scope).count() == 1


def test_room_of_a_scope_has_the_quotas_of_its_tenant(db: Database) -> None:
    quotas = QuotaLimits(max_vectors=2, max_storage_mb=1, max_documents=1)
    tenant = db.create_tenant(TenantConfig(id="small", quotas=quotas))
    scoped = db.scope(StateScope.tenant("small"))
    tenant.upsert([1], ONE)
    with pytest.raises(errors.QuotaExceeded, match="max_vectors"):
        scoped.upsert([2, 3], np.ones((2, 16), np.float32))
    with pytest.raises(errors.QuotaExceeded, match="max_storage_mb"):
        scoped.upsert([2], ONE, texts=["x" * (1 << 20)])
    scoped.ingest(llmspell.Document("a", "one"))
    with pytest.raises(errors.QuotaExceeded, match="max_documents"):
        tenant.ingest(llmspell.Document("b", "one"))


def test_scope_of_a_former_tenant_leads_to_the_new_one_and_its_handle_ends(
    db: Database, acme: Tenant
) -> None:
    scope = StateScope.tenant("acme")
    former = db.scope(scope)
    db.drop_tenant("acme")
    with pytest.raises(errors.TenantNotFound):
        db.scope(scope)
    db.create_tenant(TenantConfig(id="acme"))
    assert db.scope(scope).generation > former.generation
    with pytest.raises(errors.TenantNotFound):
        former.count()


HOSTILE = [
    *("acme", "acme-corp", " acme", "acme/", "../acme", "ACME", "acme:x", "tenant:acme"),
    *("ａｃｍｅ", "é", "e\u0301", "a" * 128, "日" * 128),
]


def test_no_scope_reaches_the_room_of_another_name(db: Database) -> None:
    for name in HOSTILE:
        db.create_tenant(TenantConfig(id=name)).upsert([1], ONE, [{"of": name}])
    for name in HOSTILE:
        assert db.scope(StateScope.tenant(name)).get(1).metadata == {"of": name}
    assert len(HOSTILE) == len(db.tenants())


@pytest.mark.parametrize("name", ["acm", "acme\0", "acme%00", "acme*", "", "x" * 129, "\ud800"])
def test_scope_of_no_tenant_is_refused(db: Database, acme: Tenant, name: str) -> None:
    with pytest.raises((errors.TenantNotFound, errors.InputError)):
        db.scope(StateScope.tenant(name))


@pytest.mark.parametrize("scope", [s for s in SCOPES if s.tenant_id is None])
def test_scope_that_is_no_tenants_is_refused_by_name(
    db: Database, acme: Tenant, scope: StateScope
) -> None:
    with pytest.raises(errors.InputError, match="no tenant's"):
        db.scope(scope)


def test_text_and_other_types_are_no_scope(db: Database, acme: Tenant) -> None:
    for given in ("custom:tenant:acme", None, 7):
        with pytest.raises(errors.InputError, match="StateScope"):
            db.scope(given)  # type: ignore[arg-type]
    for wrong in (None, 7):
        with pytest.raises(errors.InputError):
            StateScope.parse(wrong)  # type: ignore[arg-type]
        with pytest.raises(errors.InputError):
            StateScope.tenant(wrong)  # type: ignore[arg-type]


def test_async_database_resolves_scopes(tmp_path: Path) -> None:
    async def main() -> str:
        async with llmspell.open(tmp_path / "x") as db:
            await db.create_tenant(TenantConfig(id="acme"))
            return (await db.scope(StateScope.tenant("acme"))).id

    assert asyncio.run(main()) == "acme"
