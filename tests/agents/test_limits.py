"""What a run may use: steps, time, tokens, calls and money, and what its tenant has left."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from llmspell import Database, QuotaLimits, Tenant, TenantConfig, errors
from llmspell.agents import Agent, AgentLimits
from llmspell.providers import Price, deadline
from llmspell.tools import tool
from tests.agents.script import Script, add, call, run, say
from tests.clock import Clock


def test_no_more_tools_run_at_one_time_than_may(acme: Tenant) -> None:
    running, most, two = 0, 0, asyncio.Barrier(2)

    @tool(trusted=True)
    async def work() -> None:
        """Count itself."""
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.wait_for(two.wait(), 60)
        running -= 1

    model = Script(call(*[("work", {})] * 6), say("done"))
    run(Agent(model, [work], tenant=acme, limits=AgentLimits(max_parallel_tools=2)))
    assert most == 2


@pytest.mark.parametrize(
    "limits, limit",
    [
        (AgentLimits(max_steps=2), "max_steps"),
        (AgentLimits(max_tokens=40), "max_tokens"),
        (AgentLimits(max_tool_calls=2), "max_tool_calls"),
    ],
)
def test_a_run_uses_no_more_than_it_may(acme: Tenant, limits: AgentLimits, limit: str) -> None:
    model = Script(*[call(("add", {"a": 1, "b": 2}))] * 3)
    with pytest.raises(errors.AgentLimitExceeded, match=limit) as caught:
        run(Agent(model, [add], tenant=acme, limits=limits))
    assert caught.value.run_id
    assert model.asked == (3 if limit == "max_tool_calls" else 2)


def test_an_answer_is_asked_for_no_longer_than_what_is_left(acme: Tenant) -> None:
    model = Script(call(("add", {"a": 1, "b": 2}), tokens=15), say("3"))
    run(Agent(model, [add], tenant=acme, limits=AgentLimits(max_tokens=100)))
    assert [model.max_tokens(n) for n in (0, 1)] == [100, 70]
    limits = AgentLimits(max_answer_tokens=50)
    run(Agent(short := Script(say("3")), tenant=acme, limits=limits))
    assert short.max_tokens(0) == 50


def test_a_run_ends_when_its_time_is_over(acme: Tenant, clock: Clock) -> None:
    begun, ended = asyncio.Event(), []

    @tool(trusted=True)
    async def hang() -> None:
        """Never end."""
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async def main() -> None:
        running = asyncio.ensure_future(agent.run("go"))
        await begun.wait()
        await clock.run_out(running)
        with pytest.raises(errors.AgentLimitExceeded, match="max_seconds"):
            await running

    limits = AgentLimits(max_seconds=60)
    with Agent(Script(call(("hang", {}))), [hang], tenant=acme, limits=limits) as agent:
        clock.run(main())
    assert ended


@pytest.mark.parametrize("at", ["tool", "approval"])
def test_a_run_ends_with_the_deadline_around_it_and_can_be_resumed(
    acme: Tenant, clock: Clock, at: str
) -> None:
    is_late, begun = False, asyncio.Event()

    async def wait(where: str) -> bool:
        if where == at and not is_late:
            begun.set()
            await asyncio.Event().wait()
        return True

    @tool(trusted=True, needs_approval=True, idempotent=True)
    async def work() -> bool:
        """Work."""
        return await wait("tool")

    model = Script(call(("work", {})), say("done"), say("done"))
    agent = Agent(model, [work], "", acme, approve=lambda asked: wait("approval"))

    async def main() -> None:
        with deadline(60):
            running = asyncio.ensure_future(agent.run("go", run_id="r"))
        await begun.wait()
        await clock.run_out(running)
        with pytest.raises(errors.ProviderTimeout, match="the deadline"):
            await running

    with agent:
        clock.run(main())
        is_late = True
        assert asyncio.run(agent.resume("r")).output == "done"


def test_what_a_run_may_use_is_reserved_once_and_what_it_used_is_charged(db: Database) -> None:
    tenant = db.create_tenant(TenantConfig(id="s", quotas=QuotaLimits(max_tokens_per_day=10_000)))
    used: list[int] = []

    @tool(trusted=True)
    def look() -> None:
        """See what is reserved."""
        used.append(tenant.usage().tokens.used)

    model = Script(call(("look", {})), say("done"))
    limits = AgentLimits(max_tokens=10_000, max_answer_tokens=1_000)
    run(Agent(model, [look], tenant=tenant, limits=limits))
    assert used == [10_000]
    assert tenant.usage().tokens.used == 40
    with pytest.raises(errors.QuotaExceeded, match="max_tokens_per_day"):
        run(Agent(Script(say("never")), tenant=tenant, limits=limits))
    assert tenant.usage().tokens.used == 40


def test_a_small_quota_is_used_up_by_answers_that_fit_in_it(db: Database) -> None:
    tenant = db.create_tenant(TenantConfig(id="s", quotas=QuotaLimits(max_tokens_per_day=2_000)))
    model = Script(call(("add", {"a": 1, "b": 2}), tokens=300), say("3"), say("never"))
    limits = AgentLimits(max_tokens=None)
    run(Agent(model, [add], tenant=tenant, limits=limits))
    assert [256 <= model.max_tokens(n) <= 2_000 - 600 * n for n in (0, 1)] == [True, True]
    assert tenant.usage().tokens.used == 620
    with pytest.raises(errors.QuotaExceeded, match="max_tokens_per_day"):
        run(Agent(model, [add], "Long. " * 300, tenant=tenant, limits=limits))
    assert model.asked == 2
    assert tenant.usage().tokens.used == 620


def test_in_an_operation_of_the_tenant_a_run_is_part_of_it(db: Database) -> None:
    tenant = db.create_tenant(TenantConfig(id="s", quotas=QuotaLimits(max_tokens_per_day=9_000)))
    agent = Agent(Script(say("Hello.")), tenant=tenant, limits=AgentLimits(max_tokens=9_000))

    async def main() -> Any:
        with tenant.operation(tokens=9_000):
            return await agent("Hi")

    assert asyncio.run(main()) == "Hello."


@pytest.mark.parametrize(
    "given",
    [
        *({"max_steps": 0}, {"max_seconds": 0}, {"max_seconds": 1e9}, {"max_tokens": 1.5}),
        *({"max_cost": -1}, {"max_parallel_tools": True}, {"max_repairs": -1}),
    ],
)
def test_limits_out_of_range_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(errors.ConfigError):
        AgentLimits(**given)


def test_limits_are_as_the_reference_says_unless_others_are_given() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "reference", "agents.md").read_text()
    table = page.partition("| field of `AgentLimits` |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1:3] for line in table.splitlines()[2:]]
    told = {name.strip(" `"): value.strip(" `").replace(",", "") for name, value in rows}
    assert told == {
        name: f"{value}".removesuffix(".0") for name, value in asdict(AgentLimits()).items()
    }


def test_money_is_charged_as_the_model_bills_it_and_bounded(db: Database) -> None:
    quotas = QuotaLimits(max_cost_per_month=100.0)
    tenant = db.create_tenant(TenantConfig(id="s", quotas=quotas))
    price = Price(input=10_000.0, output=10_000.0)  # a tenth for each answer of 5 + 5 tokens
    model = Script(*[call(("add", {"a": 1, "b": 2}), tokens=5)] * 3, price=price)
    limits = AgentLimits(max_cost=0.2, max_answer_tokens=10)
    with pytest.raises(errors.AgentLimitExceeded, match="max_cost"):
        run(Agent(model, [add], tenant=tenant, limits=limits))
    assert model.asked == 2
    assert tenant.usage().cost.used == 200_000


def test_the_cost_of_tools_is_of_the_limit_too(db: Database) -> None:
    quotas = QuotaLimits(max_cost_per_month=100.0)
    tenant = db.create_tenant(TenantConfig(id="s", quotas=quotas))
    done: list[int] = []

    @tool(trusted=True, cost=0.1)
    def post(n: int) -> str:
        """Cost a tenth."""
        done.append(n)
        return "posted"

    calls = call(*[("post", {"n": n}) for n in range(3)], ("post", {}))
    model = Script(calls, call(("post", {"n": 3})), say("all"), price=Price(input=0.0, output=0.0))
    limits = AgentLimits(max_cost=0.3)
    with pytest.raises(errors.AgentLimitExceeded, match="max_cost"):
        run(Agent(model, [post], tenant=tenant, limits=limits), run_id="r")
    assert (sorted(done), tenant.usage().cost.used) == ([0, 1, 2], 300_000)
    with Agent(model, [post], tenant=tenant, limits=AgentLimits(max_cost=0.5)) as agent:
        result = asyncio.run(agent.resume("r"))
    assert done[3:] == [3], "it hadn't begun, and is made now"
    assert (result.output, round(result.usage.cost, 6)) == ("all", 0.4)
    assert tenant.usage().cost.used == 400_000
    without = Agent(Script(say("x")), tenant=tenant, limits=limits)
    with pytest.raises(errors.ConfigError, match="price"):
        run(without)


def test_calls_that_had_not_begun_are_made_when_the_run_goes_on(acme: Tenant) -> None:
    model = Script(call(*[("add", {"a": n, "b": 1}) for n in range(3)]), say("done"))
    with pytest.raises(errors.AgentLimitExceeded, match="max_tool_calls"):
        run(Agent(model, [add], "", acme, AgentLimits(max_tool_calls=2)), run_id="r")
    with Agent(model, [add], "", acme) as agent:
        assert asyncio.run(agent.resume("r")).output == "done"
    assert model.told(1)[-3:] == ["1", "2", "3"]
