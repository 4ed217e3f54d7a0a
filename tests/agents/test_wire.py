"""Agents with the official clients of OpenAI and Anthropic, over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from llmspell import Tenant
from llmspell.agents import Agent, Answered, TextDelta
from llmspell.providers import AnthropicChat, OpenAIChat
from llmspell.testing import Call, Reply, ScriptedChatServer
from llmspell.tools import tool

KINDS: dict[str, Callable[[ScriptedChatServer], OpenAIChat | AnthropicChat]] = {
    "openai": lambda server: OpenAIChat("m", api_key="sk-x", base_url=server.openai_url),
    "anthropic": lambda server: AnthropicChat("m", api_key="sk-x", base_url=server.anthropic_url),
}


@tool(trusted=True)
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_goes_over_the_wire(kind: str, acme: Tenant) -> None:
    calls = [Call("add", {"a": 1, "b": 2}), Call("add", {"a": 30, "b": 4})]
    script = [Reply("Adding.", calls), Reply('{"value": 37}')]

    async def main() -> None:
        async with KINDS[kind](server) as model:
            with Agent(model, [add], "You add.", acme, output=int) as agent:
                async with agent.start("What is 1 + 2 + 30 + 4?") as run:
                    events = [event async for event in run]
                    result = await run.result()
        assert result.output == 37
        assert result.usage.tokens == 30
        texts = "".join(event.text for event in events if isinstance(event, TextDelta))
        assert texts.startswith("Adding.")
        assert sum(isinstance(event, Answered) for event in events) == 2

    with ScriptedChatServer(script) as server:
        asyncio.run(main())
        texts = server.asked[1].texts
    assert texts[-2:] == ["3", "34"]
    assert acme.usage().tokens.used == 30
