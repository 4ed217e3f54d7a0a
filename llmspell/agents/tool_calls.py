"""The calls of one answer: side by side, approved, tried again, each result kept as it comes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection, Iterable
from contextvars import ContextVar
from dataclasses import asdict
from typing import TYPE_CHECKING, Final, NamedTuple

from llmspell.agents.decisions import ask_approval
from llmspell.agents.ending import to_its_end
from llmspell.agents.events import ApprovalAsked, RunState, ToolFinished, ToolStarted
from llmspell.agents.history import Call, Turn
from llmspell.agents.limits import RunUsage
from llmspell.errors import ConfigError, InvalidStateValue
from llmspell.tools import Approval, FaultKind, ToolCall, ToolFault, ToolResult
from llmspell.tools.approval import ApprovalPending

if TYPE_CHECKING:
    from llmspell.agents.handle import Handle
    from llmspell.agents.run import AgentRun

__all__ = ["CallInRun", "ToolCalls", "current_call"]

#: Nothing of the tool has run, so that another try can do no harm.
_NOT_RUN: Final = (FaultKind.BUSY,)
#: Another try may come to something.
_FAILED: Final = (FaultKind.FAILED, FaultKind.TIMEOUT, *_NOT_RUN)
_FIRST_WAIT: Final = 0.1
_MAX_WAIT: Final = 10.0

_INTERRUPTED: Final = (
    "the program was ended while this call was made, so that it isn't known whether it was done; "
    "look before you make it again"
)


class CallInRun(NamedTuple):
    """A call that is being made, for a sub-agent to know whose part it is."""

    run: AgentRun
    call: Call
    calls: ToolCalls


_CURRENT: ContextVar[CallInRun | None] = ContextVar("llmspell_agent_call", default=None)


def current_call() -> CallInRun | None:
    """The call of an agent that this code runs in."""
    return _CURRENT.get()


class ToolCalls:
    """Makes the calls of answers. For one run.

    Attributes:
        specs: of the tools that the tenant may call.
        pending: what the run has stopped for, calls of sub-agents too.
        used: by sub-agents, by the keys of their calls.
    """

    def __init__(self, run: AgentRun, tenant: Handle, not_begun: Collection[str] = ()) -> None:
        """For a run; ``not_begun`` are keys of calls that were never made before it stopped."""
        self._run = run
        self._not_begun = not_begun
        self._tools = run.agent.bind_tools(tenant, self.approve)
        self.specs = [] if self._tools is None else self._tools.specs()
        self._by_name = {spec.name: spec for spec in self.specs}
        self._places = asyncio.Semaphore(run.agent.limits.max_parallel_tools)
        self._waiting = 0
        self.pending: list[ApprovalAsked] = []
        self._stopped: set[str] = set()
        last = run.history.last
        # Of a run that goes on: what was open may have begun in a process that has ended.
        open_calls = [] if last is None else last.open_calls
        self._begun = {call.key for call in open_calls} - set(not_begun)
        self._costs: dict[str, float] = {}
        self.used: dict[str, RunUsage] = {}

    async def make(self, turn: Turn, *, is_resumed: bool) -> None:
        """Make the calls that have no result yet; their results stand in the transcript then.

        Args:
            turn: whose calls they are.
            is_resumed: they may have begun in a process that has ended.
        """
        calls = turn.open_calls
        self._run.budget.called(len(calls))
        tasks = [
            asyncio.ensure_future(self._make(turn, call, is_resumed=is_resumed)) for call in calls
        ]
        try:
            # Where one fails the others end: what they do must be known.
            await asyncio.gather(*tasks, return_exceptions=True)
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
        for task in tasks:
            task.result()

    def not_begun(self) -> list[str]:
        """Keys of open calls of which nothing has run."""
        turn = self._run.history.last
        return [
            call.key
            for call in ([] if turn is None else turn.open_calls)
            if call.key not in self._begun
        ]

    def stop(self, call: Call, pending: Iterable[ApprovalAsked]) -> None:
        """Let a call wait: it has no result until others are decided about."""
        self._stopped.add(call.key)
        self.pending.extend(pending)

    async def approve(self, asked: ToolCall) -> Approval:
        """The approval hook of the tenant's tools."""
        current = _CURRENT.get()
        assert current is not None
        run, call = self._run, current.call
        turn = run.history.turns[-1]
        decided = turn.approvals.get(call.key)
        if decided is not None:
            return decided
        told = ApprovalAsked(run.prefix + call.key, call, asked.arguments)
        answer = run.decisions.pop(call.key, None)
        if answer is None:
            if call.key not in turn.asked:
                await run.keep({"kind": "asked", "call": call.key})
            answer = await self._answer(told, asked)
            if answer is None:
                self.stop(call, [told])
                raise ApprovalPending
        if not isinstance(answer, bool | Approval):
            raise ConfigError(
                f"approve gave {answer!r:.80}; it gives True, False, an Approval, or None where "
                "nobody decides now"
            )
        decided = answer if isinstance(answer, Approval) else Approval(answer)
        await run.keep(
            {
                "kind": "approval",
                "call": call.key,
                "given": decided.is_given is True,
                "reason": decided.reason,
            }
        )
        return decided

    async def _answer(self, told: ApprovalAsked, asked: ToolCall) -> bool | Approval | None:
        self._waiting += 1
        try:
            await self._run.enter(RunState.WAITING)
            return await ask_approval(self._run, told, asked)
        finally:
            self._waiting -= 1
            if not self._waiting and self._run.state is RunState.WAITING:
                await self._run.enter(RunState.RUNNING)

    async def _make(self, turn: Turn, call: Call, *, is_resumed: bool) -> None:
        async with self._places:
            run = self._run
            token = _CURRENT.set(CallInRun(run, call, self))
            try:
                await run.tell(ToolStarted(call))
                result = self._interrupted(turn, call) if is_resumed else None
                if result is None:
                    result = await run.hooks.before_tool(run, call)
                if result is None:
                    try:
                        result = await self._called(call)
                    except ApprovalPending:
                        return
                    if call.key in self._stopped:
                        return
                await to_its_end(self._finish(call, result))
            finally:
                _CURRENT.reset(token)

    async def _finish(self, call: Call, result: ToolResult) -> None:
        run = self._run
        result = await run.hooks.after_tool(run, call, result)
        try:
            await self._keep(call, result)
        except InvalidStateValue as error:  # what it did is done; the run goes on without it
            fault = ToolFault(FaultKind.RESULT_TOO_LARGE, f"its result can't be kept: {error}")
            result = ToolResult(call.tool, fault=fault, seconds=result.seconds)
            await self._keep(call, result)
        await run.tell(ToolFinished(call, result))

    async def _keep(self, call: Call, result: ToolResult) -> None:
        used = self.used.get(call.key)
        await self._run.keep(
            {
                "kind": "result",
                "call": call.key,
                "result": result.to_fields(),
                "used": None if used is None else asdict(used),
                "cost": self._costs.get(call.key, 0.0),
            }
        )

    def _interrupted(self, turn: Turn, call: Call) -> ToolResult | None:
        """What stands for a call that may have been made before a crash, and mustn't be twice."""
        spec = self._by_name.get(call.tool)
        is_undecided = call.key in turn.asked and call.key not in turn.approvals
        has_not_begun = is_undecided or call.key in self._not_begun
        if spec is None or spec.idempotent or has_not_begun:
            return None
        return ToolResult(
            call.tool, fault=ToolFault(FaultKind.FAILED, _INTERRUPTED, error="Interrupted")
        )

    async def _called(self, call: Call) -> ToolResult:
        tries = self._run.agent.limits.tool_retries
        for tried in range(tries + 1):
            result = await self._call(call)
            if result.fault is None or tried == tries or not self._may_retry(call, result.fault):
                return result
            delay = result.fault.retry_after or _FIRST_WAIT * 2**tried * random.random()
            await asyncio.sleep(min(delay, _MAX_WAIT))
        raise AssertionError("not reached")

    async def _call(self, call: Call) -> ToolResult:
        if self._tools is None:
            fault = ToolFault(FaultKind.UNKNOWN_TOOL, "there are no tools")
            return ToolResult(call.tool, fault=fault)
        spec = self._by_name.get(call.tool)
        cost = 0.0 if spec is None else spec.cost
        self._run.budget.pay(cost)
        self._begun.add(call.key)
        ran = False
        try:
            result = await self._tools.acall(call.tool, call.arguments, call_id=call.id)
            ran = result.seconds > 0
        finally:
            if ran:
                self._costs[call.key] = self._costs.get(call.key, 0.0) + cost
            else:
                self._run.budget.give_back(cost)
        return result

    def _may_retry(self, call: Call, fault: ToolFault) -> bool:
        spec = self._by_name.get(call.tool)
        if spec is None or fault.kind not in _FAILED or call.key in self.used:
            return False
        return spec.idempotent or fault.kind in _NOT_RUN
