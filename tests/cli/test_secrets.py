"""``llmspell secrets``: kept, printed, listed, taken out; the value never on the command line."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from llmspell.cli import payload
from llmspell.cli.exits import ExitCode
from llmspell.security import MasterKey, read_audit

from .conforming import mismatch
from .conftest import COMMAND, Run, environment, run_here


class Secrets:
    """Runs ``llmspell secrets`` on one store, whose key is in a file."""

    def __init__(self, folder: Path, run: Callable[..., Run]) -> None:
        self.folder = folder
        self.run = run
        self.store = folder / "new" / "secrets.json"
        self.key = folder / "key"

    def __call__(self, *arguments: str, value: str | bytes = "", **extra: str) -> Run:
        places = {
            "LLMSPELL_SECRETS": str(self.store),
            "LLMSPELL_SECRETS_KEY_SOURCE": f"file:{self.key}",
        }
        stdin = value if isinstance(value, bytes) else value.encode()
        places |= extra
        return self.run(self.folder / "data", "secrets", *arguments, stdin=stdin, **places)


def run_apart(data: Path, *arguments: str, stdin: bytes, **extra: str) -> Run:
    """Run ``llmspell ARGUMENTS`` in a process of its own."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        env=environment(data, **extra),
        input=stdin,
        capture_output=True,
        timeout=300,
        check=False,
    )
    return Run(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    return Secrets(tmp_path, run_here)


def test_a_value_comes_and_goes_by_the_streams_of_a_process(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path, run_apart)
    assert secrets("set", "openai", value="sk-1\n").code == 0
    assert secrets("get", "openai").out == "sk-1\n"
    refused = secrets("set", "openai", value=b"\xff")
    assert (refused.code, len(refused.err.splitlines())) == (ExitCode.USAGE, 1)


def test_what_is_set_is_got_listed_and_deleted(secrets: Secrets) -> None:
    done = secrets("set", "openai", "--json", value="sk-1\n")
    assert done.code == 0, done.err
    assert mismatch(done.json, payload.SecretChangedPayload) is None
    assert secrets("set", "openai", "--tenant", "acme", value="sk-2").code == 0
    assert secrets("get", "openai").out == "sk-1\n"
    got = secrets("get", "openai", "--tenant", "acme", "--json")
    assert mismatch(got.json, payload.SecretPayload) is None
    assert got.json == {"tenant": "acme", "name": "openai", "value": "sk-2"}
    listed = secrets("list", "--json")
    assert mismatch(listed.json, payload.SecretListPayload) is None
    assert [one["tenant"] for one in listed.json["secrets"]] == [None, "acme"]
    text = secrets("list").out
    assert "openai  of the deployment" in text and "of the tenant 'acme'" in text
    assert "sk-" not in text + listed.out + secrets.store.read_text()
    assert secrets("delete", "openai", "--tenant", "acme").code == 0
    assert secrets("get", "openai", "--tenant", "acme").code == ExitCode.NOT_FOUND
    assert secrets("delete", "none").code == ExitCode.NOT_FOUND
    for path in (secrets.store, secrets.key):
        assert path.stat().st_mode & 0o777 == 0o600
    assert secrets.store.parent.stat().st_mode & 0o777 == 0o700


def test_rotation_changes_the_key_and_no_value(secrets: Secrets) -> None:
    assert secrets("rotate-key").code == ExitCode.NOT_FOUND
    secrets("set", "openai", value="sk-1")
    before = secrets.key.read_text()
    done = secrets("rotate-key", "--json")
    assert done.code == 0, done.err
    assert mismatch(done.json, payload.SecretKeyPayload) is None
    assert secrets.key.read_text() != before and done.json["key"] in secrets.store.read_text()
    assert before in secrets.key.read_text()
    assert secrets("get", "openai").out == "sk-1\n"


def test_old_keys_are_dropped_when_told_to_and_not_those_of_a_store_beside(
    secrets: Secrets, tmp_path: Path
) -> None:
    assert secrets("drop-old-keys").code == ExitCode.NOT_FOUND
    beside = tmp_path / "beside.json"
    secrets("set", "openai", value="sk-1")
    secrets("set", "openai", "--store", str(beside), value="sk-2")
    old = json.loads(beside.read_bytes())["key"]
    secrets("rotate-key")
    kept = secrets("drop-old-keys", "--beside", str(beside), "--json")
    assert kept.code == 0, kept.err
    assert kept.json["keys"] == []
    assert secrets("get", "openai", "--store", str(beside)).out == "sk-2\n"
    done = secrets("drop-old-keys", "--json")
    assert mismatch(done.json, payload.SecretDroppedKeysPayload) is None
    assert done.json["keys"] == [old]
    assert secrets("get", "openai").out == "sk-1\n"
    assert secrets("get", "openai", "--store", str(beside)).code == ExitCode.USAGE


def test_a_key_in_a_variable_is_used_where_no_source_is_named(secrets: Secrets) -> None:
    key = MasterKey.draw().text().reveal()
    variable = {"LLMSPELL_SECRETS_KEY_SOURCE": "", "LLMSPELL_SECRETS_KEY": key}
    assert secrets("set", "openai", value="sk-1", **variable).code == 0
    assert secrets("get", "openai", **variable).out == "sk-1\n"
    named = {"LLMSPELL_SECRETS_KEY_SOURCE": "env:MINE", "MINE": key}
    assert secrets("get", "openai", **named).out == "sk-1\n"
    other = {"LLMSPELL_SECRETS_KEY_SOURCE": "env:MINE", "MINE": MasterKey.draw().text().reveal()}
    assert secrets("get", "openai", **other).code == ExitCode.USAGE


@pytest.mark.parametrize(
    "arguments, value, code",
    [
        (("set", "openai", "hunter22"), "", ExitCode.USAGE),
        (("set", "openai"), "", ExitCode.USAGE),
        (("set", "openai"), b"\xff", ExitCode.USAGE),
        (("set", "openai"), "v" * 65_537, ExitCode.USAGE),
        (("set", "Open AI"), "v", ExitCode.USAGE),
        (("get", "../x"), "", ExitCode.USAGE),
        (("set", "openai", "--tenant", ""), "v", ExitCode.USAGE),
        (("set", "openai", "--key", "hunter22"), "v", ExitCode.USAGE),
        (("list", "--key", "file:"), "", ExitCode.USAGE),
    ],
)
def test_what_cannot_be_taken_is_refused_without_being_shown(
    secrets: Secrets, arguments: tuple[str, ...], value: str | bytes, code: ExitCode
) -> None:
    done = secrets(*arguments, value=value)
    assert done.code == code, done.err
    assert len(done.err.splitlines()) == 1
    if "--key" in arguments:
        assert "hunter22" not in done.err
    assert not secrets.store.exists()


def test_a_damaged_store_and_an_open_one_are_told(secrets: Secrets) -> None:
    secrets("set", "openai", value="sk-1")
    secrets.store.chmod(0o644)
    assert "chmod 600" in secrets("list").err
    os.chmod(secrets.store, 0o600)
    secrets.store.write_text("{}")
    assert secrets("list").code == ExitCode.STORAGE


def test_accesses_and_changes_are_recorded(secrets: Secrets, tmp_path: Path) -> None:
    log = {"LLMSPELL_AUDIT": str(tmp_path / "log")}
    assert secrets("list", **log).code == 0
    assert not (tmp_path / "log").exists()
    for arguments in (
        ("set", "openai", "--tenant", "acme"),
        ("get", "openai", "--tenant", "acme"),
        ("rotate-key",),
        ("delete", "openai", "--tenant", "acme"),
        ("list",),
    ):
        done = secrets(*arguments, value="hunter22", **log)
        assert done.code == 0, done.err
    assert secrets("get", "openai", **log).code == ExitCode.NOT_FOUND
    ref = "local:tenants/acme/openai"
    found = [(r.kind, r.subject, r.tenant, r.outcome) for r in read_audit(tmp_path / "log")]
    assert found == [
        ("secret.change", ref, "acme", "begun"),
        ("key.change", str(secrets.store), None, "begun"),
        ("key.change", str(secrets.store), None, "done"),
        ("secret.change", ref, "acme", "done"),
        ("secret.access", ref, "acme", "done"),
        ("key.change", str(secrets.store), None, "begun"),
        ("key.change", str(secrets.store), None, "done"),
        ("secret.change", ref, "acme", "begun"),
        ("secret.change", ref, "acme", "done"),
        ("secret.access", "local:openai", None, "failed"),
    ]


def test_what_cannot_be_recorded_is_not_done(secrets: Secrets, tmp_path: Path) -> None:
    secrets("set", "openai", value="sk-1")
    (tmp_path / "log").mkdir(mode=0o777)
    (tmp_path / "log").chmod(0o777)  # which others may write to
    for arguments in (("get", "openai"), ("delete", "openai"), ("rotate-key",)):
        done = secrets(*arguments, LLMSPELL_AUDIT=str(tmp_path / "log"))
        assert done.code != 0 and "sk-1" not in done.out
    assert secrets("get", "openai").out == "sk-1\n"
