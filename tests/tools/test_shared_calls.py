"""Call quotas that are counted in the tenant's state, for all processes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import llmspell
from llmspell import Database, QuotaLimits, Tenant, TenantConfig
from llmspell.errors import ConfigError, QuotaExceeded
from llmspell.tools import CallQuota, FaultKind, ToolCall, ToolPolicy, ToolRegistry, tool
from llmspell.tools import shared_calls as module
from llmspell.tools.approval import ApprovalPending

ROOT = Path(__file__).parents[2]
HOUR = CallQuota(calls=5, seconds=3_600, shared=True)


@tool(trusted=True)
def small() -> int:
    """Do a little."""
    return 1


@tool(trusted=True)
def other() -> int:
    """Do something else."""
    return 2


@pytest.fixture
def mine() -> Iterator[ToolRegistry]:
    with ToolRegistry([small, other]) as made:
        yield made


@pytest.fixture
def acme(database: Database) -> Tenant:
    return database.create_tenant(TenantConfig(id="acme", quotas=QuotaLimits.unlimited()))


PROGRAM = """
import sys
import llmspell
from tests.tools.test_shared_calls import HOUR, small
from llmspell.tools import ToolPolicy, ToolRegistry
with llmspell.open(sys.argv[1]) as db, ToolRegistry([small]) as registry:
    tools = registry.bind(db.tenant("acme"), policy=ToolPolicy(quotas={"small": HOUR}))
    print(sum(tools.call("small", {}).is_ok for _ in range(3)))
"""


def test_calls_of_all_processes_are_counted_together(
    mine: ToolRegistry, acme: Tenant, database: Database
) -> None:
    tools = mine.bind(acme, policy=ToolPolicy(quotas={"small": HOUR}))
    given = [sys.executable, "-c", PROGRAM, str(database.path)]
    done = subprocess.run(given, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "3"
    results = [tools.call("small", {}) for _ in range(3)]
    assert [result.is_ok for result in results] == [True, True, False]
    fault = results[-1].fault
    assert fault is not None
    assert (fault.kind, fault.message) == (
        FaultKind.CALL_LIMIT,
        "the tenant has used its calls of this tool",
    )
    assert 3_500 < (fault.retry_after or 0) <= 3_600


@pytest.mark.parametrize("lease", [None, 3])
def test_calls_side_by_side_never_pass_the_quota(
    mine: ToolRegistry, acme: Tenant, lease: int | None
) -> None:
    quota = CallQuota(calls=5, seconds=3_600, shared=True, lease=lease)
    tools = mine.bind(acme, policy=ToolPolicy(quotas={"*": quota}))
    with ThreadPoolExecutor(4) as threads:
        names = ["small", "other"] * 6
        done = sum(threads.map(lambda name: tools.call(name, {}).is_ok, names))
    while tools.call("small", {}).is_ok:  # what was leased while others found nothing
        done += 1
    assert done == 5


def test_a_refused_call_is_counted_by_neither_quota(
    mine: ToolRegistry, acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    quotas = {
        "small": CallQuota(calls=2, seconds=60, shared=True),
        "*": CallQuota(calls=3, seconds=60),
    }
    tools = mine.bind(acme, policy=ToolPolicy(quotas=quotas))

    async def main() -> list[bool]:
        names = ["small", "small", "small", "other", "other"]
        return [(await tools.acall(name, {})).is_ok for name in names]

    assert asyncio.run(main()) == [True, True, False, True, False]
    now = module.time.time()
    monkeypatch.setattr(module.time, "time", lambda: now - 1_000)  # set back: it opens nothing
    assert not tools.call("small", {}).is_ok
    key = ("tools", "calls", "small", 60_000)
    times, leases = acme.state.get(key)
    assert (len(times), leases) == (2, [])


def test_an_async_handle_counts_too(mine: ToolRegistry, tmp_path: Path) -> None:
    async def main() -> list[bool]:
        async with llmspell.open(tmp_path / "other") as db:
            tenant = await db.create_tenant(TenantConfig(id="a"))
            quota = CallQuota(calls=3, seconds=60, shared=True, lease=2)
            tools = mine.bind(tenant, policy=ToolPolicy(quotas={"small": quota}))
            return [(await tools.acall("small", {})).is_ok for _ in range(4)]

    assert asyncio.run(main()) == [True, True, True, False]
    mine.close()  # the database is closed, so that nothing can be given back


def test_a_tenant_that_can_not_pay_for_the_count_makes_no_call(
    mine: ToolRegistry, database: Database
) -> None:
    quotas = QuotaLimits(max_api_calls_per_minute=1)  # the call itself
    poor = database.create_tenant(TenantConfig(id="poor", quotas=quotas))
    once = {"small": HOUR, "*": CallQuota(calls=1, seconds=60)}
    tools = mine.bind(poor, policy=ToolPolicy(quotas=once))
    with pytest.raises(QuotaExceeded):
        tools.call("small", {})
    database.update_tenant("poor", quotas=QuotaLimits.unlimited())
    assert tools.call("small", {}).is_ok


def test_a_shared_quota_has_few_calls() -> None:
    with pytest.raises(ConfigError, match="1,000"):
        CallQuota(calls=1_001, seconds=1, shared=True)


@pytest.mark.parametrize("shared", [False, True])
def test_a_call_that_waits_for_approval_is_counted_when_it_is_made(
    mine: ToolRegistry, acme: Tenant, shared: bool
) -> None:
    answers: list[bool] = []

    def approve(call: ToolCall) -> bool:
        if not answers:
            raise ApprovalPending
        return answers.pop()

    quotas = {name: CallQuota(calls=1, seconds=3_600, shared=shared) for name in ("small", "*")}
    policy = ToolPolicy(quotas=quotas, approve=("small",))
    tools = mine.bind(acme, policy=policy, approve=approve)
    with pytest.raises(ApprovalPending):
        tools.call("small", {})
    with pytest.raises(ApprovalPending):
        asyncio.run(tools.acall("small", {}))
    answers.append(True)
    assert tools.call("small", {}).is_ok
    fault = tools.call("small", {}).fault
    assert fault is not None
    assert fault.kind is FaultKind.CALL_LIMIT
