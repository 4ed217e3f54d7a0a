"""What can't be taken is refused by a named error, whatever the call and the argument."""

from __future__ import annotations

import inspect
import io
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llmspell
from llmspell import Database, QuotaLimits, Search, StateScope, Tenant, TenantConfig, errors
from llmspell.rag import LocalEmbedder, Pipeline

QUERY = np.array([1, 0], np.float32)

#: Of each of these some argument can be made, and most can't.
WRONG: dict[str, Any] = {
    "None": None,
    "True": True,
    "5": 5,
    "-1": -1,
    "1.5": 1.5,
    "2**70": 1 << 70,
    "nan": float("nan"),
    "empty str": "",
    "str": "x",
    "str with NUL": "a\0b",
    "lone surrogate": "\ud800",
    "bytes": b"x",
    "object": object(),
    "list": [],
    "list of None": [None],
    "dict": {},
    "array": np.zeros(3),
    "cube": np.zeros((2, 2, 2)),
    "text file": io.StringIO("x"),
}

#: What stands in the other arguments that must be given.
RIGHT: dict[str, Any] = {
    "config": TenantConfig(id="made"),
    "configs": [],
    "document_id": "d",
    "ids": 1,
    "metadata": {"a": 1},
    "operation": Search(QUERY),
    "query": QUERY,
    "scope": StateScope.tenant("acme"),
    "source_id": "acme",
    "tenant_id": "acme",
    "vectors": QUERY,
}
FILES = ("file", "source", "target")


def calls(kind: type) -> list[Any]:
    """Each argument of each public method."""
    return [
        pytest.param(name, argument, id=f"{name}-{argument}")
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
        for argument in list(inspect.signature(method).parameters)[1:]
    ]


@pytest.fixture
def db(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.chdir(tmp_path)  # where a path is right, and taken
    with llmspell.open(tmp_path / "data") as database:
        quotas = QuotaLimits.unlimited()
        tenant = database.create_tenant(TenantConfig(id="acme", dim=2, quotas=quotas))
        tenant.upsert([1, 2], np.eye(2, dtype=np.float32))
        yield database


def refuse_or_take(of: Database | Tenant, name: str, argument: str) -> None:
    """Call it with each of the values; raises what isn't a named error."""
    method = getattr(of, name)
    parameters = inspect.signature(method).parameters.values()
    for value in WRONG.values():
        if argument == "rate" and type(value) in (int, float):
            continue  # that slowly it would take for ever
        if argument == "consistency" and isinstance(value, np.ndarray):
            continue  # a search compares it before it looks at what it is, which costs it less
        given = {
            one.name: io.BytesIO() if one.name in FILES else RIGHT[one.name]
            for one in parameters
            if one.default is one.empty
        }
        try:
            result = method(**{**given, argument: value})
            if isinstance(result, AbstractContextManager):
                with result:
                    pass
        except errors.LlmspellError:
            pass


@pytest.mark.parametrize(("name", "argument"), calls(Database))
def test_a_database_takes_an_argument_or_names_what_is_wrong(
    db: Database, name: str, argument: str
) -> None:
    refuse_or_take(db, name, argument)


@pytest.mark.parametrize(("name", "argument"), calls(Tenant))
def test_a_tenant_takes_an_argument_or_names_what_is_wrong(
    db: Database, name: str, argument: str
) -> None:
    with closing(db.tenant("acme")) as tenant:
        refuse_or_take(tenant, name, argument)


@pytest.mark.parametrize("argument", list(inspect.signature(Database).parameters))
@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
def test_open_takes_an_argument_or_names_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argument: str, value: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"path": tmp_path / "data", argument: value}
    with suppress(errors.LlmspellError):
        llmspell.open(**given).close()


@pytest.mark.parametrize("path", [None, 5, b"x", "a\0b", "\ud800", io.BytesIO()])
def test_open_refuses_what_is_no_path(path: Any) -> None:
    with pytest.raises(errors.InputError, match="path"):
        llmspell.open(path)


@pytest.mark.parametrize("model", ["all-MiniLM-L6-v2", len, LocalEmbedder], ids=repr)
def test_what_cannot_embed_is_refused_when_it_is_given(tmp_path: Path, model: Any) -> None:
    for make in (lambda: llmspell.open(tmp_path / "data", embedder=model), lambda: Pipeline(model)):
        with pytest.raises(errors.ConfigError, match="CallableEmbedder takes a function"):
            make()
    with pytest.raises(errors.ConfigError, match="texts is a Pipeline"):
        llmspell.open(tmp_path / "data", texts=model)


@pytest.mark.parametrize("limit", [True, -1, 1.5, "x", 1 << 70])
def test_tenants_refuses_what_is_no_limit(db: Database, limit: Any) -> None:
    with pytest.raises(errors.InputError, match="limit"):
        db.tenants(limit=limit)


def test_a_text_file_is_no_binary_file(db: Database, tmp_path: Path) -> None:
    acme = db.tenant("acme")
    with (tmp_path / "text").open("w") as text:
        for file in (io.StringIO(), text):
            for call in (acme.export, acme.snapshot, acme.import_from, db.restore_tenant):
                with pytest.raises(errors.InputError, match="binary"):
                    call(file)


def test_what_only_counts_as_true_is_no_flag(db: Database) -> None:
    with pytest.raises(errors.InputError, match="reads_stay must be True or False, got str"):
        db.suspend_tenant("acme", reads_stay="no")  # type: ignore[arg-type]
    assert db.tenants()[0].suspension == "none"


def test_an_ingest_names_what_is_no_source(db: Database) -> None:
    with pytest.raises(errors.IngestError, match="got int"):
        db.create_tenant(TenantConfig(id="empty")).ingest(5)  # type: ignore[arg-type]
    for configs in (None, 5):
        with pytest.raises(errors.InputError, match="configs"):
            db.create_tenants(configs)  # type: ignore[arg-type]
