"""``llmspell tenant``, ``stats`` and ``doctor`` on real data directories."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import llmspell
from llmspell import TenantConfig
from llmspell.cli import payload
from llmspell.cli.exits import ExitCode
from llmspell.storage.files import FileLock

from .conforming import mismatch
from .conftest import COMMAND, Cli, environment


def test_created_tenant_has_the_quotas_and_settings_given(cli: Cli, data: Path) -> None:
    done = cli(
        *("tenant", "create", "acme", "--name", "Acme", "--dim", "8", "--metric", "l2"),
        *("--preset", "performance", "--max-vectors", "7", "--max-documents", "unlimited"),
        "--json",
    )
    assert done.code == 0, done.err
    assert mismatch(done.json, payload.TenantPayload) is None
    assert done.json["usage"]["vectors"] == {"used": 0, "limit": 7, "soft": False}
    assert done.json["usage"]["documents"] == {"used": 0, "limit": None, "soft": False}
    assert (
        done.json["usage"]["api_calls"]["limit"] == llmspell.QuotaLimits().max_api_calls_per_minute
    )
    with llmspell.open(data) as database:
        config = database.tenant("acme").config
    assert (config.name, config.dim, config.metric) == ("Acme", 8, "l2")
    assert config.index == llmspell.IndexParams.performance()


def test_creating_a_tenant_twice_fails_with_one_line(cli: Cli) -> None:
    assert cli("tenant", "create", "acme").code == 0
    done = cli("tenant", "create", "acme")
    assert done.code == ExitCode.FAILED
    assert "acme" in done.err
    assert len(done.err.splitlines()) == 1


def test_tenant_id_of_any_script_works(cli: Cli) -> None:
    for name in ("日本", "../etc", "a b"):
        assert cli("tenant", "create", name).code == 0
    listed = cli("tenant", "list", "--json")
    assert sorted(tenant["id"] for tenant in listed.json["tenants"]) == sorted(
        ["日本", "../etc", "a b"]
    )


def test_list_show_and_stats_give_the_same_usage(cli: Cli, data: Path) -> None:
    with llmspell.open(data) as database:
        # The use of a rate fades with time, so it would differ between the commands.
        quotas = llmspell.QuotaLimits(max_api_calls_per_minute=None)
        room = database.create_tenant(TenantConfig(id="acme", name="Acme", quotas=quotas))
        room.upsert(["a", "b"], np.eye(2, 4, dtype=np.float32), texts=["one", "two"])
    shown = cli("tenant", "show", "acme", "--json").json
    assert shown["usage"]["vectors"]["used"] == 2
    assert shown["usage"]["storage"]["used"] > 0
    listed = cli("tenant", "list", "--json").json
    assert mismatch(listed, payload.TenantListPayload) is None
    assert listed["tenants"] == [shown | {"dim": None}]
    stats = cli("stats", "--json").json
    assert mismatch(stats, payload.StatsPayload) is None
    assert stats["tenants"] == listed["tenants"]
    assert stats["bytes_on_disk"] > 0


def test_show_gives_the_dimension_of_the_first_vectors_also_beside_a_writer(
    cli: Cli, data: Path
) -> None:
    with llmspell.open(data) as database:
        room = database.create_tenant(TenantConfig(id="acme"))
        room.upsert("a", np.ones((1, 4), np.float32))
    assert cli("tenant", "show", "acme", "--json").json["dim"] == 4
    assert "dim 4" in cli("tenant", "show", "acme").out
    (path,) = data.rglob("writer.lock")
    lock = FileLock(path, timeout=0, holder="acme")
    try:
        shown = cli("tenant", "show", "acme", "--json").json
    finally:
        lock.release()
    assert (shown["dim"], shown["usage"]["vectors"]["used"]) == (4, 1)


@pytest.mark.parametrize("command", [("tenant", "list"), ("tenant", "show", "acme"), ("stats",)])
def test_text_output_fits_80_columns(cli: Cli, command: tuple[str, ...]) -> None:
    cli("tenant", "create", "acme", "--name", "A name that is rather long for a column " * 2)
    done = cli(*command)
    assert done.code == 0, done.err
    assert "acme" in done.out
    assert max(len(line) for line in done.out.splitlines()) <= 80


def test_unknown_tenant_gives_code_3(cli: Cli) -> None:
    cli("tenant", "create", "acme")
    for arguments in (
        ("tenant", "show", "acme-corp"),
        ("tenant", "drop", "acme-corp", "--yes"),
        ("search", "acme-corp", "words"),
    ):
        done = cli(*arguments, "--json")
        assert done.code == ExitCode.NOT_FOUND
        assert done.out == ""
        assert done.error["type"] == "TenantNotFound"
        assert "`llmspell tenant create`" in done.error["message"]


def test_drop_asks_for_consent_and_then_the_tenant_is_gone(cli: Cli) -> None:
    cli("tenant", "create", "acme")
    refused = cli("tenant", "drop", "acme")
    assert refused.code == ExitCode.USAGE
    assert "--yes" in refused.err
    assert cli("tenant", "show", "acme").code == 0
    done = cli("tenant", "drop", "acme", "--yes", "--json")
    assert mismatch(done.json, payload.DroppedPayload) is None
    assert cli("tenant", "show", "acme").code == ExitCode.NOT_FOUND


def _stopped_at_question(data: Path, stop: Callable[[int, int], object]) -> tuple[int, str]:
    """Exit code and errors of a drop on a terminal that ``stop``, given pid and terminal, ends."""
    # Started in the background by a shell, this process ignores the signal, and its children would.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "tenant", "drop", "acme"],
        env=environment(data),
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        os.close(theirs)
        shown = b""
        while b"?" not in shown:
            shown += os.read(ours, 4096)
        # Again, should it be lost: a terminal whose mode is changed forgets what was typed before.
        for _ in range(6):
            stop(process.pid, ours)
            try:
                _, err = process.communicate(timeout=10)
                break
            except subprocess.TimeoutExpired:
                continue
        else:
            process.kill()
            pytest.fail("it wasn't stopped")
    os.close(ours)
    return process.returncode, err.strip()


@pytest.mark.parametrize(
    "stop",
    [
        pytest.param(lambda pid, _: os.kill(pid, signal.SIGINT), id="Ctrl-C"),
        pytest.param(lambda _, terminal: os.write(terminal, b"\x04"), id="Ctrl-D"),
    ],
)
def test_drop_stopped_at_its_question_ends_with_130_and_drops_nothing(
    cli: Cli, data: Path, stop: Callable[[int, int], object]
) -> None:
    cli("tenant", "create", "acme")
    assert _stopped_at_question(data, stop) == (ExitCode.INTERRUPTED, "llmspell: stopped")
    assert cli("tenant", "show", "acme").code == 0


def test_doctor_finds_a_healthy_directory_healthy(cli: Cli) -> None:
    cli("tenant", "create", "acme")
    done = cli("doctor", "--json")
    assert done.code == 0, done.out
    assert mismatch(done.json, payload.DoctorPayload) is None
    checks = {check["name"]: check for check in done.json["checks"]}
    assert {"llmspell", "python", "numpy", "lmdb", "cpu", "simd", "file system"} <= checks.keys()
    assert checks["tenant acme"]["status"] == "ok"
    assert "library 0." in checks["lmdb"]["detail"]


def test_doctor_spends_no_quota_and_finds_a_tenant_at_its_limit_healthy(
    cli: Cli, data: Path
) -> None:
    quotas = llmspell.QuotaLimits(max_api_calls_per_minute=1)
    with llmspell.open(data) as database:
        database.create_tenant(TenantConfig(id="idle", quotas=quotas))
        room = database.create_tenant(TenantConfig(id="acme", quotas=quotas))
        room.upsert(["a", "b"], np.eye(2, 4, dtype=np.float32))
    done = cli("doctor", "--json")
    assert done.code == 0, done.out
    details = {check["name"]: check["detail"] for check in done.json["checks"]}
    assert details["tenant acme"].startswith("2 vectors, open in ")
    assert details["tenant idle"].startswith("0 vectors, open in ")
    assert cli("tenant", "show", "idle", "--json").json["usage"]["api_calls"]["used"] == 0


def test_doctor_fails_where_a_tenant_is_damaged(cli: Cli, data: Path) -> None:
    cli("tenant", "create", "acme")
    cli("tenant", "create", "other")
    cli("doctor")
    broken = min(path for path in data.rglob("data.mdb") if "tenants" in path.parts)
    broken.write_bytes(b"\xff" * broken.stat().st_size)
    done = cli("doctor", "--json")
    assert done.code == ExitCode.FAILED
    assert done.json["healthy"] is False
    assert [check["status"] for check in done.json["checks"]].count("broken") == 1
