"""Runs that go on after a crash, a failure or a stop, and runs that are replayed."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from llmspell import Tenant, errors
from llmspell.agents import (
    Agent,
    AgentLimits,
    FileTranscript,
    MemoryTranscript,
    ReplayModel,
    Session,
    StateTranscript,
)
from llmspell.agents.handle import state_of
from llmspell.state import Append, AsyncState, Edit, State
from llmspell.tools import tool
from tests.agents.script import Script, add, call, say

ROOT = Path(__file__).parents[2]


def state(tenant: Tenant) -> AsyncState:
    return state_of(tenant)


def test_a_run_that_hit_a_limit_goes_on_with_larger_ones(acme: Tenant) -> None:
    made = []

    @tool(trusted=True)
    def work() -> str:
        """Work."""
        made.append(1)
        return "worked"

    model = Script(call(("work", {})), say("done"))
    agent = Agent(model, [work], "", acme, AgentLimits(max_steps=1))
    with agent, pytest.raises(errors.AgentLimitExceeded):
        asyncio.run(agent.run("go", run_id="r"))
    with Agent(model, [work], "", acme, AgentLimits(max_steps=2)) as agent:
        assert asyncio.run(agent.resume("r")).output == "done"
    assert made == [1]


def test_runs_are_told_apart(acme: Tenant) -> None:
    with pytest.raises(errors.RunNotFound):
        asyncio.run(Agent(Script(), tenant=acme).resume("nowhere"))
    agent = Agent(Script(say("done")), tenant=acme)
    asyncio.run(agent.run("go", run_id="r"))
    with pytest.raises(errors.RunConflict):
        asyncio.run(agent.run("something else", run_id="r"))
    with pytest.raises(errors.RunConflict):
        asyncio.run(Agent(Script(), tenant=acme, name="other").resume("r"))


def test_who_resumes_a_run_takes_it_over(acme: Tenant) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    @tool(trusted=True, idempotent=True)
    async def work() -> str:
        """Wait, the first time."""
        if not begun.is_set():
            begun.set()
            await go_on.wait()
        return "worked"

    model = Script(call(("work", {})), say("done"))

    async def main() -> None:
        agent = Agent(model, [work], "", acme)
        async with agent.start("go", run_id="r") as run:
            await begun.wait()
            assert (await agent.resume("r")).output == "done"
            go_on.set()
            with pytest.raises(errors.RunConflict):
                await run.result()
        agent.close()

    asyncio.run(main())


def test_an_answer_that_is_written_while_the_run_is_cancelled_is_known(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_writing, go_on, paid = threading.Event(), threading.Event(), []
    write = State.write

    def slow(self: State, edits: Sequence[Edit]) -> None:
        if any(isinstance(one, Append) and '"answer"' in one.values[0] for one in edits):
            is_writing.set()
            assert go_on.wait(60)
        write(self, edits)

    @tool(trusted=True)
    def pay() -> str:
        """Pay."""
        paid.append(1)
        return "paid"

    model = Script(call(("pay", {})), say("done"))

    async def main(agent: Agent) -> None:
        async with agent.start("go", run_id="r") as run:
            await asyncio.to_thread(is_writing.wait, 60)
            run.cancel()
            await asyncio.sleep(0)  # it is told now
            go_on.set()
            with pytest.raises(errors.AgentCancelled):
                await run.result()
        assert (await agent.resume("r")).output == "done"

    monkeypatch.setattr(State, "write", slow)
    with Agent(model, [pay], "", acme) as agent:
        asyncio.run(main(agent))
    assert (paid, model.asked) == ([1], 2), "the call had not begun, and is made"


# --- transcripts


@pytest.fixture(params=["memory", "file", "state"])
def transcript(request: pytest.FixtureRequest, tmp_path: Path, acme: Tenant) -> Any:
    return {
        "memory": MemoryTranscript(),
        "file": FileTranscript(tmp_path / "runs" / "run.jsonl"),
        "state": StateTranscript(state(acme), "r"),
    }[request.param]


def test_a_transcript_gives_its_entries_back(transcript: Any) -> None:
    async def main() -> None:
        assert await transcript.read() == []
        await transcript.append({"kind": "a"}, {"kind": "b", "x": [1, None, "é\n"]})
        await transcript.append({"kind": "c"})
        assert [one["kind"] for one in await transcript.read()] == ["a", "b", "c"]
        child = transcript.child("0-1")
        assert await child.read() == []
        await child.append({"kind": "d"})
        assert len(await transcript.read()) == 3
        assert [one["kind"] for one in await transcript.child("0-1").read()] == ["d"]

    asyncio.run(main())


def test_entries_that_come_at_once_are_all_kept(transcript: Any) -> None:
    async def main() -> None:
        await transcript.append({"kind": "first"})
        await asyncio.gather(*(transcript.append({"kind": f"{n}"}) for n in range(8)))
        kept = [one["kind"] for one in await transcript.read()]
        assert (kept[0], sorted(kept[1:])) == ("first", [f"{n}" for n in range(8)])

    asyncio.run(main())


def test_a_line_that_a_crash_cut_short_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text('{"kind": "a"}\n{"kind": "b')

    async def main() -> None:
        transcript = FileTranscript(path)
        assert await transcript.read() == [{"kind": "a"}]
        await transcript.append({"kind": "c"})

    asyncio.run(main())
    assert [json.loads(line)["kind"] for line in path.read_text().splitlines()] == ["a", "c"]


def test_a_result_that_is_too_large_to_be_kept_ends_no_run(acme: Tenant) -> None:
    made: list[int] = []

    @tool(trusted=True, max_result_bytes=16 << 20)
    def dump() -> str:
        """Give all of it."""
        made.append(1)
        return "x" * (9 << 20)

    model = Script(call(("dump", {})), say("done"))
    with Agent(model, [dump], "", acme) as agent:
        assert asyncio.run(agent.run("go")).output == "done"
    assert made == [1]
    assert "result_too_large" in model.told(1)[-1]


def test_half_a_surrogate_pair_is_no_end_of_a_transcript(acme: Tenant, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    agent = Agent(Script(say("x")), tenant=acme, transcripts=lambda run_id: FileTranscript(path))
    assert asyncio.run(agent.run("half \ud83d")).output == "x"


@pytest.mark.parametrize("line", ["nonsense", "[1]", '{"kind": "end"}', '{"kind": "odd"}', "{}"])
def test_what_no_run_can_have_written_is_named(acme: Tenant, tmp_path: Path, line: str) -> None:
    path = tmp_path / "run.jsonl"
    start = {"kind": "start", "format": 1, "agent": "agent", "input": "go", "earlier": []}
    start["session"] = None
    path.write_text(json.dumps(start) + "\n" + line + "\n")
    agent = Agent(Script(), tenant=acme, transcripts=lambda run_id: FileTranscript(path))
    with pytest.raises(errors.TranscriptDamaged):
        asyncio.run(agent.resume("r"))


def test_a_transcript_is_replayed_without_its_model(acme: Tenant, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    model = Script(call(("add", {"a": 1, "b": 2}), text="I add"), say("x"), say('{"value": 3}'))
    with Agent(
        model, [add], "", acme, output=int, transcripts=lambda run_id: FileTranscript(path)
    ) as agent:
        first = asyncio.run(agent.run("go"))
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    with Agent(ReplayModel(entries), [add], "", acme, output=int, transcripts="memory") as agent:
        again = asyncio.run(agent.run("go"))
    assert (again.output, again.usage) == (first.output, first.usage)
    agent = Agent(ReplayModel(entries[:2]), [add], "", acme, output=int)
    with agent, pytest.raises(errors.RunConflict):
        asyncio.run(agent.run("go"))


def test_a_transcript_is_removed_with_those_of_sub_agents(acme: Tenant) -> None:
    helper = Agent(Script(say("helped")), name="helper")
    model = Script(call(("helper", {"task": "help"})), say("done"))
    with Agent(model, [helper.as_tool(description="Helps.")], "", acme) as agent:
        asyncio.run(agent.run("go", run_id="r"))
        asyncio.run(Agent(Script(say("other")), tenant=acme).run("go", run_id="r2"))
    assert asyncio.run(StateTranscript(state(acme), "r").forget()) == 2
    assert {item.key[2] for item in acme.state.scan("agents").items} == {"r2"}


# --- sessions


def test_a_session_is_remembered_by_the_next_run(acme: Tenant) -> None:
    model = Script(say("Hello Ann."), say("You are Ann."), say("Who?"))
    agent = Agent(model, tenant=acme)
    asyncio.run(agent.run("I am Ann.", session="s"))
    asyncio.run(agent.run("Who am I?", session="s"))
    assert model.told(1) == ["I am Ann.", "Hello Ann.", "Who am I?"]
    asyncio.run(agent.run("Who am I?", session="other"))
    assert model.told(2) == ["Who am I?"]


def test_a_run_is_told_no_more_of_a_session_than_it_may(acme: Tenant) -> None:
    model = Script(*[say(f"a{n}") for n in range(4)])
    agent = Agent(model, tenant=acme)
    for n in range(3):
        asyncio.run(agent.run(f"q{n}", session="s"))
    asyncio.run(agent.run("q3", session="s", max_messages=2))
    assert model.told(3) == ["q2", "a2", "q3"]
    assert asyncio.run(Session(state(acme), "s").forget())
    assert acme.state.items(("agents", "sessions", "s")).length == 0
