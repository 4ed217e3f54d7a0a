"""``llmspell scrub``."""

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
def snapshot(data: Path) -> Path:
    """The file that acme's index opens from; there is a tenant "other" beside it."""
    with llmspell.open(data) as database:
        for name in ("acme", "other"):
            tenant = database.create_tenant(TenantConfig(id=name))
            tenant.upsert(range(5), np.eye(5), texts=[f"[{name}] text {i}" for i in range(5)])
        room = database.tenant("acme")._residence.path
    (path,) = room.glob("index-*.snap")
    return path


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def test_what_is_sound_is_said_to_be(cli: Cli, snapshot: Path) -> None:
    done = cli("scrub", "--json")
    assert done.code == 0, done.err
    assert mismatch(done.json, payload.ScrubPayload) is None
    assert done.json["sound"]
    assert [tenant["records"] for tenant in done.json["tenants"]] == [5, 5]
    assert "2 tenants, 10 records" in cli("scrub").out
    done = cli("scrub", "acme", "--rate", "1e9", "--json")
    assert [tenant["tenant"] for tenant in done.json["tenants"]] == ["acme"]


def test_a_damaged_file_is_named_by_the_exit_code_too(cli: Cli, snapshot: Path) -> None:
    flip(snapshot)
    done = cli("scrub", "--json")
    assert done.code == ExitCode.STORAGE
    assert mismatch(done.json, payload.ScrubPayload) is None
    (damage,) = done.json["tenants"][0]["damages"]
    assert (damage["where"], damage["repaired"]) == (snapshot.name, False)
    assert done.json["tenants"][1]["damages"] == []
    done = cli("scrub", "acme")
    assert done.code == ExitCode.STORAGE
    assert f"acme: {snapshot.name}" in done.out.replace("\n", "")
    assert cli("scrub", "other").code == 0
    done = cli("scrub", "--repair")
    assert done.code == 0
    assert "(repaired)" in done.out
    assert cli("scrub").code == 0


def test_a_damaged_text_is_named_by_its_record(cli: Cli, data: Path, snapshot: Path) -> None:
    store = snapshot.with_name("data.mdb")
    store.write_bytes(store.read_bytes().replace(b"[acme] text 3", b"[acme] text 4"))
    done = cli("scrub", "--repair")
    assert done.code == ExitCode.STORAGE
    assert "acme: record 4 (id 3): its checksum does not match" in done.out.replace("\n", "")


def test_what_it_cannot_take_is_refused(cli: Cli, snapshot: Path) -> None:
    assert cli("scrub", "nobody").code == ExitCode.NOT_FOUND
    assert cli("scrub", "--rate", "0").code == ExitCode.USAGE
