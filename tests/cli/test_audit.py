"""``llmspell audit``, and the log that commands record in."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmspell.cli import payload
from llmspell.cli.exits import ExitCode
from llmspell.security import AuditLog, read_audit

from .conforming import mismatch
from .conftest import Cli


@pytest.fixture
def log(tmp_path: Path) -> Path:
    with AuditLog.open(tmp_path / "log") as opened:
        for number in range(5):
            opened.append("key.change", subject=f"[k]\x1b[2J{number}", details={"n": number})
        for _ in range(4):
            opened.append("tool.run", subject="grep", outcome="denied", tenant="acme")
    return tmp_path / "log"


def test_sound_log_is_said_to_be(cli: Cli, log: Path) -> None:
    done = cli("audit", "verify", str(log), "--json")
    assert done.code == 0, done.err
    assert mismatch(done.json, payload.AuditReportPayload) is None
    assert (done.json["sound"], done.json["records"]) == (True, 8)
    again = cli("audit", "verify", str(log), "--anchor", done.json["head"])
    assert again.code == 0
    assert "8 records in 1 files hold" in again.out
    assert done.json["head"] in again.out.replace("\n", "")


def test_damaged_log_is_named_by_the_exit_code_too(cli: Cli, log: Path) -> None:
    head = cli("audit", "verify", str(log), "--json").json["head"]
    (segment,) = log.glob("*.jsonl")
    lines = segment.read_bytes().splitlines(True)
    segment.write_bytes(b"".join(lines[:-1]))
    assert cli("audit", "verify", str(log)).code == 0
    done = cli("audit", "verify", str(log), "--anchor", head)
    assert done.code == ExitCode.STORAGE
    assert "its end was cut off [truncated]" in " ".join(done.out.split())
    del lines[3]
    segment.write_bytes(b"".join(lines))
    done = cli("audit", "verify", str(log), "--json")
    assert done.code == ExitCode.STORAGE
    assert mismatch(done.json, payload.AuditReportPayload) is None
    problem = done.json["problem"]
    assert (problem["reason"], problem["seq"], problem["segment"]) == ("sequence", 4, segment.name)
    assert problem["offset"] == len(b"".join(lines[:3]))
    assert cli("audit", "show", str(log)).code == ExitCode.STORAGE


def test_records_are_shown(cli: Cli, log: Path) -> None:
    done = cli("audit", "show", str(log), "--json")
    assert done.code == 0, done.err
    assert mismatch(done.json, payload.AuditListPayload) is None
    assert [record["seq"] for record in done.json["records"]] == list(range(1, 9))
    done = cli("audit", "show", str(log), "--tenant", "acme", "--last", "2", "--json")
    assert [record["count"] for record in done.json["records"]] == [1, 2]
    done = cli("audit", "show", str(log), "--kind", "key.change", "--since", "2000-01-01")
    assert done.out.count("\n") == 5
    assert "\x1b" not in done.out
    assert '"[k]\\u001b[2J3"' in done.out
    assert cli("audit", "show", str(log), "--until", "2000-01-01").out == ""
    assert "2 more of record 7" in cli("audit", "show", str(log)).out


def test_keyed_log_takes_its_key_from_a_file(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("a key of some length\n")
    with AuditLog.open(tmp_path / "log", key=b"a key of some length") as opened:
        opened.append("key.change", subject="x")
    arguments = ("audit", "verify", str(tmp_path / "log"))
    assert cli(*arguments).code == ExitCode.USAGE
    assert cli(*arguments, "--key-file", str(tmp_path / "key")).code == 0
    (tmp_path / "key").write_text("another of some length\n")
    assert cli(*arguments, "--key-file", str(tmp_path / "key")).code == ExitCode.USAGE


def test_nothing_there_is_not_found(cli: Cli, tmp_path: Path) -> None:
    for command in ("verify", "show"):
        assert cli("audit", command, str(tmp_path / "none")).code == ExitCode.NOT_FOUND


def test_commands_record_what_they_do(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMSPELL_AUDIT", str(tmp_path / "log"))
    assert cli("tenant", "create", "acme").code == 0
    assert cli("tenant", "update", "acme", "--max-vectors", "7").code == 0
    assert cli("tenant", "drop", "acme", "--yes").code == 0
    kinds = [record.kind for record in read_audit(tmp_path / "log", tenant="acme")]
    assert kinds == [
        *("tenant.create", "tenant.create", "tenant.update"),
        *("tenant.update", "tenant.drop", "tenant.drop"),
    ]
