"""``llmspell tenant snapshot``, ``restore`` and ``clone``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import llmspell
from llmspell import TenantConfig
from llmspell.cli import payload
from llmspell.cli.exits import ExitCode

from .conforming import mismatch
from .conftest import Cli


@pytest.fixture
def target(tmp_path: Path, data: Path) -> Path:
    """Where to write to; the tenant acme, with five records, is there."""
    with llmspell.open(data) as database:
        database.create_tenant(TenantConfig(id="acme", name="Acme")).upsert(range(5), np.eye(5))
    return tmp_path / "acme.tar"


def ids(data: Path, tenant: str) -> list[object]:
    with llmspell.open(data) as database:
        return [record.id for record in database.tenant(tenant).scan().records]


@pytest.mark.parametrize("name", ["acme.tar", "acme"])
def test_a_tenant_goes_through_a_snapshot(cli: Cli, data: Path, target: Path, name: str) -> None:
    target = target.with_name(name)
    done = cli("tenant", "snapshot", "acme", str(target), "--json")
    assert done.code == 0, done.err
    assert mismatch(done.json, payload.SnapshotTakenPayload) is None
    assert (done.json["records"], target.is_dir()) == (5, name == "acme")
    done = cli("tenant", "restore", str(target), "--as", "copy", "--name", "Copy", "--json")
    assert done.code == 0, done.err
    assert mismatch(done.json, payload.TenantPayload) is None
    assert (done.json["id"], done.json["name"]) == ("copy", "Copy")
    assert done.json["usage"]["vectors"]["used"] == 5
    assert ids(data, "copy") == [*range(5)]


def test_a_tenant_is_replaced_where_that_is_said(cli: Cli, data: Path, target: Path) -> None:
    assert "5 records" in cli("tenant", "snapshot", "acme", str(target)).out
    with llmspell.open(data) as database:
        database.tenant("acme").delete(filter={})
    refused = cli("tenant", "restore", str(target))
    assert (refused.code, len(refused.err.splitlines())) == (ExitCode.FAILED, 1)
    done = cli("tenant", "restore", str(target), "--replace")
    assert done.code == 0, done.err
    assert "5 records" in done.out
    assert ids(data, "acme") == [*range(5)]


def test_a_clone_holds_the_same(cli: Cli, data: Path, target: Path) -> None:
    done = cli("tenant", "clone", "acme", "twin", "--json")
    assert done.code == 0, done.err
    assert mismatch(done.json, payload.TenantPayload) is None
    assert (done.json["id"], done.json["name"]) == ("twin", "Acme")
    assert "5 records" in cli("tenant", "clone", "acme", "third").out
    assert ids(data, "twin") == ids(data, "third") == [*range(5)]
    assert cli("tenant", "clone", "nobody", "x").code == ExitCode.NOT_FOUND


def test_what_goes_wrong_has_its_exit_code(cli: Cli, target: Path) -> None:
    assert cli("tenant", "snapshot", "nobody", str(target)).code == ExitCode.NOT_FOUND
    assert cli("tenant", "snapshot", "acme", str(target.parent)).code == ExitCode.USAGE
    assert cli("tenant", "restore", str(target)).code == ExitCode.USAGE
    cli("tenant", "snapshot", "acme", str(target))
    target.write_bytes(target.read_bytes()[:-1])
    done = cli("tenant", "restore", str(target), "--as", "copy", "--json")
    assert done.code == ExitCode.STORAGE
    assert done.error["type"] == "CorruptFile"
