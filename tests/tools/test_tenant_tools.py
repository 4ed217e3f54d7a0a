"""What a tenant may do: allow-lists, levels, quotas, places, approval, records."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmspell import Database, Tenant, TenantConfig
from llmspell.errors import ConfigError, TenantSuspended
from llmspell.providers import deadline
from llmspell.quota import HeldPlaces, Place
from llmspell.remote import Deadline
from llmspell.security import AuditLog, SecurityLevel
from llmspell.tools import (
    Approval,
    ApprovalHook,
    CallQuota,
    FaultKind,
    ToolCall,
    ToolPolicy,
    ToolRegistry,
    ToolResult,
    tool,
)


@tool(trusted=True, level=SecurityLevel.SAFE)
def small(x: int = 0) -> int:
    """Do a little."""
    return x


@tool(trusted=True)
def large(x: int = 0) -> int:
    """Do much."""
    return x


@tool(trusted=True, needs_approval=True)
def risky(x: int = 0, secret: str = "") -> int:
    """Do what somebody has to approve."""
    return x


@pytest.fixture
def mine() -> Iterator[ToolRegistry]:
    with ToolRegistry([small, large, risky.bind(secret="hush")]) as made:
        yield made


def kind_of(result: ToolResult) -> FaultKind | None:
    return None if result.fault is None else result.fault.kind


@pytest.mark.parametrize(
    "policy, names",
    [
        (ToolPolicy(), ["large", "risky", "small"]),
        (ToolPolicy(allow=("small",)), ["small"]),
        (ToolPolicy(allow=("s*", "l?rge")), ["large", "small"]),
        (ToolPolicy(allow=()), []),
        (ToolPolicy(max_level=SecurityLevel.RESTRICTED), ["small"]),
    ],
)
def test_a_tenant_is_told_of_what_it_may_call_and_calls_nothing_else(
    mine: ToolRegistry, tenant: Tenant, policy: ToolPolicy, names: list[str]
) -> None:
    tools = mine.bind(tenant, policy=policy, approve=lambda call: True)
    assert [spec.name for spec in tools.specs()] == names
    for name in ("small", "large", "risky"):
        result = tools.call(name, {})
        assert kind_of(result) is (None if name in names else FaultKind.UNKNOWN_TOOL)


def test_what_is_not_allowed_reads_as_what_is_not_there(
    mine: ToolRegistry, tenant: Tenant, database: Database
) -> None:
    tools = mine.bind(tenant, policy=ToolPolicy(allow=()))
    told = [tools.call(name, {}).text.replace(name, "X") for name in ("small", "nothing")]
    assert told[0] == told[1]
    assert database.instruments.tools.calls() == {("_unknown", "unknown_tool"): 2}


def test_calls_are_counted_by_tool_and_tenant(
    mine: ToolRegistry, tenant: Tenant, database: Database
) -> None:
    policy = ToolPolicy(quotas={"small": CallQuota(calls=2, seconds=3_600)})
    assert mine.bind(tenant, policy=policy).call("small", {}).is_ok
    assert kind_of(mine.bind(tenant, policy=policy).call("small", {"x": "y"})) is (
        FaultKind.INVALID_ARGUMENTS
    )
    assert mine.bind(tenant, policy=policy).call("small", {}).is_ok
    result = mine.bind(tenant, policy=policy).call("small", {})  # another handle, one tenant
    assert kind_of(result) is FaultKind.CALL_LIMIT
    assert result.fault is not None
    assert 0 < (result.fault.retry_after or 0) <= 3_600
    assert mine.bind(tenant, policy=policy).call("large", {}).is_ok
    other = database.create_tenant(TenantConfig(id="other"))
    assert mine.bind(other, policy=policy).call("small", {}).is_ok


def test_a_quota_of_all_tools_counts_them_together(mine: ToolRegistry, tenant: Tenant) -> None:
    policy = ToolPolicy(quotas={"*": CallQuota(calls=2, seconds=60)})
    tools = mine.bind(tenant, policy=policy)
    kinds = [kind_of(tools.call(name, {})) for name in ("small", "large", "small")]
    assert kinds == [None, None, FaultKind.CALL_LIMIT]


def test_no_more_run_at_one_time_than_the_tenant_may(mine: ToolRegistry, tenant: Tenant) -> None:
    running, most, three = 0, 0, asyncio.Barrier(3)

    @tool(trusted=True)
    async def counted() -> None:
        """Count how many run."""
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.wait_for(three.wait(), 60)
        running -= 1

    mine.add(counted)
    policy = ToolPolicy(max_concurrent=3)

    async def main() -> list[ToolResult]:
        calls = [mine.bind(tenant, policy=policy).acall("counted", {}) for _ in range(30)]
        return await asyncio.gather(*calls)

    assert all(result.is_ok for result in asyncio.run(main()))
    assert most == 3


def test_who_waits_too_long_is_told_that_all_are_busy(mine: ToolRegistry, tenant: Tenant) -> None:
    begun, may_go_on = threading.Event(), threading.Event()

    @tool(trusted=True, max_concurrent=1)
    def slow() -> None:
        """Wait."""
        begun.set()
        assert may_go_on.wait(60)

    mine.add(slow)
    tools = mine.bind(tenant, policy=ToolPolicy(max_wait=0.01))
    first = threading.Thread(target=tools.call, args=("slow", {}))
    first.start()
    try:
        assert begun.wait(60)
        assert kind_of(tools.call("slow", {})) is FaultKind.BUSY
        assert kind_of(asyncio.run(tools.acall("slow", {}))) is FaultKind.BUSY
    finally:
        may_go_on.set()
        first.join()
    assert tools.call("slow", {}).is_ok
    places = mine.places_of("slow")
    assert places is not None
    assert places.taken == 0


def test_a_call_waits_half_a_minute_for_a_place_where_the_policy_says_nothing(
    mine: ToolRegistry, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    def none_is_free(held: HeldPlaces, bounds: Any, timeout: float, *, until: float) -> bool:
        waited.append(timeout)
        return False

    monkeypatch.setattr(HeldPlaces, "take", none_is_free)
    for policy in (None, ToolPolicy(max_wait=2.5)):
        result = mine.bind(tenant, policy=policy).call("small", {})
        assert kind_of(result) is FaultKind.BUSY
    assert waited == [30.0, 2.5]


async def later(call: ToolCall) -> Approval:
    await asyncio.sleep(0)
    return Approval(call.arguments.get("x") == 1, "x is not 1")


@pytest.mark.parametrize(
    "hook, x, reason",
    [
        (lambda call: True, 0, None),
        (lambda call: False, 0, "the call wasn't approved"),
        (None, 0, "the call wasn't approved: nobody is there to approve it"),
        (later, 1, None),
        (later, 2, "the call wasn't approved: x is not 1"),
    ],
)
def test_somebody_decides_on_each_call(
    mine: ToolRegistry, tenant: Tenant, hook: ApprovalHook | None, x: int, reason: str | None
) -> None:
    tools = mine.bind(tenant, approve=hook)
    for result in (
        tools.call("risky", {"x": x}),
        asyncio.run(tools.acall("risky", {"x": x})),
    ):
        assert kind_of(result) is (None if reason is None else FaultKind.DENIED)
        assert result.fault is None or result.fault.message == reason
    assert tools.call("small", {}).is_ok


def test_who_approves_sees_the_call_without_what_is_fixed(
    mine: ToolRegistry, tenant: Tenant
) -> None:
    seen: list[ToolCall] = []

    def look(call: ToolCall) -> bool:
        seen.append(call)
        return True

    tools = mine.bind(tenant, policy=ToolPolicy(approve=("sm*",)), approve=look)
    assert tools.call("risky", {"x": 3}).is_ok
    assert tools.call("small", '{"x": 4}').is_ok
    assert tools.call("large", {}).is_ok
    assert not tools.call("risky", {"x": "y"}).is_ok
    assert seen == [ToolCall("acme", "risky", {"x": 3}), ToolCall("acme", "small", {"x": 4})]


def test_a_hook_that_gives_no_decision_is_an_error(mine: ToolRegistry, tenant: Tenant) -> None:
    hook: Any = lambda call: "yes"  # noqa: E731
    with pytest.raises(ConfigError, match="it gives True, False or an Approval"):
        mine.bind(tenant, approve=hook).call("risky", {})


def test_the_deadline_around_a_call_holds_for_the_tool(tenant: Tenant) -> None:
    begun: list[str] = []

    @tool(trusted=True)
    def hang() -> None:
        """Hang."""
        begun.append("sync")
        gone.wait(60)

    @tool(trusted=True)
    async def ahang() -> None:
        """Hang."""
        begun.append("async")
        await asyncio.sleep(60)

    gone = threading.Event()
    with ToolRegistry([hang, ahang]) as registry:
        tools = registry.bind(tenant)
        for name in ("hang", "ahang"):
            with deadline(0.05):
                late = [tools.call(name, {}), asyncio.run(tools.acall(name, {}))]
            assert [kind_of(one) for one in late] == [FaultKind.TIMEOUT] * 2
            assert "had passed" in late[1].text
        gone.set()
    assert begun in ([], ["sync"], ["async"], ["sync", "async"])


def test_a_tool_is_not_called_by_who_got_its_place_behind_the_deadline(
    mine: ToolRegistry, tenant: Tenant
) -> None:
    called: list[str] = []

    @tool(trusted=True, max_concurrent=1)
    def note() -> None:
        """Note it."""
        called.append("note")

    mine.add(note)
    tools = mine.bind(tenant, policy=ToolPolicy(max_concurrent=1))
    of_tool, of_tenant = mine.places_of("note"), mine.tallies.of(tenant.id, tenant.generation)
    assert of_tool is not None

    def free(around: Deadline, first: Place, last: Place) -> None:
        """The first place in time, and the last one too late."""
        while around.remaining > 0.1:
            time.sleep(0.01)
        first.give_back()
        while around.remaining:
            time.sleep(0.01)
        last.give_back()

    for call in (tools.call, lambda *given: asyncio.run(tools.acall(*given))):
        first, last = of_tenant.places(1).take(0), of_tool.take(0)
        assert first is not None and last is not None
        with deadline(0.2) as around:
            freeing = threading.Thread(target=free, args=(around, first, last))
            freeing.start()
            result = call("note", {})
        freeing.join()
        assert kind_of(result) in (FaultKind.BUSY, FaultKind.TIMEOUT)
        assert not called
    assert tools.call("note", {}).is_ok


def test_denials_are_on_record(tenant: Tenant, tmp_path: Path) -> None:
    with AuditLog.open(tmp_path / "log") as log, ToolRegistry([small, risky], audit=log) as mine:
        tools = mine.bind(tenant, policy=ToolPolicy(allow=("risky",)))
        tools.call("small", {})
        tools.call("risky", {})
        tools.call("nothing", {})
        log.flush()
        records = [r for r in log.records() if r.kind == "tool.run"]
    assert [(r.subject, r.tenant, r.outcome) for r in records] == [
        ("small", "acme", "denied"),
        ("risky", "acme", "denied"),
    ]


def test_a_suspended_tenant_calls_nothing(
    mine: ToolRegistry, tenant: Tenant, database: Database
) -> None:
    tools = mine.bind(tenant)
    database.suspend_tenant("acme")
    with pytest.raises(TenantSuspended):
        tools.call("small", {})


def test_calls_are_measured(mine: ToolRegistry, tenant: Tenant, database: Database) -> None:
    tools = mine.bind(tenant)
    tools.call("small", {})
    tools.call("small", {"x": "y"})
    text = database.metrics()
    assert 'llmspell_tool_calls_total{outcome="ok",tool="small"} 1.0' in text
    assert 'llmspell_tool_calls_total{outcome="invalid_arguments",tool="small"} 1.0' in text
    assert 'llmspell_tool_duration_seconds_count{tool="small"} 1.0' in text


def test_a_result_can_be_stored(mine: ToolRegistry, tenant: Tenant) -> None:
    for result in (mine.bind(tenant).call("small", {"x": n}) for n in (1, "y")):
        assert ToolResult.from_fields(result.to_fields()) == result


@pytest.mark.parametrize(
    "given",
    [
        {"allow": "small"},
        {"max_level": "safe"},
        {"max_concurrent": 0},
        {"max_wait": -1},
        {"quotas": {"small": 3}},
        {"approve": 3},
    ],
)
def test_a_policy_that_can_not_be_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        ToolPolicy(**given)


@pytest.mark.parametrize("calls, seconds", [(0, 1), (1, 0), (True, 1), (1, float("nan"))])
def test_a_quota_that_can_not_be_is_refused(calls: Any, seconds: Any) -> None:
    with pytest.raises(ConfigError):
        CallQuota(calls=calls, seconds=seconds)
