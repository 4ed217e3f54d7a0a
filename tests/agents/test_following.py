"""Runs that are followed: their events, approvals, and their cancelling."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmspell import Tenant, errors
from llmspell.agents import (
    Agent,
    AgentHooks,
    AgentLimits,
    AgentRun,
    ApprovalAsked,
    RunState,
    Said,
    StateChanged,
    TextDelta,
    ToolFinished,
)
from llmspell.agents.following import Following
from llmspell.providers import ChatRequest
from llmspell.tools import Approval, ToolCall, tool
from tests.agents.script import Script, add, call, say

removed: list[str] = []


@tool(trusted=True, needs_approval=True)
def remove(name: str) -> str:
    """Remove something."""
    removed.append(name)
    return f"{name} is gone"


@pytest.fixture(autouse=True)
def nothing_is_removed() -> None:
    removed.clear()


class Plain(Script):
    """Its streams are iterators that can't be closed, and end after so many events."""

    def __init__(self, *replies: Any, most: int = 99) -> None:
        super().__init__(*replies)
        self._most = most

    def astream(self, request: ChatRequest) -> Any:
        events = super().astream(request)
        left = iter(range(self._most))

        class Iterator:
            def __aiter__(self) -> Iterator:
                return self

            async def __anext__(self) -> Any:
                if next(left, None) is None:
                    await events.aclose()
                    raise StopAsyncIteration
                return await anext(events)

        return Iterator()


def test_a_model_may_stream_by_any_iterator_that_ends_with_the_response(acme: Tenant) -> None:
    async def main(model: Plain) -> Any:
        async with Agent(model, (), "", acme).start("go") as run:
            events = [event async for event in run]
            assert any(isinstance(event, TextDelta) for event in events)
            return (await run.result()).output

    assert asyncio.run(main(Plain(say("done")))) == "done"
    with pytest.raises(errors.BadProviderResponse, match="without its response"):
        asyncio.run(main(Plain(say("done"), most=1)))


def test_more_events_than_anybody_reads_keep_no_run_from_its_end(acme: Tenant) -> None:
    calls = call(*[("add", {"a": 1, "b": 2})] * 90)
    agent = Agent(Script(calls, say("done"), say("never")), [add], "", acme)

    async def main() -> None:
        async with agent.start("go") as run:
            assert (await run.result()).output == "done"
        async with agent.start("go") as run:
            pass
        assert run.state is RunState.CANCELLED

    with agent:
        asyncio.run(main())


def test_a_reader_in_a_task_of_its_own_ends_where_another_asks_for_the_result(
    acme: Tenant,
) -> None:
    agent = Agent(Script(say("done")), (), "", acme)

    async def main() -> None:
        async with agent.start("go") as run:

            async def read() -> None:
                async for _ in run:
                    begun.set()

            begun = asyncio.Event()
            reader = asyncio.create_task(read())
            await begun.wait()
            assert (await run.result()).output == "done"
            async with asyncio.timeout(20):
                await reader

    with agent:
        asyncio.run(main())


def test_a_reader_of_a_run_that_is_cancelled_before_it_began_is_told_nothing(acme: Tenant) -> None:
    async def main() -> None:
        async with Agent(Script(say("never")), (), "", acme).start("go") as run:
            run.cancel()
            assert await asyncio.wait_for(anext(aiter(run), None), 60) is None
            assert run.state is RunState.CANCELLED
            with pytest.raises(errors.AgentCancelled):
                await run.result()

    asyncio.run(main())


def test_as_many_as_tell_of_a_run_are_let_go_when_nobody_reads() -> None:
    async def main() -> None:
        following = Following("r")
        following.begin()
        telling = [asyncio.create_task(following.tell(TextDelta(f"{n}"))) for n in range(1_000)]
        await asyncio.sleep(0)
        assert sum(one.done() for one in telling) == 256
        following.stop()
        await asyncio.wait_for(asyncio.gather(*telling), 60)

    asyncio.run(main())


# --- approval


def test_a_hook_approves_or_refuses(acme: Tenant) -> None:
    asked: list[ToolCall] = []

    async def approve(call: ToolCall) -> Approval | bool:
        asked.append(call)
        return True if call.arguments["name"] == "a" else Approval(False, "it is dear")

    model = Script(call(("remove", {"name": "a"}), ("remove", {"name": "b"})), say("done"))
    with Agent(model, [remove], "", acme, approve=approve) as agent:
        assert asyncio.run(agent.run("go")).output == "done"
    assert removed == ["a"]
    assert model.told(1)[-2] == "a is gone"
    assert "it is dear" in model.told(1)[-1]
    assert {one.tenant for one in asked} == {"acme"}


