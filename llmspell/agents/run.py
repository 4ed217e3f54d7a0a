"""One run of an agent: the model is asked and tools are called until there is an output."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from llmspell.agents.chat import ask, request_of
from llmspell.agents.events import (
    AgentEvent,
    Answered,
    ApprovalAsked,
    OutputRejected,
    RunState,
    StateChanged,
    TextDelta,
)
from llmspell.agents.handle import Handle, operation_of, state_of
from llmspell.agents.history import FORMAT, Answer, History
from llmspell.agents.hooks import AgentHooks
from llmspell.agents.limits import Budget, RunUsage
from llmspell.agents.tool_calls import CallInRun, ToolCalls
from llmspell.agents.transcript import Entry, Transcript
from llmspell.errors import (
    AgentCancelled,
    AgentLimitExceeded,
    InputError,
    OutputInvalid,
    RunConflict,
    RunNotFound,
)
from llmspell.observability import Attribute, span
from llmspell.tools import Approval, ToolCall

if TYPE_CHECKING:
    from llmspell.agents.agent import Agent
    from llmspell.agents.memory import Session

__all__ = ["AgentResult", "AgentRun"]

#: Events that wait to be read; the run waits for the reader beyond.
_EVENTS: Final = 256
#: Beyond the time of a run, for its end to be written down.
LEASE_EXTRA_S: Final = 60.0
MAX_LEASE_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class AgentResult:
    """What a run came to.

    Args:
        output: text, or data of the type, or by the schema, that the agent was made with; None
            where it waits.
        run_id: of the run.
        state: ``FINISHED``, or ``WAITING`` where calls are to be approved.
        usage: that the run has used, sub-agents and what was before it was resumed included.
        pending: calls to be approved: :meth:`Agent.resume` takes the decisions by their keys.
    """

    output: Any
    run_id: str
    state: RunState
    usage: RunUsage
    pending: tuple[ApprovalAsked, ...] = ()


class AgentRun:
    """A run, made by :meth:`Agent.start`; go through it in an ``async with``, of one event loop.

    Inside, ``async for`` gives its events, and :meth:`result` what it came to. Where the block is
    left before, the run is cancelled.
    """

    def __init__(
        self,
        agent: Agent,
        tenant: Handle,
        run_id: str,
        text: str | None,
        transcript: Transcript,
        *,
        session: str | None = None,
        max_messages: int = 0,
        decisions: Mapping[str, bool | Approval] | None = None,
        within: CallInRun | None = None,
        is_new: bool = False,
    ) -> None:
        self.agent = agent
        self.id = run_id
        self.state = RunState.CREATED
        self.history = History()
        self.hooks: AgentHooks = agent.hooks
        self.decisions = dict(decisions or {})
        self.budget = Budget(agent.limits, run_id, RunUsage())
        self.transcript = transcript
        self._tenant = tenant
        self._text = text
        self._session_name = session
        self._max_messages = max_messages
        self._session: Session | None = None
        self._within = within
        self._is_new = is_new
        self._asked: dict[str, asyncio.Future[bool | Approval]] = {}
        self._events: asyncio.Queue[AgentEvent | None] | None = None
        self._task: asyncio.Task[AgentResult] | None = None
        self._is_cancelled = False
        self._is_over = False

    def __repr__(self) -> str:
        return f"AgentRun(id={self.id!r}, state={self.state.value!r})"

    # --- for who follows it

    async def __aenter__(self) -> Self:
        if self._task is not None:
            raise InputError(f"run {self.id!r} has begun; resume it by its agent")
        self._events = asyncio.Queue(_EVENTS)
        self._task = asyncio.ensure_future(self._told())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._task is not None
        self._events = None
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.exception()  # looked at: result() raises it to who asks
        elif self.state is RunState.CREATED:
            self.state = RunState.CANCELLED

    async def __aiter__(self) -> AsyncIterator[AgentEvent]:
        """Events up to the end of the run, for one reader; none once :meth:`result` was asked."""
        if self._task is None:
            raise InputError("events are read in the run's async with")
        events = self._events
        while events is not None and not (self._is_over and events.empty()):
            event = await events.get()
            if event is None:
                return
            yield event

    async def result(self) -> AgentResult:
        """What the run comes to; raises what ended it. Reads no events, and drops those left."""
        if self._task is None:
            raise InputError("a run begins with its async with")
        events = self._events
        self._events = None
        if events is not None:
            while not events.empty():  # lets go a run that waits for the reader
                events.get_nowait()
        try:
            return await asyncio.shield(self._task)
        except asyncio.CancelledError:
            if self._is_cancelled and self._task.cancelled():  # before it began
                raise AgentCancelled(f"run {self.id!r} was cancelled", run_id=self.id) from None
            raise

    def cancel(self) -> None:
        """End the run: what runs is cancelled, and :meth:`result` raises AgentCancelled."""
        self._is_cancelled = True
        if self._task is not None:
            self._task.cancel()

    def decide(self, key: str, decision: bool | Approval) -> None:
        """Decide about a call that waits for approval, by the key that :class:`ApprovalAsked` told.

        Raises:
            InputError: it doesn't wait.
        """
        waiting = self._asked.get(key)
        if waiting is None or waiting.done():
            raise InputError(f"run {self.id!r} has no call {key!r} that waits for approval")
        waiting.set_result(decision)

    # --- for its parts

    @property
    def prefix(self) -> str:
        """Of the keys of its calls, where it is part of another run."""
        within = self._within
        return "" if within is None else f"{within.run.prefix}{within.call.key}/"

    async def keep(self, *entries: Entry) -> None:
        """Write entries to the transcript, and know what they say."""
        await self.transcript.append(*entries)
        for entry in entries:
            self.history.take(entry)

    async def tell(self, event: AgentEvent) -> None:
        """Tell those who follow the run, and the run that it is part of."""
        if self._events is not None:
            await self._events.put(event)
        if self._within is not None:
            await self._within.run.tell_of_part(self._within.call, self.agent.name, event)

    async def tell_of_part(self, call: Any, agent: str, event: AgentEvent) -> None:
        """Tell of a sub-agent's event."""
        from llmspell.agents.events import SubAgentEvent

        await self.tell(SubAgentEvent(call, agent, event))

    async def enter(self, state: RunState) -> None:
        """Be in another state."""
        if state is not self.state:
            self.state = state
            await self.tell(StateChanged(state))
            await self.hooks.on_state(self, state)

    async def ask_approval(self, told: ApprovalAsked, asked: ToolCall) -> bool | Approval | None:
        """Who decides is asked; None where nobody does now."""
        hook = self._approve_hook()
        if hook is not None:
            await self.tell(told)
            answer = hook(asked)
            decided: bool | Approval | None = await _value(answer)
            return decided
        root = self
        while root._within is not None:
            root = root._within.run
        if root._events is None:
            return None
        waiting = root._asked[told.key] = asyncio.get_running_loop().create_future()
        try:
            await self.tell(told)
            given: bool | Approval = await waiting
            return given
        finally:
            del root._asked[told.key]

    def _approve_hook(self) -> Callable[[ToolCall], Any] | None:
        if self.agent.approve is not None or self._within is None:
            return self.agent.approve
        return self._within.run._approve_hook()

    # --- the loop

    async def run(self) -> AgentResult:
        """Go through it in this task."""
        try:
            return await self._run()
        except asyncio.CancelledError:
            await self._stopped(RunState.CANCELLED, "cancelled")
            if self._is_cancelled:
                raise AgentCancelled(f"run {self.id!r} was cancelled", run_id=self.id) from None
            raise
        except Exception as error:
            await self._stopped(RunState.FAILED, type(error).__name__)
            if self._within is None:
                error.add_note(f"in run {self.id!r} of agent {self.agent.name!r}")
            raise

    async def _told(self) -> AgentResult:
        try:
            return await self.run()
        finally:
            self._is_over = True
            if self._events is not None:
                with suppress(asyncio.QueueFull):  # its reader has something to read then
                    self._events.put_nowait(None)

    async def _run(self) -> AgentResult:
        limits = self.agent.limits
        # Nobody else has this one yet.
        for entry in () if self._is_new else await self.transcript.read():
            self.history.take(entry)
        is_resumed = self.history.agent is not None
        self._require_own(is_resumed)
        self._join_session()
        if self.history.is_ended:
            await self.enter(RunState.FINISHED)
            return self._finished()
        used = self.history.used
        outer = None if self._within is None else self._within.run.budget
        self.budget = Budget(limits, self.id, used, outer)
        name = self.agent.name
        tokens = max(0, (limits.max_tokens or 0) - used.tokens)
        cost = max(0.0, (limits.max_cost or 0.0) - used.cost)
        with span(
            f"invoke_agent {name}",
            {
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.agent.name": name,
                "llmspell.run.id": self.id,
                "llmspell.tenant.id": self._tenant.id,
            },
        ):
            async with operation_of(
                self._tenant,
                tokens=tokens,
                cost=cost,
                seconds=min(limits.max_seconds + LEASE_EXTRA_S, MAX_LEASE_S),
            ):
                # In either case another process that has the run finds out at its next write.
                await (self.keep({"kind": "resume"}) if is_resumed else self._begin())
                await self.enter(RunState.RUNNING)
                return await self._in_time(is_resumed)

    async def _begin(self) -> None:
        earlier = [] if self._session is None else await self._session.messages()
        await self.keep(
            {
                "kind": "start",
                "format": FORMAT,
                "agent": self.agent.name,
                "input": self._text,
                "session": self._session_name,
                "earlier": [{"role": one.role, "text": one.text} for one in earlier],
            }
        )

    async def _in_time(self, is_resumed: bool) -> AgentResult:
        limit = asyncio.timeout(max(0.0, self.budget.seconds_left))
        try:
            async with limit:
                return await self._loop(is_resumed)
        except TimeoutError:
            if not limit.expired():
                raise
            raise AgentLimitExceeded(
                limit="max_seconds", value=self.agent.limits.max_seconds, run_id=self.id
            ) from None

    async def _loop(self, is_resumed: bool) -> AgentResult:
        calls = ToolCalls(self, self._tenant)
        while not self.history.is_ended:
            turn = self.history.last
            if turn is not None and turn.open_calls:
                await calls.make(turn, is_resumed=is_resumed)
                if calls.pending:
                    return await self._paused(calls)
            elif turn is not None and not turn.answer.calls and turn.repair is None:
                # It was refused as the output before the run was resumed.
                entries, problem = self._read_answer(turn.answer)
                await self._settle(turn.answer, entries[1:], problem)
                continue
            is_resumed = False
            await self._ask(calls)
        return self._finished()

    async def _ask(self, calls: ToolCalls) -> None:
        agent = self.agent
        allowed = self.budget.answer_tokens()
        messages = await self.hooks.before_model(self, list(self.history.messages()))
        model = agent.model
        told_of_it: dict[str, Attribute] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": model.provider,
            "gen_ai.request.model": model.model_id,
        }
        with span(f"chat {model.model_id}", told_of_it) as told:
            answer = await ask(
                model,
                request_of(
                    instructions=agent.instructions,
                    messages=messages,
                    tools=calls.specs,
                    schema=agent.output.schema,
                    max_tokens=allowed,
                ),
                until=self.budget.deadline,
                on_text=self._on_text if self._is_followed else None,
            )
            told.set("gen_ai.response.model", answer.model)
            told.set("gen_ai.usage.input_tokens", answer.input_tokens)
            told.set("gen_ai.usage.output_tokens", answer.output_tokens)
        self.budget.answered(
            input_tokens=answer.input_tokens,
            output_tokens=answer.output_tokens,
            cost=answer.cost,
        )
        await self._settle(answer, *self._read_answer(answer))

    async def _settle(
        self, answer: Answer, entries: list[Entry], problem: InputError | OutputInvalid | None
    ) -> None:
        """Keep what an answer came to, and tell of it."""
        if entries and entries[-1]["kind"] == "end" and self._session is not None:
            await self._session.end(self.transcript, entries, self.history.input, answer.text)
        elif entries:
            await self.transcript.append(*entries)
        for entry in entries:
            self.history.take(entry)
        if entries and entries[0]["kind"] == "answer":
            kept = self.history.turns[-1].answer
            await self.tell(Answered(kept))
            await self.hooks.after_model(self, kept)
        if isinstance(problem, OutputInvalid):
            raise problem
        if problem is not None:
            await self.tell(OutputRejected(answer.text, str(problem)))
        if self.history.is_ended:
            await self.enter(RunState.FINISHED)

    @property
    def _is_followed(self) -> bool:
        """Whether anybody reads its events, or those of the run that it is part of."""
        if self._within is not None:
            return self._within.run._is_followed
        return self._events is not None

    async def _on_text(self, text: str) -> None:
        await self.tell(TextDelta(text))

    def _read_answer(self, answer: Answer) -> tuple[list[Entry], InputError | OutputInvalid | None]:
        """What of an answer stands in the transcript, and what is wrong with it."""
        entries = [answer.to_entry()]
        if answer.calls:
            return entries, None
        try:
            value = self.agent.output.parse(answer.text)
        except InputError as error:
            if self.history.repairs >= self.agent.limits.max_repairs:
                return entries, OutputInvalid(
                    f"run {self.id!r}: the model's answer isn't what was to come out, after "
                    f"{self.history.repairs} repairs: {error}",
                    text=answer.text,
                    run_id=self.id,
                )
            told = (
                f"Your answer can't be used: {error}. Answer again with nothing but the whole "
                "corrected JSON."
            )
            return [*entries, {"kind": "repair", "text": told}], error
        return [*entries, {"kind": "end", "output": self.agent.output.to_data(value)}], None

    def _finished(self) -> AgentResult:
        value = self.agent.output.from_data(self.history.output)
        used = self.budget.used if self.budget.used.steps else self.history.used
        return AgentResult(value, self.id, RunState.FINISHED, used)

    async def _paused(self, calls: ToolCalls) -> AgentResult:
        await self.enter(RunState.WAITING)
        return AgentResult(None, self.id, RunState.WAITING, self.budget.used, tuple(calls.pending))

    def _join_session(self) -> None:
        name = self.history.session if self.history.agent is not None else self._session_name
        if name is not None:
            from llmspell.agents.memory import Session

            state = state_of(self._tenant)
            self._session = Session(state, name, max_messages=self._max_messages)

    def _require_own(self, is_resumed: bool) -> None:
        history = self.history
        if not is_resumed:
            if self._text is None:
                raise RunNotFound(f"there is no run {self.id!r}", run_id=self.id)
            return
        is_same = self._text is None or self._text == history.input
        if history.agent != self.agent.name or not is_same:
            raise RunConflict(
                f"run {self.id!r} is of agent {history.agent!r} with another input; give it "
                "another id, or resume it by that agent",
                run_id=self.id,
            )

    async def _stopped(self, state: RunState, why: str) -> None:
        """Note that it has ended so, where that can be; the exception says the rest."""
        self.state = state
        with suppress(Exception):
            await self.tell(StateChanged(state))
            await self.hooks.on_state(self, state)
            if self.history.agent is not None and not self.history.is_ended:
                await self.transcript.append({"kind": "stop", "state": str(state), "why": why})


async def _value(found: Any) -> Any:
    return await found if inspect.isawaitable(found) else found
