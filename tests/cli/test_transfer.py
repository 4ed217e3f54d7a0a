"""``llmspell export`` and ``import``: a tenant in a file, and back."""

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
def file(tmp_path: Path, data: Path) -> Path:
    """Where to export to; the tenants acme, with five records, and copy are there."""
    with llmspell.open(data) as database:
        database.create_tenant(TenantConfig(id="acme")).upsert(range(5), np.eye(5))
        database.create_tenant(TenantConfig(id="copy"))
    return tmp_path / "acme.llmspell"


def test_a_tenant_goes_through_a_file(cli: Cli, data: Path, file: Path) -> None:
    done = cli("export", "acme", str(file), "--json")
    assert done.code == 0, done.err
    assert mismatch(done.json, payload.ExportPayload) is None
    assert (done.json["records"], done.json["bytes"]) == (5, file.stat().st_size)
    done = cli("import", "copy", str(file), "--json")
    assert done.code == 0, done.err
    assert mismatch(done.json, payload.ImportedPayload) is None
    assert (done.json["records"], done.json["skipped"]) == (5, 0)
    with llmspell.open(data) as database:
        ids = [record.id for record in database.tenant("copy").scan().records]
    assert ids == [*range(5)]


def test_people_are_told_what_was_written_and_passed_over(cli: Cli, file: Path) -> None:
    assert "5 records" in cli("export", "acme", str(file)).out
    assert "5 records" in cli("import", "copy", str(file)).out
    again = cli("import", "copy", str(file))
    assert (again.code, len(again.err.splitlines())) == (ExitCode.FAILED, 1)
    assert "there already" in again.err
    skipped = cli("import", "copy", str(file), "--on-conflict", "skip")
    assert "0 records" in skipped.out
    assert "5 that were there" in skipped.out


def test_a_damaged_file_is_a_storage_error(cli: Cli, file: Path) -> None:
    cli("export", "acme", str(file))
    file.write_bytes(file.read_bytes()[:-1])
    done = cli("import", "copy", str(file))
    assert done.code == ExitCode.STORAGE
    assert "frame" in done.err