def test_what_is_no_decision_is_no_refusal_either(acme: Tenant) -> None:
    given: list[Any] = ["yes", True]
    model = Script(call(("remove", {"name": "a"})), say("done"))

    async def main() -> None:
        agent = Agent(model, [remove], "", acme, approve=lambda asked: given.pop(0))
        with pytest.raises(errors.ConfigError, match="'yes'"):
            await agent.run("go", run_id="r")
        assert (await agent.resume("r")).output == "done"
        asked = Agent(Script(call(("remove", {"name": "b"})), say("done")), [remove], "", acme)
        async with asked.start("go") as run:
            async for event in run:
                if isinstance(event, ApprovalAsked):
                    with pytest.raises(errors.InputError, match="'yes'"):
                        run.decide(event.key, "yes")  # type: ignore[arg-type]
                    run.decide(event.key, True)

    asyncio.run(main())
    assert removed == ["a", "b"]


def test_who_follows_a_run_decides_while_it_waits(acme: Tenant) -> None:
    model = Script(call(("remove", {"name": "a"}), ("remove", {"name": "b"})), say("done"))
    agent = Agent(model, [remove], "", acme)

    async def main() -> list[RunState]:
        states = []
        async with agent.start("go") as run:
            with pytest.raises(errors.CallNotWaiting):
                run.decide("0-0", True)
            async for event in run:
                if isinstance(event, ApprovalAsked):
                    assert run.state is RunState.WAITING
                    run.decide(event.key, event.arguments["name"] == "b")
                if isinstance(event, StateChanged):
                    states.append(event.state)
        return states

    with agent:
        states = asyncio.run(main())
    assert removed == ["b"]
    assert states[:2] == [RunState.RUNNING, RunState.WAITING]
    assert states[-2:] == [RunState.RUNNING, RunState.FINISHED]


@pytest.mark.parametrize("is_given", [True, False])
def test_where_nobody_decides_the_run_waits_for_days(acme: Tenant, is_given: bool) -> None:
    model = Script(call(("remove", {"name": "a"}), ("add", {"a": 1, "b": 1})), say("done"))
    with Agent(model, [remove, add], "", acme, approve=lambda call: None) as agent:
        waits = asyncio.run(agent.run("go"))
        assert (waits.state, waits.output) == (RunState.WAITING, None)
        assert [(one.key, one.call.tool) for one in waits.pending] == [("0-0", "remove")]
        assert removed == []
        again = asyncio.run(agent.resume(waits.run_id))
        assert again.pending == waits.pending
    with Agent(model, [remove, add], "", acme) as later:  # of another process
        decisions = {"0-0": is_given}
        result = asyncio.run(later.resume(waits.run_id, decisions=decisions))
    assert result.output == "done"
    assert removed == (["a"] if is_given else [])
    assert model.told(1)[-1] == "2"


@pytest.mark.parametrize("key", ["0-1", "0-2", "1-0", "0-1/0-0", "nonsense", 7])
def test_a_decision_about_a_call_that_does_not_wait_is_refused(acme: Tenant, key: Any) -> None:
    model = Script(call(("remove", {"name": "a"}), ("add", {"a": 1, "b": 1})), say("done"))
    with Agent(model, [remove, add], "", acme) as agent:
        waits = asyncio.run(agent.run("go"))
        before = acme.state.items(("agents", "runs", waits.run_id))
        with pytest.raises(errors.CallNotWaiting, match="no call"):
            asyncio.run(agent.resume(waits.run_id, decisions={"0-0": True, key: True}))
        assert acme.state.items(("agents", "runs", waits.run_id)) == before
        assert removed == []
        assert asyncio.run(agent.resume(waits.run_id, decisions={"0-0": True})).output == "done"


def test_a_result_has_what_was_said_so_far(acme: Tenant) -> None:
    model = Script(call(("add", {"a": 1, "b": 2}), ("remove", {"name": "a"})), say("done"))
    agent = Agent(model, [add, remove], "", acme)
    asked, answered, (added, three) = asyncio.run(agent.run("go", run_id="r")).messages
    assert (asked, added.tool, three.value) == (Said("user", "go"), "add", 3)
    assert [one.tool for one in answered.calls] == ["add", "remove"]
    result = asyncio.run(agent.resume("r", decisions={"0-1": True}))
    (_, gone), last = result.messages[3:]
    assert (gone.value, last.text) == ("a is gone", "done")
    assert asyncio.run(agent.resume("r")).messages == result.messages


