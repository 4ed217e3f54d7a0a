"""One run of an agent: the model is asked and tools are called until there is an output."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from llmspell.agents.decisions import require_asked
from llmspell.agents.ending import to_its_end
from llmspell.agents.events import (
    AgentEvent,
    RunState,
    StateChanged,
    SubAgentEvent,
)
from llmspell.agents.followed import FollowedRun
from llmspell.agents.handle import Handle, operation_of, state_of
from llmspell.agents.history import FORMAT, History
from llmspell.agents.hooks import AgentHooks
from llmspell.agents.limits import Budget, RunUsage
from llmspell.agents.model_calls import ModelCalls
from llmspell.agents.result import AgentResult
from llmspell.agents.tool_calls import CallInRun, ToolCalls
from llmspell.agents.transcript import Entry, Transcript
from llmspell.errors import (
    AgentCancelled,
    AgentLimitExceeded,
    ConfigError,
    ProviderTimeout,
    QuotaExceeded,
    TenantSuspended,
)
from llmspell.observability import span
from llmspell.remote import current_deadline
from llmspell.tenancy import instruments_of
from llmspell.tools import Approval

if TYPE_CHECKING:
    from llmspell.agents.agent import Agent
    from llmspell.agents.memory import Session

__all__ = ["AgentRun"]

#: Beyond the time of a run, for its end to be written down.
LEASE_EXTRA_S: Final = 60.0
MAX_LEASE_S: Final = 86_400.0


class AgentRun(FollowedRun):
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
        super().__init__(run_id)
        self.agent = agent
        self.history = History()
        self.hooks: AgentHooks = agent.hooks
        self.decisions = dict(decisions or {})
        self.budget = Budget(agent.limits, run_id, RunUsage())
        self.transcript = transcript
        self.metrics = instruments_of(tenant).agents
        self._tenant = tenant
        self._text = text
        self._session_name = session
        self._max_messages = max_messages
        self._session: Session | None = None
        self.within = within  #: the call of another run that it is part of
        self._is_new = is_new
        self._calls: ToolCalls | None = None  #: once it has begun, or goes on

    def __repr__(self) -> str:
        return f"AgentRun(id={self.id!r}, state={self.state.value!r})"

    # --- for its parts

    @property
    def is_followed(self) -> bool:
        """Whether anybody reads its events, or those of the run that it is part of."""
        if self.within is not None:
            return self.within.run.is_followed
        return self.following.is_on

    @property
    def prefix(self) -> str:
        """Of the keys of its calls, where it is part of another run."""
        within = self.within
        return "" if within is None else f"{within.run.prefix}{within.call.key}/"

    async def keep(self, *entries: Entry) -> None:
        """Write entries to the transcript, and know what they say; see :meth:`know`."""
        await self.know(self.transcript.append(*entries), entries)

    async def know(self, writing: Coroutine[Any, Any, None], entries: Iterable[Entry]) -> None:
        """Know what entries say once they are written.

        It goes on where the run is cancelled: a write that is under way can't be called back, and
        how the run has stopped is written behind it.
        """

        async def known() -> None:
            await writing
            for entry in entries:
                self.history.take(entry)

        await to_its_end(known())

    async def tell(self, event: AgentEvent) -> None:
        """Tell those who follow the run, and the run that it is part of."""
        await self.following.tell(event)
        if self.within is not None:
            part = SubAgentEvent(self.within.call, self.agent.name, event)
            await self.within.run.tell(part)

    async def enter(self, state: RunState) -> None:
        """Be in another state."""
        if state is not self.state:
            self.state = state
            await self.tell(StateChanged(state))
            await self.hooks.on_state(self, state)

    # --- the loop

    async def run(self) -> AgentResult:
        """Go through it in this task."""
        started = time.perf_counter_ns()
        outcome: str | None = None
        try:
            return await self._run()
        except asyncio.CancelledError as error:
            await self._stopped(RunState.CANCELLED, "cancelled", error)
            if self._is_cancelled:
                raise AgentCancelled(f"run {self.id!r} was cancelled", run_id=self.id) from None
            raise
        except Exception as error:
            outcome = "refused" if isinstance(error, QuotaExceeded | TenantSuspended) else None
            await self._stopped(RunState.FAILED, type(error).__name__, error)
            if self.within is None:
                error.add_note(f"in run {self.id!r} of agent {self.agent.name!r}")
            if isinstance(error, QuotaExceeded) and self._calls is None:
                error.add_note("a run reserves max_tokens and max_cost of its limits as it begins")
            raise
        finally:
            took = time.perf_counter_ns() - started
            self.metrics.count(self.agent.name, outcome or self.state.value, took)

    async def _run(self) -> AgentResult:
        limits = self.agent.limits
        # Nobody else has this one yet.
        for entry in () if self._is_new else await self.transcript.read():
            self.history.take(entry)
        is_resumed = self.history.agent is not None
        self.history.require_own(self.id, self.agent.name, self._text)
        if self.within is None:  # otherwise the outer run has looked
            await require_asked(self.id, self.history, self.transcript, self.decisions)
        self._join_session()
        if self.history.is_ended:
            await self.enter(RunState.FINISHED)
            return self._finished()
        if limits.max_cost is not None and getattr(self.agent.model, "price", None) is None:
            raise ConfigError(
                f"agent {self.agent.name!r} has a max_cost, and its model has no price to count "
                "by: give the model one, or leave out the limit"
            )
        used = self.history.used
        outer = None if self.within is None else self.within.run.budget
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
                not_begun = self.history.not_begun
                await (self.keep({"kind": "resume"}) if is_resumed else self._begin())
                self._calls = ToolCalls(self, self._tenant, not_begun)
                await self.enter(RunState.RUNNING)
                await self.hooks.before_run(self)
                result = await self._in_time(is_resumed)
                await self.hooks.after_run(self, result)
                return result

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
        around, left = current_deadline(), self.budget.seconds_left
        is_around = around is not None and around.remaining < left

        def remaining() -> float:
            return around.remaining if around and is_around else self.budget.seconds_left

        limit = asyncio.timeout(max(0.0, remaining()))
        try:
            async with limit:
                return await self._loop(is_resumed)
        except TimeoutError as error:
            # A model keeps the same deadline, and may be the first to say that it has passed.
            is_deadline = isinstance(error, ProviderTimeout) and remaining() < 0.01
            if not limit.expired() and not is_deadline:
                raise
            if is_around:
                raise ProviderTimeout(
                    f"run {self.id!r}: the deadline that it was begun under has passed; resume it",
                    is_sent=True,
                ) from None
            raise AgentLimitExceeded(
                limit="max_seconds", value=self.agent.limits.max_seconds, run_id=self.id
            ) from None

    async def _loop(self, is_resumed: bool) -> AgentResult:
        calls = self._calls
        assert calls is not None
        asking = ModelCalls(self, calls.specs, self._session)
        while not self.history.is_ended:
            turn = self.history.last
            if turn is not None and turn.open_calls:
                await calls.make(turn, is_resumed=is_resumed)
                if calls.pending:
                    return await self._paused(calls)
            elif turn is not None and not turn.answer.calls and turn.repair is None:
                await asking.settle_again(turn.answer)
                continue
            is_resumed = False
            await asking.make()
        return self._finished()

    def _finished(self) -> AgentResult:
        answer = self.history.turns[-1].answer
        value = self.agent.output.parse(answer.text)
        used = self.budget.used if self.budget.used.steps else self.history.used
        said = tuple(self.history.messages())
        return AgentResult(
            value, self.id, RunState.FINISHED, used, finish=answer.finish, messages=said
        )

    async def _paused(self, calls: ToolCalls) -> AgentResult:
        await self.enter(RunState.WAITING)
        pending, used = tuple(calls.pending), self.budget.used
        said = tuple(self.history.messages())
        return AgentResult(None, self.id, RunState.WAITING, used, pending, "tool_calls", said)

    def _join_session(self) -> None:
        name = self.history.session if self.history.agent is not None else self._session_name
        if name is not None:
            from llmspell.agents.memory import Session

            state = state_of(self._tenant)
            self._session = Session(state, name, max_messages=self._max_messages)

    async def _stopped(self, state: RunState, why: str, error: BaseException) -> None:
        """Note that it has ended so, where that can be; the exception says the rest."""
        self.state = state
        # First: who is told of it may resume the run.
        with suppress(Exception):
            if self._calls is not None and not self.history.is_ended:
                stop: Entry = {"kind": "stop", "state": str(state), "why": why}
                stop["not_begun"] = self._calls.not_begun()
                await to_its_end(self.transcript.append(stop))
        with suppress(Exception):
            await self.tell(StateChanged(state))
            await self.hooks.on_state(self, state)
        with suppress(Exception):
            await self.hooks.on_error(self, error)
