"""Every public operation is charged to the quotas that it is declared to use, and to no other.

A new method of a handle, a database or the command line fails here until it stands in one of these
tables: that of what is charged, with a call that uses each of its quotas, or that of what is free,
with the reason.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import io
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.main import get_command

import llmspell
from llmspell import (
    AsyncDatabase,
    AsyncTenant,
    Database,
    Document,
    QuotaLimits,
    RunAgent,
    StateScope,
    Tenant,
    TenantConfig,
    errors,
)
from llmspell.cli.app import app
from llmspell.cli.exits import ExitCode
from llmspell.quota import Quota, Usage
from llmspell.tenancy import Workers
from tests.cli.conftest import run_here
from tests.tenancy.texts import Lines

VECTOR = np.ones((1, 16), dtype=np.float32)
DOCUMENT = Document("new", "one\ntwo")
RATES = (Quota.API_CALLS, Quota.QUERIES)
LEVELS = (Quota.DOCUMENTS, Quota.VECTORS, Quota.STORAGE, Quota.DIMENSIONS)
SPENT = (Quota.TOKENS, Quota.EMBEDDINGS, Quota.COST)


@dataclass(frozen=True)
class Charged:
    """A call that uses something of each quota ``to``; its handle may be sync or async."""

    call: Callable[[Any], Any]
    to: tuple[Quota, ...] = ()
    before: Callable[[Tenant], object] = lambda tenant: None


@functools.cache
def export() -> bytes:
    """Of a tenant with one document."""
    file = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder, llmspell.open(folder, texts=Lines()) as database:
        tenant = database.create_tenant(TenantConfig(id="a"))
        tenant.ingest(DOCUMENT)
        tenant.export(file)
    return file.getvalue()


def one_record(tenant: Tenant) -> None:
    tenant.upsert([1], VECTOR)


CHARGED: dict[str, Charged] = {
    "upsert": Charged(lambda t: t.upsert([1], VECTOR), LEVELS[1:]),
    "insert": Charged(lambda t: t.insert([1], VECTOR), LEVELS[1:]),
    "update_metadata": Charged(
        lambda t: t.update_metadata(1, {"long": "x" * 100}), (Quota.STORAGE,), one_record
    ),
    "get": Charged(lambda t: t.get(1), before=one_record),
    "delete": Charged(lambda t: t.delete([2]), before=one_record),
    "search": Charged(lambda t: t.search("text"), (Quota.QUERIES, Quota.EMBEDDINGS), one_record),
    "retrieve": Charged(
        lambda t: t.retrieve("text"), (Quota.QUERIES, Quota.EMBEDDINGS), one_record
    ),
    "ingest": Charged(lambda t: t.ingest(DOCUMENT), (*LEVELS, Quota.EMBEDDINGS)),
    "document": Charged(lambda t: t.document("new"), before=lambda t: t.ingest(DOCUMENT)),
    "documents": Charged(lambda t: t.documents()),
    "chunks": Charged(lambda t: t.chunks("new"), before=lambda t: t.ingest(DOCUMENT)),
    "scan": Charged(lambda t: t.scan(), before=one_record),
    "export": Charged(lambda t: t.export(io.BytesIO()), before=one_record),
    "snapshot": Charged(lambda t: t.snapshot(io.BytesIO()), before=one_record),
    "scrub": Charged(lambda t: t.scrub(), before=one_record),
    "import_from": Charged(lambda t: t.import_from(io.BytesIO(export())), LEVELS),
    "count": Charged(lambda t: t.count()),
    "calibrate": Charged(lambda t: t.calibrate(), before=one_record),
    "estimated_recall": Charged(lambda t: t.estimated_recall(), before=one_record),
    "state": Charged(lambda t: t.state.set("key", "value"), (Quota.STORAGE,)),
    "operation": Charged(lambda t: t.operation(tokens=3, embeddings=2, cost=0.5), SPENT),
    "execute": Charged(
        lambda t: t.execute(RunAgent(str, 7, tokens=3, embeddings=2, cost=0.5)), SPENT
    ),
}
FREE = {
    "id": "what the tenant is called",
    "config": "its settings, in memory",
    "generation": "in memory",
    "dim": "how its vectors look; reads none of them",
    "usage": "who is refused must be able to see why",
    "flush": "ends what was charged before",
    "close": "gives back",
}
DATABASE_FREE = {
    "path": "where it is",
    "instruments": "counters of this process",
    "embedding_cache": "counters of this process",
    "create_tenant": "the operator's",
    "create_tenants": "the operator's",
    "tenant": "gives a handle, whose operations are charged",
    "scope": "gives a handle, whose operations are charged",
    "tenants": "the operator's",
    "update_tenant": "the operator's, to raise a limit that is reached too",
    "suspend_tenant": "the operator's",
    "resume_tenant": "the operator's",
    "drop_tenant": "the operator's",
    "snapshot_tenant": "the operator's, of a suspended tenant too",
    "restore_tenant": "the operator's; what the tenant then holds is held to its quotas",
    "clone_tenant": "the operator's; what the tenant then holds is held to its quotas",
    "scrub": "the operator's, of suspended tenants too",
    "scrub_tenant": "the operator's, of a suspended tenant too",
    "purge_expired": "the operator's, and gives back",
    "flush": "ends what was charged before",
    "metrics": "the operator's",
    "close": "gives back",
}
COMMANDS_CHARGED = {
    "ingest": ("ingest", "acme", __file__),
    "search": ("search", "acme", "text"),
    "export": ("export", "acme", "OUT"),
    "import": ("import", "acme", "IN"),
}
COMMANDS_FREE = {
    "tenant create": "the operator's",
    "tenant list": "the operator's",
    "tenant show": "the operator's",
    "tenant update": "the operator's",
    "tenant snapshot": "the operator's",
    "tenant restore": "the operator's",
    "tenant clone": "the operator's",
    "tenant drop": "the operator's",
    "scrub": "the operator's",
    "stats": "the operator's",
    "audit show": "the operator's",
    "audit verify": "the operator's",
    "secrets set": "the operator's",
    "secrets get": "the operator's",
    "secrets list": "the operator's",
    "secrets delete": "the operator's",
    "secrets rotate-key": "the operator's",
    "secrets drop-old-keys": "the operator's",
    "doctor": "the operator's; must work where a quota is used up",
    "index import": "has no tenant",
    "index info": "has no tenant",
    "demo": "is of calls of handles, on tenants of its own",
    "bench": "is of calls of a handle, beside a search of files",
}


def public(kind: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(kind) if not name.startswith("_")}


def all_named(found: set[str], *tables: str) -> None:
    """Fail with what is to be done, unless each of ``found`` stands in a table, and no other."""
    listed = {name for table in tables for name in globals()[table]}
    for name in sorted(found - listed):
        pytest.fail(
            f"{name!r} is new: say in tests/tenancy/test_charges.py what it is charged to "
            f"({tables[0]}), or that it is free and why ({tables[-1]})"
        )
    assert listed == found, "what is listed is there no more"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with llmspell.open(tmp_path / "data", texts=Lines()) as database:
        yield database


def run(tenant: Tenant, call: Callable[[Any], Any], kind: str) -> None:
    """Make a call of a handle; where it gives a context, go through it."""
    if kind == "sync":
        made = call(tenant)
        if hasattr(made, "__enter__"):
            with made:
                pass
        return

    async def main() -> None:
        workers = Workers(2)
        try:
            made = call(AsyncTenant(tenant, workers))
            if hasattr(made, "__aenter__"):
                async with made:
                    pass
            else:
                await made
        finally:
            await workers.close(lambda: None)

    asyncio.run(main())


def prepared(db: Database, name: str, charged: Charged) -> Tenant:
    tenant = db.create_tenant(TenantConfig(id=name, quotas=QuotaLimits.unlimited()))
    charged.before(tenant)
    return tenant


def kept(usage: Usage) -> dict[Quota, int]:
    """Use of all quotas but the rates, which fades."""
    return {quota: usage.of(quota).used for quota in Quota if quota not in RATES}


EACH = [
    pytest.param(name, quota, kind, id=f"{kind}-{name}-{quota.limit_name}")
    for name, charged in CHARGED.items()
    for quota in (Quota.API_CALLS, *charged.to)
    for kind in ("sync", "async")
]


@pytest.mark.parametrize(("name", "quota", "kind"), EACH)
def test_operation_is_refused_by_each_quota_that_it_uses_and_does_nothing(
    db: Database, name: str, quota: Quota, kind: str
) -> None:
    charged = CHARGED[name]
    sample = prepared(db, "sample", charged)
    before = sample.usage()
    run(sample, charged.call, kind)
    need = 1 if quota in RATES else sample.usage().of(quota).used - before.of(quota).used
    assert need > 0, "the call uses nothing of it"

    tenant = prepared(db, "small", charged)
    before = tenant.usage()
    limit = 0 if quota in RATES else before.of(quota).used + need - 1
    db.update_tenant("small", quotas=one_limit(quota, limit))
    limit = tenant.usage().of(quota).limit or 0
    if quota == Quota.STORAGE:  # in whole MiB only
        limit = before.storage.used + need - 1
        tenant._residence.slot.set_limit(quota, limit)
    count = tenant._enter().count
    with pytest.raises(errors.QuotaExceeded) as refusal:
        run(tenant, charged.call, kind)
    error = refusal.value
    assert (error.quota, error.limit) == (quota.limit_name, limit)
    assert error.used + error.requested > limit
    assert error.retry_after is None or error.retry_after > 0
    assert kept(tenant.usage()) == kept(before)
    assert tenant._enter().count == count


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("name", CHARGED)
def test_operation_is_charged_to_no_other_quota(db: Database, name: str, kind: str) -> None:
    charged = CHARGED[name]
    tenant = prepared(db, "sample", charged)
    before = tenant.usage()
    if Quota.QUERIES not in charged.to:
        db.update_tenant("sample", quotas=one_limit(Quota.QUERIES, 0))
    run(tenant, charged.call, kind)
    after = kept(tenant.usage())
    grown = {quota for quota, used in kept(before).items() if after[quota] != used}
    assert grown == set(charged.to) - set(RATES)


@pytest.mark.parametrize(("name", "quota", "kind"), EACH)
def test_soft_quota_lets_the_operation_pass_and_counts_it(
    db: Database, name: str, quota: Quota, kind: str
) -> None:
    charged = CHARGED[name]
    tenant = prepared(db, "soft", charged)
    limits = replace(
        one_limit(quota, 1 if quota in RATES else 0), soft=frozenset({quota.limit_name})
    )
    db.update_tenant("soft", quotas=limits)
    before = tenant.usage().of(quota).used
    if quota in RATES:  # one call is used up, the next is admitted all the same
        tenant._residence.slot.charge(quota, 1)
        before = 0
    run(tenant, charged.call, kind)
    assert tenant.usage().of(quota).used > before


def one_limit(quota: Quota, limit: int) -> QuotaLimits:
    """Unlimited but for one; a cost is in whole units, rounded down."""
    units = {Quota.COST: limit / 1_000_000, Quota.STORAGE: limit >> 20}.get(quota, limit)
    return replace(QuotaLimits.unlimited(), **{quota.limit_name: units})


def test_every_quota_has_an_operation_that_is_charged_to_it() -> None:
    assert {quota for charged in CHARGED.values() for quota in charged.to} == (
        set(Quota) - {Quota.API_CALLS}
    )


def test_every_operation_of_a_handle_is_charged_or_free() -> None:
    all_named(public(Tenant), "CHARGED", "FREE")
    assert public(AsyncTenant) == public(Tenant)


def test_every_operation_of_a_database_is_free_for_a_reason() -> None:
    all_named(public(Database), "DATABASE_FREE")
    assert public(AsyncDatabase) <= public(Database)


def test_every_command_is_charged_or_free() -> None:
    found = set()
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found |= {f"{name} {sub}" for sub in inner} if inner else {name}
    all_named(found, "COMMANDS_CHARGED", "COMMANDS_FREE")


def rewound(file: io.BytesIO) -> io.BytesIO:
    file.seek(0)
    return file


NOTHING_LEFT = QuotaLimits(
    **dict.fromkeys([quota.limit_name for quota in Quota], 0)  # type: ignore[arg-type]
)


def test_what_is_free_works_where_every_quota_is_used_up(db: Database) -> None:
    tenant = db.create_tenant(TenantConfig(id="acme", quotas=NOTHING_LEFT))
    before = tenant.usage()
    for name in FREE.keys() - {"close"}:
        found = getattr(tenant, name)
        if callable(found):
            found()
    archive = io.BytesIO()
    calls: dict[str, Callable[[], object]] = {
        "path": lambda: db.path,
        "instruments": lambda: db.instruments,
        "embedding_cache": lambda: db.embedding_cache,
        "create_tenant": lambda: db.create_tenant(TenantConfig(id="b", quotas=NOTHING_LEFT)),
        "create_tenants": lambda: db.create_tenants([TenantConfig(id="e")]),
        "tenant": lambda: db.tenant("acme"),
        "scope": lambda: db.scope(StateScope.tenant("acme")),
        "tenants": lambda: db.tenants(),
        "update_tenant": lambda: db.update_tenant("acme", name="Acme"),
        "suspend_tenant": lambda: db.suspend_tenant("acme"),
        "resume_tenant": lambda: db.resume_tenant("acme"),
        "snapshot_tenant": lambda: db.snapshot_tenant("acme", archive),
        "restore_tenant": lambda: db.restore_tenant(rewound(archive), tenant_id="c"),
        "clone_tenant": lambda: db.clone_tenant("acme", "d"),
        "scrub": lambda: db.scrub(),
        "scrub_tenant": lambda: db.scrub_tenant("acme"),
        "purge_expired": lambda: db.purge_expired(),
        "flush": lambda: db.flush(),
        "metrics": lambda: db.metrics(),
    }
    assert calls.keys() == DATABASE_FREE.keys() - {"drop_tenant", "close"}
    for call in calls.values():
        call()
    assert tenant.usage() == before
    tenant.close()
    db.drop_tenant("acme")


@pytest.mark.parametrize("name", COMMANDS_CHARGED)
def test_command_is_refused_where_the_calls_are_used_up(tmp_path: Path, name: str) -> None:
    with llmspell.open(tmp_path / "data") as db:
        db.create_tenant(TenantConfig(id="acme", quotas=NOTHING_LEFT))
    (tmp_path / "in").write_bytes(export())
    files = {"OUT": str(tmp_path / "out"), "IN": str(tmp_path / "in")}
    arguments = [files.get(part, part) for part in COMMANDS_CHARGED[name]]
    done = run_here(tmp_path / "data", *arguments, "--json")
    assert done.code == ExitCode.QUOTA, done.err
    assert done.error["quota"] == "max_api_calls_per_minute"