def test_a_decision_may_be_given_again_and_not_changed(acme: Tenant) -> None:
    model = Script(call(("remove", {"name": "a"})), None, say("done"))
    with Agent(model, [remove], "", acme) as agent:
        run_id = asyncio.run(agent.run("go")).run_id
        with pytest.raises(errors.ProviderError):  # behind the call
            asyncio.run(agent.resume(run_id, decisions={"0-0": True}))
        with pytest.raises(errors.CallNotWaiting):
            asyncio.run(agent.resume(run_id, decisions={"0-0": False}))
        with pytest.raises(errors.InputError, match="Approval"):
            asyncio.run(agent.resume(run_id, decisions={"0-0": "yes"}))  # type: ignore[dict-item]
        assert asyncio.run(agent.resume(run_id, decisions={"0-0": True})).output == "done"
    assert removed == ["a"]


def test_a_step_can_not_wait(acme: Tenant) -> None:
    agent = Agent(Script(call(("remove", {"name": "a"}))), [remove], "", acme)
    with agent, pytest.raises(errors.InputError, match="approval of remove"):
        asyncio.run(agent("go"))


# --- cancelling


def hanging() -> tuple[Any, asyncio.Event, list[str]]:
    begun, ended = asyncio.Event(), []

    @tool(trusted=True)
    async def hang() -> None:
        """Never end."""
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("hang")

    return hang, begun, ended


def test_a_run_that_is_cancelled_ends_what_runs(acme: Tenant) -> None:
    hang, begun, ended = hanging()

    async def main() -> None:
        async with agent.start("go") as run:
            await begun.wait()
            run.cancel()
            with pytest.raises(errors.AgentCancelled):
                await run.result()
            assert run.state is RunState.CANCELLED
            assert [event async for event in run] == []

    with Agent(Script(call(("hang", {}))), [hang], "", acme) as agent:
        asyncio.run(main())
    assert ended == ["hang"]
    assert acme.usage().tokens.used == 20


def test_who_is_cancelled_while_it_waits_cancels_the_run(acme: Tenant) -> None:
    hang, begun, ended = hanging()

    async def main() -> None:
        task = asyncio.ensure_future(agent.run("go"))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with Agent(Script(call(("hang", {}))), [hang], "", acme) as agent:
        asyncio.run(main())
    assert ended == ["hang"]


def test_leaving_the_block_cancels_the_run(acme: Tenant) -> None:
    hang, begun, ended = hanging()

    async def main() -> None:
        async with agent.start("go"):
            await begun.wait()

    with Agent(Script(call(("hang", {}))), [hang], "", acme) as agent:
        asyncio.run(main())
    assert ended == ["hang"]


def test_a_run_that_was_cancelled_ends_as_ever_when_its_block_is_left(acme: Tenant) -> None:
    hang, begun, _ = hanging()
    made, ended, is_ending, go_on = [], [], asyncio.Event(), asyncio.Event()

    @tool(trusted=True)
    async def pay() -> str:
        """Pay."""
        made.append(1)
        return "paid"

    class Slow(AgentHooks):
        async def on_state(self, run: AgentRun, state: RunState) -> None:
            if state is RunState.CANCELLED:
                is_ending.set()
                await go_on.wait()

        async def on_error(self, run: AgentRun, error: BaseException) -> None:
            ended.append(type(error))

    model = Script(call(("hang", {}), ("pay", {})), say("well"))
    limits = AgentLimits(max_parallel_tools=1)

    async def main() -> None:
        async with agent.start("go", run_id="r") as run:
            await begun.wait()
            run.cancel()
            await is_ending.wait()
            asyncio.get_running_loop().call_soon(go_on.set)
        assert ended == [asyncio.CancelledError]
        assert (await agent.resume("r")).output == "well"

    with Agent(model, [hang, pay], "", acme, limits, hooks=Slow()) as agent:
        asyncio.run(main())
    assert made == [1], "it had not begun"


def test_what_was_done_when_a_run_is_cancelled_is_not_done_again(acme: Tenant) -> None:
    hang, begun, _ = hanging()
    made = []

    @tool(trusted=True)
    async def quick() -> str:
        """Be done at once."""
        made.append(1)
        return "done"

    model = Script(call(("quick", {}), ("hang", {})), say("well"))

    async def main() -> None:
        async with agent.start("go", run_id="r") as run:
            async for event in run:
                if isinstance(event, ToolFinished):
                    break
            await begun.wait()
            run.cancel()
        result = await agent.resume("r")
        assert result.output == "well"

    with Agent(model, [quick, hang], "", acme) as agent:
        asyncio.run(main())
    assert made == [1]
    assert model.told(1)[-2] == "done"
    assert "isn't known" in model.told(1)[-1]
