"""Pools of providers, and models that think, beneath an agent, over HTTP."""

from __future__ import annotations

import asyncio

import pytest

from llmspell import Tenant, errors
from llmspell.agents import Agent
from llmspell.providers import AnthropicChat, OpenAIChat, ProviderPool, Retry
from llmspell.testing import Call, Fault, Reply, ScriptedChatServer
from tests.agents.script import add


def test_a_run_goes_on_with_another_provider_of_its_pool(acme: Tenant) -> None:
    busy = Fault("status", status=529)

    async def main() -> None:
        models = [
            OpenAIChat("m", api_key="k", base_url=first.openai_url),
            AnthropicChat("m", api_key="k", base_url=second.anthropic_url),
        ]
        async with ProviderPool(models, retry=Retry(retries=1, base=0.001)) as pool:
            with Agent(pool, [add], "You add.", acme) as agent:
                assert (await agent.run("What is 1 + 2?")).output == "It is 3."
            assert [stats.retries for stats in pool.stats()] == [2, 0]

    calls = [Call("add", {"a": 1, "b": 2})]
    with (
        ScriptedChatServer([busy, Reply("", calls), busy, busy]) as first,
        ScriptedChatServer(["It is 3."]) as second,
    ):
        asyncio.run(main())
        assert [len(server.asked) for server in (first, second)] == [4, 1]
        assert second.asked[0].texts[-1] == "3"
    assert acme.usage().tokens.used == 30


def test_what_a_model_thought_outlives_the_run_in_its_transcript(acme: Tenant) -> None:
    thinking = Reply("", [Call("add", {"a": 1, "b": 2})], thought="Numbers.")

    async def main() -> None:
        async with AnthropicChat(
            "m", api_key="k", base_url=server.anthropic_url, thinking=1_024
        ) as model:
            with Agent(model, [add], "You add.", acme) as agent:
                with pytest.raises(errors.ProviderOverloaded):
                    await agent.run("What is 1 + 2?", run_id="r")
                assert (await agent.resume("r")).output == "3"

    with ScriptedChatServer([thinking, Fault("status", status=500), "3"]) as server:
        asyncio.run(main())
        kept = [asked.body["messages"][1]["content"][0] for asked in server.asked[1:]]
    assert [block["thinking"] for block in kept] == ["Numbers."] * 2
    assert kept[0]["signature"] and kept[0] == kept[1]
