"""What ends with a registry of tools."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmspell import Tenant
from llmspell.agents import Agent
from llmspell.errors import ClosedError, CloseFailed
from llmspell.providers import OpenAIChat
from llmspell.security import Secret
from llmspell.tools import Tool, ToolOptions, ToolRegistry


class Held(Tool):
    """Hold something."""

    options = ToolOptions(trusted=True)

    def __init__(self, name: str, told: list[Any], error: BaseException | None = None) -> None:
        self.name = name
        self.told = told
        self.error = error

    def run(self) -> str:
        return self.name

    def close(self) -> None:
        self.told.append(self.name)
        if self.error is not None:
            raise self.error


class HeldAsync(Held):
    """Hold something of an event loop."""

    async def run(self) -> str:
        return self.name

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.told.append(asyncio.get_running_loop())
        super().close()


def test_tools_are_closed_once_and_the_last_one_first(tenant: Tenant) -> None:
    told: list[Any] = []
    with ToolRegistry([Held("one", told), Held("two", told)]) as registry:
        registry.add(Held("gone", told), Held("three", told))
        registry.on_close(lambda: told.append("connection"))
        registry.remove("gone")
        tools = registry.bind(tenant)
        assert tools.call("three", {}).value == "three"
        assert told == []
    registry.close()
    asyncio.run(registry.aclose())
    assert told == ["three", "two", "one", "connection"]
    with pytest.raises(ClosedError):
        tools.call("three", {})


def test_all_is_closed_whatever_one_raises() -> None:
    told: list[Any] = []
    lost, broken = OSError("the disk is gone"), ValueError("broken")

    def fail() -> None:
        told.append("connection")
        raise broken

    for is_async in (False, True):
        told.clear()
        registry = ToolRegistry([Held("one", told), Held("two", told, lost), Held("six", told)])
        registry.on_close(fail)
        with pytest.raises(CloseFailed, match=r"two: OSError: the disk .*; on_close: Val") as seen:
            asyncio.run(registry.aclose()) if is_async else registry.close()
        assert seen.value.errors == (lost, broken)
        assert seen.value.__cause__ is lost
        assert told == ["six", "two", "one", "connection"]
        assert registry._sandbox._is_closed


@pytest.mark.parametrize("is_async", [False, True])
def test_an_interrupt_lets_the_others_be_closed(is_async: bool) -> None:
    told: list[Any] = []
    registry = ToolRegistry([Held("one", told), Held("two", told, KeyboardInterrupt())])
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(registry.aclose()) if is_async else registry.close()
    assert told == ["two", "one"]


def test_an_async_close_is_awaited_in_the_loop_that_the_calls_were_in(tenant: Tenant) -> None:
    async def main() -> None:
        told: list[Any] = []
        async with ToolRegistry([HeldAsync("one", told), Held("two", told)]) as registry:
            assert (await registry.bind(tenant).acall("one", {})).value == "one"
        assert told == ["two", asyncio.get_running_loop(), "one"]
        # Without awaiting it is done all the same, in a loop of its own.
        told.clear()
        with ToolRegistry([HeldAsync("one", told)]):
            pass
        assert told[1:] == ["one"]
        assert told[0] is not asyncio.get_running_loop()

    asyncio.run(main())


def test_tools_that_are_for_others_too_stay_open(tenant: Tenant) -> None:
    told: list[Any] = []
    held = Held("one", told)
    with ToolRegistry([held], close_tools=False):
        pass
    model = OpenAIChat("m", api_key=Secret("k"), base_url="http://127.0.0.1:9/v1")
    with Agent(model, [held], tenant=tenant) as agent:
        assert agent.bind_tools(tenant, lambda call: True) is not None
    assert told == []
    with Agent(model, ToolRegistry([held]), tenant=tenant):
        pass
    assert told == []
