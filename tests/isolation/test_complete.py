"""Nothing public is left out of the isolation tests.

Each rule of the machine is run once through each way in, and the processes write down which public
members that asked for and got. One that is new, and is neither among them nor listed here with a
reason, fails.
"""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from typer.main import get_command

from llmspell import (
    AsyncDatabase,
    AsyncTenant,
    Database,
    DocumentInfo,
    DocumentPage,
    Hit,
    Hits,
    Operation,
    Record,
    Retrieval,
    Retrieved,
    ScanPage,
    StateScope,
    Tenant,
    TenantInfo,
)
from llmspell.cli.app import app
from tests.isolation import calls
from tests.isolation.elsewhere import Door
from tests.isolation.foreign_rules import STALE
from tests.isolation.machine import NAMES, SHELL
from tests.isolation.rooms import Rooms

KINDS = (Tenant, AsyncTenant, Database, AsyncDatabase)
#: Of each kind of way in one: sync, async, and the command line.
WAYS = (0, 1, SHELL)
#: What needs no rule, and why.
LEFT_OUT = {
    "Database.embedding_cache": "counters of a process; tests/rag/cache keeps tenants apart",
    "Database.instruments": "counters of a process; what is in them is in its metrics",
    "llmspell audit show": "the operator's, of the records of all tenants",
    "llmspell audit verify": "the operator's, of the records of all tenants",
    "llmspell secrets delete": "the operator's, who names the tenant; it opens no database",
    "llmspell secrets get": "the operator's, who names the tenant; it opens no database",
    "llmspell secrets list": "the operator's, of all tenants; it opens no database",
    "llmspell secrets rotate-key": "of the store as a whole",
    "llmspell secrets drop-old-keys": "of the store as a whole",
    "llmspell secrets set": "the operator's, who names the tenant; it opens no database",
    "llmspell bench": "makes a tenant of its own in a directory of its own",
    "llmspell demo": "makes tenants of its own in a directory of its own",
    "llmspell index import": "has no tenant",
    "llmspell index info": "has no tenant",
}
#: Those of a handle that a former tenant's still answers, and why.
NEVER_STALE = {
    "id": "in memory, the former tenant's own",
    "config": "in memory, the former tenant's own",
    "generation": "in memory, the former tenant's own",
    "close": "gives back",
}
#: What objects that come out of operations say; what reads it, for a mark of another to be found.
READ: dict[type, dict[str, str]] = {
    Operation: {
        "tenant": "calls._operation",
        "tenant_id": "calls._said_by",
        "generation": "calls._said_by",
        "scope": "calls._said_by",
        "is_open": "calls._operation",
        "is_of": "a flag",
        "use": "calls._operation",
        "hold": "calls._operation",
        "renew": "calls._operation",
    },
    StateScope: {
        "custom": "calls._scope",
        "tenant": "calls._scope",
        "parse": "calls._scope",
        "tenant_id": "calls._scope",
        "kind": "a word of a list",
        "name": "the caller's own",
        "step": "the caller's own",
    },
    Hits: {
        "of": "what makes them",
        "ids": "calls.plain",
        "scores": "calls.plain",
        "look": "calls.plain",
        "count": "of a sequence",
        "index": "of a sequence",
    },
    Hit: {
        "id": "calls.plain",
        "score": "calls.plain",
        "text": "calls.plain",
        "metadata": "calls.plain",
        "distance": "made of the score",
        **dict.fromkeys(
            ("check", "key", "raw_metadata", "raw_text", "rowid", "storage", "vector_bytes"),
            "its bytes, of which the others are made",
        ),
        **dict.fromkeys(
            ("created_us", "expires_us", "is_chunk", "is_packed", "updated_us"), "times and flags"
        ),
    },
    Retrieval: {
        "hits": "calls.plain",
        "ids": "calls.plain",
        "scores": "calls.plain",
        "cursor": "calls.plain",
        "count": "of a sequence",
        "index": "of a sequence",
    },
    Retrieved: dict.fromkeys(
        (
            *("id", "score", "text", "metadata", "document", "chunks", "why", "terms", "spans"),
            *("start", "end", "dense", "lexical", "rerank", "marks"),
        ),
        "calls.plain",
    ),
    ScanPage: {"records": "calls.plain", "cursor": "calls.plain"},
    DocumentPage: {"documents": "calls.plain", "cursor": "calls.plain"},
    DocumentInfo: {
        **dict.fromkeys(("id", "version", "content_hash", "source", "metadata"), "calls.plain"),
        "chunks": "a count",
        "created_at": "a time",
        "updated_at": "a time",
    },
    Record: {
        "id": "calls.plain",
        "vector": "calls.plain",
        "text": "calls.plain",
        "metadata": "calls.plain",
        "created_at": "a time",
        "updated_at": "a time",
        "expires_at": "a time",
    },
    TenantInfo: {
        "id": "calls.plain",
        "name": "calls.plain",
        "generation": "calls.plain",
        "suspension": "calls.plain",
        "created_at": "a time",
        "config": "calls: the repr of a handle's, which is the same",
    },
}


