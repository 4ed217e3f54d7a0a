"""A run, as the one sees it who follows it: in an ``async with``, by its events."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from llmspell.agents.events import AgentEvent, RunState
from llmspell.agents.following import Following
from llmspell.agents.result import AgentResult
from llmspell.errors import AgentCancelled, InputError
from llmspell.tools import Approval

__all__ = ["FollowedRun"]


class FollowedRun(ABC):
    """Begins with its ``async with``, and ends with it at the latest. Of one event loop."""

    def __init__(self, run_id: str) -> None:
        self.id = run_id
        self.state = RunState.CREATED
        self.following = Following(run_id)
        self._task: asyncio.Task[AgentResult] | None = None
        self._is_cancelled = False

    @abstractmethod
    async def run(self) -> AgentResult:
        """Go through it in this task."""

    async def __aenter__(self) -> Self:
        if self._task is not None:
            raise InputError(f"run {self.id!r} has begun; resume it by its agent")
        self.following.begin()
        self._task = asyncio.ensure_future(self.run())
        self._task.add_done_callback(self._ended)  # of one that is cancelled before it began, too
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._task is not None
        self.following.stop()
        if self.state not in (RunState.FAILED, RunState.CANCELLED):  # it is ending already
            self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.exception()  # looked at: result() raises it to who asks

    async def __aiter__(self) -> AsyncIterator[AgentEvent]:
        """Events up to the end of the run, for one reader; none once :meth:`result` was asked."""
        if self._task is None:
            raise InputError("events are read in the run's async with")
        async for event in self.following.events():
            yield event

    async def result(self) -> AgentResult:
        """What the run comes to; raises what ended it. Reads no events, and drops those left."""
        if self._task is None:
            raise InputError("a run begins with its async with")
        self.following.stop()
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
            CallNotWaiting: it doesn't wait.
            InputError: the decision is something else than a bool or an Approval.
        """
        self.following.decide(key, decision)

    def _ended(self, task: asyncio.Task[AgentResult]) -> None:
        if task.cancelled() and self.state is RunState.CREATED:
            self.state = RunState.CANCELLED
        self.following.end()
