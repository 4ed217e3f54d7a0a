"""Calls of tools that run in this process, because their owner says so."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import pytest

import llmspell
from llmspell import Database, Tenant, TenantConfig, current_operation
from llmspell.errors import (
    ConfigError,
    EgressDenied,
    InvalidArguments,
    PathEscape,
    QuotaExceeded,
)
from llmspell.tools import FaultKind, Tool, ToolContext, ToolOptions, ToolRegistry, tool
from llmspell.tools.faults import MESSAGE_CHARS


@tool(trusted=True)
def whose(context: ToolContext) -> dict[str, str]:
    """Tell for whom it runs."""
    operation = current_operation()
    assert operation is context.operation
    return {"tenant": context.tenant.id, "tool": context.tool}


@tool(trusted=True)
async def whose_async(context: ToolContext) -> str:
    """Tell for whom it runs."""
    await asyncio.sleep(0)
    return context.operation.tenant_id


@tool(trusted=True)
def noted(context: ToolContext) -> int:
    """Note something, and tell how much was."""
    return context.sync_tenant.state.append("notes", context.operation.tenant_id)


@tool(trusted=True)
async def noted_async(context: ToolContext) -> int:
    """Note something, and tell how much was."""
    return await context.async_tenant.state.append("notes", context.operation.tenant_id)


@tool(trusted=True)
def odd(kind: str) -> object:
    """Return something."""
    return {
        "bytes": b"\x00\xff",
        "nan": float("nan"),
        "object": object(),
        "large": "x" * (2 << 20),
        "set": {1},
        "tuple": (1, (2,)),
    }[kind]


@tool(trusted=True)
def nested(depth: int) -> list[object]:
    """Return a list in a list, so many of them."""
    value: list[object] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@tool(trusted=True, cost=0.4)
def paid() -> str:
    """Cost money."""
    return "done"


@pytest.fixture
def mine() -> Iterator[ToolRegistry]:
    with ToolRegistry([whose, whose_async, odd, nested, paid]) as made:
        yield made


def test_a_tool_reaches_its_tenant_by_either_handle(tmp_path: Path) -> None:
    async def main() -> list[object]:
        async with llmspell.open(tmp_path / "async") as database:
            tools = registry.bind(await database.create_tenant(TenantConfig(id="acme")))
            return [(await tools.acall(name, {})).value for name in names]

    names = ("noted", "noted_async")
    with ToolRegistry([noted, noted_async]) as registry:
        assert asyncio.run(main()) == [1, 2]
        with llmspell.open(tmp_path / "sync") as database:
            tools = registry.bind(database.create_tenant(TenantConfig(id="acme")))
            assert [tools.call(name, {}).value for name in names] == [1, 2]
            assert [asyncio.run(tools.acall(name, {})).value for name in names] == [3, 4]


def test_a_tool_knows_for_whom_it_runs(mine: ToolRegistry, tenant: Tenant) -> None:
    tools = mine.bind(tenant)
    expected = {"tenant": "acme", "tool": "whose"}
    assert tools.call("whose", {}).value == expected
    assert tools.call("whose", {}, timeout=30).value == expected  # in a thread
    assert asyncio.run(tools.acall("whose", {})).value == expected
    assert tools.call("whose_async", {}).value == "acme"
    assert asyncio.run(tools.acall("whose_async", {})).value == "acme"


def test_an_async_tool_can_be_called_while_a_loop_runs(mine: ToolRegistry, tenant: Tenant) -> None:
    async def main() -> object:
        return mine.bind(tenant).call("whose_async", {}).value

    assert asyncio.run(main()) == "acme"


@pytest.mark.parametrize(
    "kind, value",
    [("bytes", "AP8="), ("nan", "NaN"), ("set", [1]), ("tuple", [1, [2]])],
)
def test_results_are_data(mine: ToolRegistry, tenant: Tenant, kind: str, value: object) -> None:
    assert mine.bind(tenant).call("odd", {"kind": kind}).value == value


ODD = {"stop": StopIteration, "exit": SystemExit, "cancel": asyncio.CancelledError}


@tool(trusted=True)
def leaves(how: str) -> None:
    """Raise what goes through most handlers."""
    raise ODD[how]


@tool(trusted=True)
async def leaves_async(how: str) -> None:
    """Raise what goes through most handlers."""
    raise ODD[how]


@pytest.mark.parametrize("how", ["stop", "exit", "cancel"])
@pytest.mark.parametrize("made", [leaves, leaves_async])
def test_a_tool_ends_neither_the_program_nor_who_waits_for_it(
    tenant: Tenant, made: Any, how: str
) -> None:
    with ToolRegistry([made, made.with_options(name="timed", timeout=20)]) as registry:
        tools = registry.bind(tenant)
        for name in (made.name, "timed"):
            for result in (
                tools.call(name, {"how": how}),
                asyncio.run(tools.acall(name, {"how": how})),
            ):
                assert result.fault is not None
                assert result.fault.kind is FaultKind.FAILED


@pytest.mark.parametrize("depth", [200, 201, 255])
def test_results_may_be_nested_as_deep_as_they_can_be_written(
    mine: ToolRegistry, tenant: Tenant, depth: int
) -> None:
    value = mine.bind(tenant).call("nested", {"depth": depth}).value
    found = 0
    while value:
        (value,) = value
        found += 1
    assert found == depth - 1


@pytest.mark.parametrize("kind", ["object", "large"])
def test_what_is_no_data_or_too_much_is_a_fault(
    mine: ToolRegistry, tenant: Tenant, kind: str
) -> None:
    fault = mine.bind(tenant).call("odd", {"kind": kind}).fault
    assert fault is not None
    assert fault.kind is FaultKind.RESULT_TOO_LARGE


def test_what_a_tool_raises_is_data(mine: ToolRegistry, tenant: Tenant) -> None:
    fault = mine.bind(tenant).call("odd", {"kind": "none"}).fault
    assert fault is not None
    assert (fault.kind, fault.error) == (FaultKind.FAILED, "KeyError")


@pytest.mark.parametrize("error", [RuntimeError, InvalidArguments, EgressDenied])
def test_no_more_of_an_error_is_told_than_a_model_needs_and_no_secret(
    mine: ToolRegistry, tenant: Tenant, error: type[Exception]
) -> None:
    key = "sk-ant-api03-" + ("aB3dE5gH7jK9" * 8)[:93] + "AA"

    @tool(trusted=True)
    def failing(where: int) -> None:
        """Fail, with a key somewhere in a long response."""
        raise error("x" * where + f" key {key} " + "y" * 100_000)

    mine.add(failing)
    for where in (0, 1_970, 5_000):  # at the beginning, where it is cut, behind that
        fault = mine.bind(tenant).call("failing", {"where": where}).fault
        assert fault is not None
        assert len(fault.message) <= MESSAGE_CHARS + len("RuntimeError: ")
        assert "aB3dE5gH" not in fault.message
        assert fault.message.endswith("…")
        assert ("key sk-ant-api03-***" in fault.message) == (where < 5_000)


def test_what_a_check_raises_is_data_too(mine: ToolRegistry, tenant: Tenant) -> None:
    def refuse(arguments: dict[str, object]) -> dict[str, object]:
        raise {"in": InvalidArguments, "value": ValueError, "path": PathEscape}[
            str(arguments["kind"])
        ]("so it is")

    mine.add(odd.checked(refuse).with_options(name="checked"))
    tools = mine.bind(tenant)
    kinds = []
    for kind in ("in", "value", "path"):
        fault = tools.call("checked", {"kind": kind}).fault
        assert fault is not None
        assert fault.message == "so it is"
        kinds.append(fault.kind)
    assert kinds == [FaultKind.INVALID_ARGUMENTS, FaultKind.INVALID_ARGUMENTS, FaultKind.DENIED]


class Waiting(Tool):
    """Wait until it may go on."""

    options = ToolOptions(trusted=True, timeout=0.05, max_concurrent=1)

    def __init__(self) -> None:
        self.may_go_on = threading.Event()

    def run(self) -> None:
        """Wait."""
        assert self.may_go_on.wait(60)


class WaitingAsync(Tool):
    """Wait for ever, as a task."""

    options = ToolOptions(trusted=True, timeout=0.05)
    was_cancelled = False

    async def run(self) -> None:
        """Wait."""
        try:
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise


@pytest.mark.parametrize("is_async", [False, True])
def test_a_function_that_ends_as_its_time_does_has_its_result(
    mine: ToolRegistry, tenant: Tenant, monkeypatch: pytest.MonkeyPatch, is_async: bool
) -> None:
    waiting = Waiting()
    mine.add(waiting)

    class Ending(Future[Any]):
        """Its call ends between the end of the time and the look whether it has."""

        def done(self) -> bool:
            waiting.may_go_on.set()
            wait([self], 20)
            return super().done()

    monkeypatch.setattr("llmspell.tools.threads.Future", Ending)
    tools = mine.bind(tenant)
    made = asyncio.run(tools.acall("waiting", {})) if is_async else tools.call("waiting", {})
    assert made.fault is None


def test_a_function_that_is_late_keeps_its_place_until_it_ends(
    mine: ToolRegistry, tenant: Tenant
) -> None:
    waiting = Waiting()
    mine.add(waiting)
    tools = mine.bind(tenant)
    fault = tools.call("waiting", {}).fault
    assert fault is not None
    assert fault.kind is FaultKind.TIMEOUT
    places = mine.places_of("waiting")
    assert places is not None
    assert places.taken == 1
    waiting.may_go_on.set()
    place = places.take(30)
    assert place is not None
    place.give_back()
    assert places.taken == 0


def test_an_async_tool_that_is_late_is_cancelled(mine: ToolRegistry, tenant: Tenant) -> None:
    waiting = WaitingAsync()
    mine.add(waiting)
    tools = mine.bind(tenant)
    for call in (
        lambda: tools.call("waiting_async", {}),
        lambda: asyncio.run(tools.acall("waiting_async", {})),
    ):
        result = call()
        assert result.fault is not None
        assert result.fault.kind is FaultKind.TIMEOUT
        assert waiting.was_cancelled
        waiting.was_cancelled = False


def test_the_cost_of_a_call_is_charged_before_it_runs(
    mine: ToolRegistry, tenant: Tenant, database: Database
) -> None:
    tools = mine.bind(tenant)
    assert tools.call("paid", {}).value == "done"
    assert tools.call("paid", {}).value == "done"
    with pytest.raises(QuotaExceeded, match="max_cost_per_month"):
        tools.call("paid", {})
    assert tenant.usage().cost.used == 800_000
    assert tools.call("paid", {"x": 1}).fault is not None  # wrong arguments cost nothing
    assert database.instruments.tools.calls() == {
        ("paid", "ok"): 2,
        ("paid", "refused"): 1,
        ("paid", "invalid_arguments"): 1,
    }


def test_a_call_is_part_of_the_operation_that_it_is_made_in(
    mine: ToolRegistry, tenant: Tenant
) -> None:
    tools = mine.bind(tenant)
    before = tenant.usage().api_calls.used
    with tenant.operation(cost=0.5):
        assert tools.call("paid", {}).is_ok
        assert tools.call("whose", {}).is_ok
        assert tenant.usage().cost.used == 500_000
    assert tenant.usage().cost.used == 400_000
    assert tenant.usage().api_calls.used == before + 1
    tools.call("whose", {})
    assert tenant.usage().api_calls.used == before + 2


def test_an_operation_of_another_tenant_is_not_charged(
    mine: ToolRegistry, tenant: Tenant, database: Database
) -> None:
    other = database.create_tenant(TenantConfig(id="other"))
    with other.operation():
        assert mine.bind(tenant).call("paid", {}).is_ok
    assert (tenant.usage().cost.used, other.usage().cost.used) == (400_000, 0)


def test_an_async_handle_is_for_async_calls(mine: ToolRegistry, tmp_path: Path) -> None:
    async def main() -> None:
        async with llmspell.open(tmp_path) as database:
            handle = await database.create_tenant(TenantConfig(id="acme"))
            tools = mine.bind(handle)
            with pytest.raises(ConfigError, match="await acall"):
                tools.call("whose", {})
            assert (await tools.acall("whose", {})).value["tenant"] == "acme"
            async with handle.operation(cost=1.0):
                assert (await tools.acall("paid", {})).is_ok
            usage = await handle.usage()
            assert (usage.cost.used, usage.api_calls.used) == (400_000, 2)

    asyncio.run(main())