def members(kind: type) -> set[str]:
    found = {name for name, _ in inspect.getmembers(kind) if not name.startswith("_")}
    fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
    return found | {field.name for field in fields}


def commands() -> set[str]:
    found = set()
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found |= {f"llmspell {name} {sub}" for sub in inner} if inner else {f"llmspell {name}"}
    return found


def public() -> set[str]:
    """Every operation of handles and databases, and every command."""
    return commands() | {f"{kind.__name__}.{name}" for kind in KINDS for name in members(kind)}


def compare(found: set[str], listed: set[str], where: str) -> None:
    for name in sorted(found - listed):
        pytest.fail(f"{name} is new: write a rule that asks for it, or say in {where} why not")
    assert listed == found, f"there no more, but in {where}"


def walk(doors: list[Door], folder: Path) -> set[str]:
    """Run every rule once through each way in; gives what was asked for."""
    asked: set[str] = set()

    class Walked(Rooms):
        pass

    Walked.asked = asked

    @settings(
        max_examples=1,  # the least of everything
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def run(data: st.DataObject) -> None:
        machine = Walked(doors, folder)
        try:
            machine.begin(names=NAMES[:3], hand=0, seed=7)
            for rule in machine.rules:
                by_door = "door" in rule.arguments_strategies
                for way in WAYS if by_door else WAYS[:2]:
                    prepare(machine)
                    arguments: dict[str, Any] = {
                        key: data.draw(strategy)
                        for key, strategy in rule.arguments_strategies.items()
                    }
                    free = next(name for name in NAMES if name not in machine.tenants)
                    ours = {"door": way, "other": way, "hand": way % SHELL}
                    ours |= {"name": free, "names": [free]}
                    ours = {key: value for key, value in ours.items() if key in arguments}
                    rule.function(machine, **arguments | ours)
        finally:
            machine.teardown()

    run()
    return asked


def prepare(machine: Rooms) -> None:
    """Let there be three tenants that answer, a former one, and a copy."""
    for number in range(len(machine.tenants)):
        machine.resume(0, number)
    if not machine.gone:
        machine.drop(0, 0)
    if not machine.copies:
        machine.snapshot_by_handle(0, 0)
    while len(machine.tenants) > len(NAMES) // 2:
        machine.drop(0, 0)
    for name in NAMES[:3]:
        if name not in machine.tenants:
            machine.create(0, name)
            machine.ingest(0, len(machine.tenants) - 1, "x", [1], is_object=False)


def test_every_public_operation_is_asked_for_by_a_rule(doors: list[Door], tmp_path: Path) -> None:
    compare(public(), walk(doors, tmp_path) | LEFT_OUT.keys(), "LEFT_OUT")


def test_every_operation_of_a_handle_is_tried_on_a_former_tenant() -> None:
    compare(members(Tenant), STALE.keys() | NEVER_STALE.keys(), "NEVER_STALE")
    assert members(AsyncTenant) == members(Tenant)


@pytest.mark.parametrize("kind", READ)
def test_everything_that_comes_out_is_read(kind: type) -> None:
    compare(members(kind), set(READ[kind]), "READ")
    for name, where in READ[kind].items():
        if where.startswith("calls.") and not where.endswith("plain"):
            source = inspect.getsource(getattr(calls, where.removeprefix("calls.")))
            assert f".{name}" in source, f"{where} reads no {name}"


def test_each_call_with_a_form_of_its_own_is_of_something_public() -> None:
    assert calls.OF_TENANT.keys() <= members(Tenant)
    assert calls.OF_DATABASE.keys() <= members(Database)
