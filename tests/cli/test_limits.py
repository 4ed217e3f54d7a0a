"""All nine quotas on the command line: given, changed, soft, shown."""

from __future__ import annotations

from pathlib import Path

import pytest

import llmspell
from llmspell.cli import payload
from llmspell.cli.exits import ExitCode
from llmspell.config import QUOTA_NAMES, QuotaLimits

from .conforming import mismatch
from .conftest import Cli

#: Of each quota: what is given, and how the JSON and the table show it.
GIVEN = {
    "max_documents": ("11", 11, "11"),
    "max_vectors": ("12", 12, "12"),
    "max_storage_mb": ("2", 2 << 20, "2.0 MiB"),
    "max_dimensions": ("1024", 1024, "1,024"),
    "max_embeddings_per_day": ("13", 13, "13"),
    "max_tokens_per_day": ("1000000", 1_000_000, "1,000,000"),
    "max_cost_per_month": ("12.5", 12_500_000, "12.5"),
    "max_api_calls_per_minute": ("14", 14, "14"),
    "max_queries_per_second": ("15", 15, "15"),
}


def option(quota: str) -> str:
    return "--" + quota.replace("_", "-")


def every(command: str) -> list[str]:
    given = [part for quota, (text, *_) in GIVEN.items() for part in (option(quota), text)]
    return ["tenant", command, "acme", *given]


def quotas(data: Path) -> QuotaLimits:
    with llmspell.open(data) as database:
        return database.tenant("acme").config.quotas


@pytest.mark.parametrize("command", ["create", "update"])
def test_every_quota_can_be_given_and_is_shown(cli: Cli, data: Path, command: str) -> None:
    assert list(GIVEN) == list(QUOTA_NAMES)
    if command == "update":
        cli("tenant", "create", "acme")
    done = cli(*every(command), "--soft", "max_tokens_per_day", "--json")
    assert done.code == 0, done.err
    assert mismatch(done.json, payload.TenantPayload) is None
    shown = list(done.json["usage"].values())
    assert [part["limit"] for part in shown] == [limit for _, limit, _ in GIVEN.values()]
    assert [part["soft"] for part in shown] == [name == "max_tokens_per_day" for name in GIVEN]
    assert quotas(data).soft == {"max_tokens_per_day"}
    assert quotas(data).max_cost_per_month == 12.5
    table = cli("tenant", "show", "acme").out
    for quota, (_, _, text) in GIVEN.items():
        soft = " (soft)" if quota == "max_tokens_per_day" else ""
        assert any(line.endswith(f" {text}{soft}") for line in table.splitlines()), (quota, table)


def test_stats_and_list_show_them_too(cli: Cli) -> None:
    cli(*every("create"))
    for command in (("stats",), ("tenant", "list")):
        usage = cli(*command, "--json").json["tenants"][0]["usage"]
        assert len(usage) == len(QUOTA_NAMES)
        assert usage["cost"]["limit"] == 12_500_000


def test_update_leaves_what_is_not_given(cli: Cli, data: Path) -> None:
    cli("tenant", "create", "acme", "--name", "Acme", "--max-vectors", "7", "--soft", "max_vectors")
    before = quotas(data)
    assert cli("tenant", "update", "acme", "--max-tokens-per-day", "5").code == 0
    after = quotas(data)
    assert (after.max_vectors, after.soft, after.max_tokens_per_day) == (7, before.soft, 5)
    assert cli("tenant", "update", "acme", "--name", "Acme Inc.", "--json").json["name"] == (
        "Acme Inc."
    )
    assert quotas(data) == after


def test_soft_quota_becomes_hard_and_unlimited(cli: Cli, data: Path) -> None:
    cli(*every("create"), "--soft", "--max-vectors", "--soft", "max-documents")
    assert quotas(data).soft == {"max_vectors", "max_documents"}
    cli("tenant", "update", "acme", "--hard", "max_vectors", "--soft", "max_storage_mb")
    assert quotas(data).soft == {"max_documents", "max_storage_mb"}
    done = cli("tenant", "update", "acme", "--max-documents", "unlimited")
    assert done.code == 0, done.err
    assert (quotas(data).soft, quotas(data).max_documents) == ({"max_storage_mb"}, None)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["--max-tokens-per-day", "1.5"], "--max-tokens-per-day"),
        (["--max-cost-per-month", "-1"], "--max-cost-per-month"),
        (["--max-cost-per-month", "1e3"], "--max-cost-per-month"),
        (["--max-cost-per-month", "2000000"], "max_cost_per_month"),
        (["--soft", "max_beans"], "max_beans"),
        (["--soft", "max_queries_per_second"], "unlimited"),
    ],
)
def test_limit_that_there_cannot_be_is_wrong_usage(
    cli: Cli, data: Path, given: list[str], named: str
) -> None:
    done = cli("tenant", "create", "acme", *given)
    assert done.code == ExitCode.USAGE
    assert named in done.err
    cli("tenant", "create", "acme")
    before = quotas(data)
    assert cli("tenant", "update", "acme", *given).code == ExitCode.USAGE
    assert quotas(data) == before


def test_update_of_nothing_or_nobody_says_so(cli: Cli) -> None:
    cli("tenant", "create", "acme")
    assert cli("tenant", "update", "acme").code == ExitCode.USAGE
    assert cli("tenant", "update", "nobody", "--name", "x").code == ExitCode.NOT_FOUND


def test_doctor_names_the_extra_that_shared_quotas_need(cli: Cli) -> None:
    names = {check["name"] for check in cli("doctor", "--json").json["checks"]}
    assert "extra redis" in names


def test_doctor_says_which_tools_this_host_can_confine(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmspell.security import host

    checks = {check["name"]: check for check in cli("doctor", "--json").json["checks"]}
    assert {"landlock abi", "seccomp", "memory group", "privileged tools"} <= checks.keys()

    less = host.HostSupport(
        no_new_privs=True,
        seccomp=True,
        pidfd=True,
        landlock_abi=2,
        reasons=(("openat2", "ENOSYS"),),
    )
    monkeypatch.setattr(host, "probe", lambda: less)
    done = cli("doctor", "--json")
    checks = {check["name"]: check for check in done.json["checks"]}
    assert (checks["openat2"]["status"], checks["openat2"]["detail"]) == ("warning", "ENOSYS")
    assert checks["landlock abi"]["detail"] == "2"
    assert checks["safe tools"]["status"] == "ok"
    assert checks["restricted tools"]["status"] == "warning"
    assert checks["restricted tools"]["detail"].startswith("refused: landlock_abi is 2, and 3")
    assert done.code == 0

    monkeypatch.setattr(host, "probe", lambda: host.probing._nothing("plan9 isn't Linux"))
    checks = {check["name"]: check for check in cli("doctor", "--json").json["checks"]}
    assert checks["sandbox"]["detail"] == "nothing: plan9 isn't Linux"
    assert "seccomp" not in checks
