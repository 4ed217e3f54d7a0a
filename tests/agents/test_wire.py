"""Agents with the official clients of OpenAI and Anthropic, over HTTP."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import pytest

import llmspell
from llmspell import Tenant, errors
from llmspell.agents import (
    Agent,
    AgentLimits,
    Answered,
    OutputRejected,
    RunState,
    StateChanged,
    TextDelta,
    ToolFinished,
    ToolStarted,
)
from llmspell.testing import Call, Fault, Reply
from llmspell.tools import tool
from tests.agents.killed import FIRST, RUN, tools
from tests.agents.script import add
from tests.agents.wire import Server, Wire
from tests.clock import Clock

ROOT = Path(__file__).parents[2]


def adding(*pairs: tuple[int, int], text: str = "") -> Reply:
    return Reply(text, [Call("add", {"a": a, "b": b}) for a, b in pairs])


def run(model: Any, agent: Agent, main: Callable[[Agent], Awaitable[Any]]) -> Any:
    async def whole() -> Any:
        async with model:
            return await main(agent)

    with agent:
        return asyncio.run(whole())


def test_calls_run_side_by_side_and_events_come_as_things_are_done(
    wire: Wire, acme: Tenant
) -> None:
    met, order = asyncio.Barrier(3), []
    done = [asyncio.Event() for _ in range(4)]
    done[3].set()

    @tool(trusted=True)
    async def meet(name: int) -> int:
        """Wait for two others."""
        await asyncio.wait_for(met.wait(), 60)
        await done[name + 1].wait()  # the last is done first
        order.append(name)
        done[name].set()
        return 10 * name

    calls = [Call("meet", {"name": n}) for n in range(3)]
    model = wire.model(Reply("All three.", calls), Reply("They have met."))

    async def main(agent: Agent) -> None:
        async with agent.start("Let them meet.") as run:
            events = [event async for event in run]
            result = await run.result()
        assert (result.output, result.usage.tokens) == ("They have met.", 30)
        texts = "".join(event.text for event in events if isinstance(event, TextDelta))
        assert texts == "All three.They have met."
        kinds = [type(event) for event in events if not isinstance(event, TextDelta)]
        assert kinds == [
            *(StateChanged, Answered, *[ToolStarted] * 3, *[ToolFinished] * 3),
            *(Answered, StateChanged),
        ]
        assert events[-1] == StateChanged(RunState.FINISHED)

    run(model, Agent(model, [meet], "You are a host.", acme), main)
    assert order == [2, 1, 0]
    assert wire.asked[1].texts[-3:] == ["0", "10", "20"], "in the order of the calls"
    assert [asked.is_stream for asked in wire.asked] == [True, True]
    assert acme.usage().tokens.used == 30


def test_structured_output_is_mended_by_the_model(wire: Wire, acme: Tenant) -> None:
    model = wire.model(wire.data({"value": "much"}), wire.data({"value": 37}))

    async def main(agent: Agent) -> list[str]:
        async with agent.start("How many?") as run:
            rejected = [event.why async for event in run if isinstance(event, OutputRejected)]
            assert (await run.result()).output == 37
        return rejected

    (why,) = run(model, Agent(model, tenant=acme, output=int), main)
    assert "integer" in why
    assert "much" in wire.asked[1].texts[-2]
    assert why in wire.asked[1].texts[-1]


def test_a_run_asks_for_no_more_than_it_may(wire: Wire, acme: Tenant) -> None:
    model = wire.model(adding((1, 2)), adding((1, 2)), Reply("never"))
    limits = AgentLimits(max_tokens=100, max_steps=2)
    with pytest.raises(errors.AgentLimitExceeded, match="max_steps"):
        run(model, Agent(model, [add], "", acme, limits), lambda agent: agent.run("go"))
    assert [wire.max_tokens(n) for n in range(2)] == [100, 85]
    assert len(wire.asked) == 2


@pytest.mark.parametrize("finish", ["stop", "length", "refused"])
def test_an_output_that_was_cut_off_says_so(
    wire: Wire, acme: Tenant, finish: Literal["stop", "length", "refused"]
) -> None:
    model = wire.model(Reply("Once upon a", finish=finish))

    async def main(agent: Agent) -> list[Any]:
        return [await agent.run("Tell.", run_id="r"), await agent.resume("r")]

    for result in run(model, Agent(model, tenant=acme), main):
        assert (result.output, result.finish) == ("Once upon a", finish)


def test_the_time_of_a_run_ends_an_answer_that_does_not_come(
    wire: Wire, acme: Tenant, clock: Clock
) -> None:
    async def main(model: Any) -> None:
        async with model:
            running = asyncio.ensure_future(agent.run("go"))
            while not wire.asked:
                await asyncio.sleep(0.005)
            await clock.run_out(running)
            with pytest.raises(errors.AgentLimitExceeded, match="max_seconds"):
                await running

    model = wire.model(Fault("stall"))
    limits = AgentLimits(max_seconds=60, max_answer_tokens=50)
    with Agent(model, tenant=acme, limits=limits) as agent:
        clock.run(main(model))
    assert acme.usage().tokens.used > 50, "it may have been billed"


def test_a_run_that_is_cancelled_while_the_model_speaks_goes_on_later(
    wire: Wire, acme: Tenant
) -> None:
    model = wire.model(adding((1, 2)), Fault("stall", reply=Reply("The sum is 3.")), Reply("3"))

    async def main(agent: Agent) -> None:
        async with agent.start("go", run_id="r") as run:
            async for event in run:
                if isinstance(event, TextDelta):
                    break
            run.cancel()
            with pytest.raises(errors.AgentCancelled):
                await run.result()
            assert run.state is RunState.CANCELLED
        assert (await agent.resume("r")).output == "3"

    run(model, Agent(model, [add], "", acme), main)
    assert wire.asked[2].texts[-1] == "3", "the call that was done isn't made again"
    assert len(wire.asked) == 3


def test_a_provider_that_fails_ends_the_run_and_it_can_go_on(wire: Wire, acme: Tenant) -> None:
    model = wire.model(adding((1, 2)), Fault("status", status=500), Reply("3"))

    async def main(agent: Agent) -> str:
        with pytest.raises(errors.ProviderOverloaded):
            await agent.run("go", run_id="r")
        return str((await agent.resume("r")).output)

    assert run(model, Agent(model, [add], "", acme), main) == "3"


def test_a_sub_agent_waits_for_approval_and_goes_on_with_its_caller(
    wire: Wire, acme: Tenant
) -> None:
    @tool(trusted=True, needs_approval=True)
    def remove(name: str) -> str:
        """Remove something."""
        return f"{name} is gone"

    model = wire.model(
        Reply(calls=[Call("helper", {"task": "Remove x."})]),
        Reply(calls=[Call("remove", {"name": "x"})]),
        *(Reply("Removed."), Reply("Done.")),
    )
    helper = Agent(model, [remove], "You help.", name="helper")

    async def main(agent: Agent) -> str:
        waits = await agent.run("Tidy up.")
        assert waits.state is RunState.WAITING
        decisions = {one.key: True for one in waits.pending}
        return str((await agent.resume(waits.run_id, decisions=decisions)).output)

    boss = Agent(model, [helper.as_tool(description="Helps.")], "You ask others.", acme)
    assert run(model, boss, main) == "Done."
    assert [asked.texts[-1] for asked in wire.asked[2:]] == ["x is gone", "Removed."]


def test_after_a_kill_no_finished_call_is_made_again(chat_server: Server, tmp_path: Path) -> None:
    data, log = tmp_path / "data", tmp_path / "log"
    log.touch()
    chat_server.replies[:] = FIRST
    given = [str(data), str(log), chat_server.http.openai_url]
    child = subprocess.Popen([sys.executable, "-m", "tests.agents.killed", *given], cwd=ROOT)
    while not {"paid 1", "paid 2", "hang", "look"} <= set(log.read_text().split("\n")):
        assert child.poll() is None
        time.sleep(0.02)
    key = ("agents", "runs", RUN)
    with llmspell.open(data) as db:  # beside it: the result of the second payment is written
        while db.tenant("acme").state.items(key).length < 5:  # start, two answers, two results
            time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()

    wire = Wire(chat_server, "anthropic")  # a transcript is of no provider
    model = wire.model(Reply("paid both"))
    with llmspell.open(data) as db:

        async def main(agent: Agent) -> None:
            result = await agent.resume(RUN)
            assert result.output == "paid both"
            assert result.usage.steps == 3
            # It has ended now: nothing is done, nobody is asked.
            assert (await agent.run("pay them", run_id=RUN)).output == "paid both"

        run(model, Agent(model, tools(log), "", db.tenant("acme")), main)
    assert sorted(log.read_text().splitlines()) == ["hang", "look", "look", "paid 1", "paid 2"]
    (asked,) = wire.asked
    assert asked.texts[-3] == "paid 2"
    assert "isn't known" in asked.texts[-2], "of what can't be repeated the model is told"
    assert asked.texts[-1] == "seen", "what can be repeated is"
