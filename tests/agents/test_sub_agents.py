"""Agents as tools of other agents."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmspell import Database, Tenant, TenantConfig, errors
from llmspell.agents import Agent, AgentLimits, Answered, ApprovalAsked, RunState, SubAgentEvent
from llmspell.providers import ChatRequest, ChatResponse, Price
from llmspell.tools import ToolPolicy, ToolRegistry, tool
from tests.agents.script import Script, call, run, say

TASK = call(("helper", {"task": "help me"}))


@tool(trusted=True, needs_approval=True)
def remove(name: str) -> str:
    """Remove something."""
    return f"{name} is gone"


def boss(model: Script, helper: Agent, tenant: Tenant, **given: Any) -> Agent:
    return Agent(model, [helper.as_tool(description="Helps.")], "", tenant, **given)


def test_a_sub_agent_is_given_a_task_and_gives_its_output(acme: Tenant) -> None:
    model, inner = Script(TASK, say("done")), Script(say("helped"))
    result = run(boss(model, Agent(inner, name="helper"), acme))
    assert result.output == "done"
    assert inner.told(0) == ["help me"]
    assert model.told(1)[-1] == "helped"
    assert (result.usage.steps, result.usage.tokens) == (2, 60)


def test_its_data_is_told_as_data(acme: Tenant) -> None:
    model = Script(TASK, say("done"))
    run(boss(model, Agent(Script(say('{"value": [1, 2]}')), name="helper", output=list[int]), acme))
    assert model.told(1)[-1] == "[1, 2]"


def test_what_it_uses_is_of_the_run_that_called_it(acme: Tenant) -> None:
    model, inner = Script(TASK, say("never")), Script(say("helped", tokens=40))
    limits = AgentLimits(max_tokens=90)
    with pytest.raises(errors.AgentLimitExceeded, match="max_tokens"):
        run(boss(model, Agent(inner, name="helper"), acme, limits=limits))
    assert inner.max_tokens(0) == 70
    assert acme.usage().tokens.used == 100


class Late(Script):
    async def acomplete(self, request: ChatRequest) -> ChatResponse:
        await asyncio.sleep(0.05)
        return await super().acomplete(request)


SIX = call(*(("helper", {"task": str(number)}) for number in range(6)))


def test_side_by_side_they_are_not_told_the_same_tokens(acme: Tenant) -> None:
    inner = Late(*(say("helped", tokens=35) for _ in range(6)))
    with pytest.raises(errors.AgentLimitExceeded, match="max_tokens"):
        limits = AgentLimits(max_tokens=150)
        run(boss(Script(SIX), Agent(inner, name="helper"), acme, limits=limits))
    # One at a time, for each may be as long as all that is left.
    assert [inner.max_tokens(number) for number in range(inner.asked)] == [130, 60]
    assert acme.usage().tokens.used == 160
    inner = Late(*(say("helped", tokens=35) for _ in range(6)))
    limits = AgentLimits(max_tokens=10_000)
    helper = Agent(inner, name="helper", limits=AgentLimits(max_answer_tokens=100))
    assert run(boss(Script(SIX, say("done")), helper, acme, limits=limits)).output == "done"


def test_side_by_side_they_do_not_spend_the_same_money(acme: Tenant) -> None:
    price = Price(input=0.0, output=1e6)  # one for a token
    inner = Late(*(say("helped") for _ in range(6)), price=price)
    agent = boss(
        Script(SIX, price=price), Agent(inner, name="helper"), acme, limits=AgentLimits(max_cost=25)
    )
    with pytest.raises(errors.AgentLimitExceeded, match="max_cost"):
        run(agent)
    assert inner.asked == 2  # 10 for each, and for the answer that called them


def test_a_limit_of_its_own_is_a_fault_that_the_caller_is_told(acme: Tenant) -> None:
    model = Script(TASK, say("without help"))
    inner = Script(call(("nothing", {})))
    helper = Agent(inner, name="helper", limits=AgentLimits(max_steps=1))
    assert run(boss(model, helper, acme)).output == "without help"
    assert "max_steps" in model.told(1)[-1]
    assert inner.asked == 1


def test_its_events_are_told_with_those_of_the_run(acme: Tenant) -> None:
    agent = boss(Script(TASK, say("done")), Agent(Script(say("helped")), name="helper"), acme)

    async def main() -> list[SubAgentEvent]:
        async with agent.start("go") as run:
            return [event async for event in run if isinstance(event, SubAgentEvent)]

    with agent:
        events = asyncio.run(main())
    assert {event.agent for event in events} == {"helper"}
    answers = [event.event.answer.text for event in events if isinstance(event.event, Answered)]
    assert answers == ["helped"]


def test_a_call_of_its_tools_is_approved_by_who_follows_the_run(acme: Tenant) -> None:
    inner = Script(call(("remove", {"name": "a"})), say("helped"))
    agent = boss(Script(TASK, say("done")), Agent(inner, [remove], name="helper"), acme)

    async def main() -> str:
        async with agent.start("go") as run:
            async for event in run:
                if isinstance(event, SubAgentEvent) and isinstance(event.event, ApprovalAsked):
                    assert event.event.key == "0-0/0-0"
                    run.decide(event.event.key, True)
            return (await run.result()).output

    with agent:
        assert asyncio.run(main()) == "done"
    assert inner.told(1)[-1] == "a is gone"


def test_where_nobody_decides_both_wait_and_go_on_together(acme: Tenant) -> None:
    model, inner = Script(TASK, say("done")), Script(call(("remove", {"name": "a"})), say("helped"))
    agent = boss(model, Agent(inner, [remove], name="helper"), acme)
    with agent:
        waits = asyncio.run(agent.run("go"))
        assert waits.state is RunState.WAITING
        assert [one.key for one in waits.pending] == ["0-0/0-0"]
        for key in ("0-0", "0-0/0-1", "0-1/0-0"):
            with pytest.raises(errors.CallNotWaiting):
                asyncio.run(agent.resume(waits.run_id, decisions={key: True}))
        result = asyncio.run(agent.resume(waits.run_id, decisions={"0-0/0-0": True}))
    assert result.output == "done"
    assert inner.told(1)[-1] == "a is gone"
    assert model.told(1)[-1] == "helped"
    assert inner.asked == 2
    assert result.usage.tokens == 80


def test_it_may_be_of_another_tenant(db: Database, acme: Tenant) -> None:
    other = db.create_tenant(TenantConfig(id="other"))
    run(
        boss(Script(TASK, say("done")), Agent(Script(say("x")), (), "", other, name="helper"), acme)
    )
    assert (acme.usage().tokens.used, other.usage().tokens.used) == (40, 20)


def test_it_can_be_called_by_others_than_agents(acme: Tenant) -> None:
    helper = Agent(Script(say("helped")), name="helper")
    with ToolRegistry([helper.as_tool(description="Helps.")]) as registry:
        result = registry.bind(acme, policy=ToolPolicy()).call("helper", {"task": "help"})
    assert result.value == "helped"


def test_a_model_is_told_what_it_does() -> None:
    with pytest.raises(errors.ConfigError, match="describe"):
        Agent(Script(), name="helper").as_tool(description=" ")
