"""Runs of agents: the model is asked, tools are called, and something comes out."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from llmspell import Database, QuotaLimits, Tenant, TenantConfig, errors
from llmspell.agents import (
    Agent,
    AgentHooks,
    AgentLimits,
    AgentResult,
    AgentRun,
    Answer,
    Call,
    RunState,
)
from llmspell.tools import ToolResult, tool
from llmspell.tools.builtin import calculator
from tests.agents.script import Script, add, call, run, say
from tests.processes import all_below


def test_an_answer_without_calls_is_the_output(acme: Tenant) -> None:
    model = Script(say("Hello."))
    result = run(Agent(model, (), "Be kind.", acme), "Hi")
    assert (result.output, result.state) == ("Hello.", RunState.FINISHED)
    assert (result.usage.steps, result.usage.tokens) == (1, 20)
    assert model.told(0) == ["Hi"]
    assert model.instructions(0) == "Be kind."


def test_the_model_is_told_what_its_tools_came_to(acme: Tenant) -> None:
    model = Script(call(("add", {"a": 1, "b": 2}), ("add", {"a": 3, "b": 4})), say("3 and 7"))
    result = run(Agent(model, [add], tenant=acme))
    assert result.output == "3 and 7"
    assert model.told(1)[-2:] == ["3", "7"]
    assert result.usage.tool_calls == 2


@pytest.mark.usefixtures("confines")
def test_leaving_an_async_block_ends_the_workers_of_its_tools(acme: Tenant) -> None:
    async def workers() -> tuple[set[int], set[int]]:
        before = set(all_below(os.getpid()))
        model = Script(call(("calculator", {"expression": "6 * 7"})), say("42"))
        async with Agent(model, [calculator], tenant=acme) as agent:
            assert (await agent.run("go")).output == "42"
            begun = set(all_below(os.getpid())) - before
        await agent.aclose()  # does nothing the second time
        return begun, begun & set(all_below(os.getpid()))

    begun, left = asyncio.run(workers())
    assert begun
    assert not left


def test_a_call_that_a_model_got_wrong_is_told_to_it(acme: Tenant) -> None:
    model = Script(call(("add", {"a": "x"}), ("sub", {})), say("sorry"))
    assert run(Agent(model, [add], tenant=acme)).output == "sorry"
    assert "invalid_arguments" in model.told(1)[-2]
    assert "unknown_tool" in model.told(1)[-1]
    alone = Script(call(("add", {})), say("sorry"))
    run(Agent(alone, tenant=acme))
    assert "unknown_tool" in alone.told(1)[-1]


def test_runs_calls_and_tokens_are_metrics_of_the_database(db: Database, acme: Tenant) -> None:
    with Agent(Script(call(("add", {"a": 1, "b": 2})), say("3")), [add], "", acme, name="a") as one:
        asyncio.run(one.run("go"))
    with pytest.raises(errors.ProviderError):
        asyncio.run(Agent(Script(None), (), "", acme, name="a").run("go"))
    poor = db.create_tenant(TenantConfig(id="poor", quotas=QuotaLimits(max_tokens_per_day=9)))
    with pytest.raises(errors.QuotaExceeded):
        asyncio.run(Agent(Script(), (), "", poor, name="a").run("go"))
    text = db.metrics()
    for outcome in ("finished", "failed", "refused"):
        assert f'llmspell_agent_runs_total{{agent="a",outcome="{outcome}"}} 1.0' in text
    assert 'llmspell_agent_run_duration_seconds_count{agent="a"} 3.0' in text
    assert 'llmspell_agent_tokens_total{agent="a",kind="output"} 20.0' in text
    assert 'llmspell_tool_calls_total{outcome="ok",tool="add"} 1.0' in text


# --- tools that fail


def flaky(times: int, **options: Any) -> Any:
    left = [times]

    @tool(trusted=True, **options)
    def fetch() -> str:
        """Fail at first."""
        left[0] -= 1
        if left[0] >= 0:
            raise OSError("not yet")
        return "fetched"

    return fetch


def test_a_tool_that_can_be_repeated_is_tried_again(acme: Tenant) -> None:
    model = Script(call(("fetch", {})), say("ok"))
    run(Agent(model, [flaky(2, idempotent=True)], tenant=acme))
    assert model.told(1)[-1] == "fetched"


def test_a_tool_is_tried_no_more_often_than_it_may(acme: Tenant) -> None:
    model = Script(call(("fetch", {})), say("ok"))
    limits = AgentLimits(tool_retries=1)
    run(Agent(model, [flaky(2, idempotent=True)], tenant=acme, limits=limits))
    assert "not yet" in model.told(1)[-1]


def test_a_tool_that_may_have_done_something_is_not_tried_again(acme: Tenant) -> None:
    model = Script(call(("fetch", {})), say("ok"))
    run(Agent(model, [flaky(1)], tenant=acme))
    assert "not yet" in model.told(1)[-1]


def test_what_the_tenant_may_not_ends_the_run(db: Database) -> None:
    quotas = QuotaLimits(max_cost_per_month=1)
    tenant = db.create_tenant(TenantConfig(id="poor", quotas=quotas))

    @tool(trusted=True, cost=2.0)
    def dear() -> None:
        """Cost too much."""

    ended = []

    @tool(trusted=True)
    async def slow() -> str:
        """Take its time."""
        await asyncio.sleep(0.05)
        ended.append(True)
        return "done"

    agent = Agent(Script(call(("dear", {}), ("slow", {}))), [dear, slow], tenant=tenant)
    with pytest.raises(errors.QuotaExceeded, match="max_cost"):
        run(agent)
    assert ended, "the others end first, so that what they did is known"


# --- hooks


class Noted(AgentHooks):
    def __init__(self) -> None:
        self.states: list[RunState] = []
        self.answers: list[str] = []

    async def on_state(self, run: AgentRun, state: RunState) -> None:
        assert run.state is state
        self.states.append(state)

    async def before_model(self, run: AgentRun, messages: Any) -> Any:
        return messages[-2:]

    async def after_model(self, run: AgentRun, answer: Answer) -> None:
        self.answers.append(answer.text)

    async def before_tool(self, run: AgentRun, call: Call) -> ToolResult | None:
        return ToolResult("add", 40) if '"a": 1' in call.arguments else None

    async def after_tool(self, run: AgentRun, call: Call, result: ToolResult) -> ToolResult:
        return ToolResult(result.tool, f"<{result.value}>")


def test_hooks_see_and_change_what_is_done(acme: Tenant) -> None:
    hooks = Noted()
    calls = call(("add", {"a": 1, "b": 2}), ("add", {"a": 2, "b": 2}), text="adding")
    model = Script(calls, say("done"))
    run(Agent(model, [add], tenant=acme, hooks=hooks))
    assert model.told(1) == ["<40>", "<4>"]
    assert hooks.states == [RunState.RUNNING, RunState.FINISHED]
    assert hooks.answers == ["adding", "done"]
    assert model.asked == 2


def test_hooks_are_told_how_a_run_begins_and_ends(acme: Tenant) -> None:
    told: list[Any] = []

    class Telling(AgentHooks):
        async def before_run(self, run: AgentRun) -> None:
            told.append(("begins", len(run.history.turns)))

        async def after_run(self, run: AgentRun, result: AgentResult) -> None:
            told.append((result.state, result.output))

        async def on_error(self, run: AgentRun, error: BaseException) -> None:
            told.append(type(error))
            raise PermissionError("dropped")

    model = Script(call(("add", {"a": 1, "b": 2})), None, say("3"))
    with Agent(model, [add], tenant=acme, hooks=Telling()) as agent:
        with pytest.raises(errors.ProviderError):
            asyncio.run(agent.run("go", run_id="r"))
        for _ in range(2):  # the second finds that it has ended
            assert asyncio.run(agent.resume("r")).output == "3"
    assert told == [
        *(("begins", 0), errors.ProviderError),
        *(("begins", 1), (RunState.FINISHED, "3")),
    ]


def test_what_a_hook_raises_ends_the_run(acme: Tenant) -> None:
    class Refusing(AgentHooks):
        async def after_model(self, run: AgentRun, answer: Answer) -> None:
            raise PermissionError("not this")

    with pytest.raises(PermissionError):
        run(Agent(Script(say("x")), tenant=acme, hooks=Refusing()))


# --- what is no agent


@pytest.mark.parametrize(
    "given",
    [
        *({"name": "a b"}, {"instructions": 7}, {"tenant": "acme"}, {"limits": {}}),
        *({"approve": 7}, {"transcripts": "disk"}, {"tools": add}, {"hooks": []}),
    ],
)
def test_arguments_of_another_kind_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(errors.ConfigError):
        Agent(Script(), **given)


def test_a_model_of_another_kind_is_refused() -> None:
    with pytest.raises(errors.ConfigError, match="ChatModel"):
        Agent("gpt")  # type: ignore[arg-type]


def test_a_run_needs_a_tenant_and_a_text(acme: Tenant) -> None:
    with pytest.raises(errors.ConfigError, match="tenant"):
        run(Agent(Script()))
    with pytest.raises(errors.InputError, match="blank"):
        run(Agent(Script(), tenant=acme), " ")
    with pytest.raises(errors.InputError, match="one character or more"):
        run(Agent(Script(say("Hello.")), tenant=acme), run_id="")
    with pytest.raises(errors.InputError, match=r"by the key of a pending call, got \[True\]"):
        asyncio.run(Agent(Script(), tenant=acme).resume("r", decisions=[True]))  # type: ignore[arg-type]
