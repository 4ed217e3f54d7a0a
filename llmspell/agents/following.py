"""Who follows a run: is told of events, and decides about calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from llmspell.agents.events import AgentEvent
from llmspell.errors import CallNotWaiting, InputError
from llmspell.tools import Approval

__all__ = ["Following"]

#: Events that wait to be read; the run waits for the reader beyond.
_EVENTS: Final = 256


class Following:
    """Between a run and the one who reads its events. For one event loop."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._events: asyncio.Queue[AgentEvent | None] | None = None
        self._asked: dict[str, asyncio.Future[bool | Approval]] = {}
        self._is_over = False

    @property
    def is_on(self) -> bool:
        """Whether events are kept for a reader."""
        return self._events is not None

    def begin(self) -> None:
        """Keep events from here on."""
        self._events = asyncio.Queue(_EVENTS)

    def stop(self) -> None:
        """Keep none any more, and let go a run that waits for the reader, and the reader."""
        events, self._events = self._events, None
        if events is None:
            return
        while not events.empty():
            events.get_nowait()
        events.put_nowait(None)

    def end(self) -> None:
        """There will be no more events."""
        self._is_over = True
        if self._events is not None:
            with suppress(asyncio.QueueFull):  # its reader has something to read then
                self._events.put_nowait(None)

    async def tell(self, event: AgentEvent) -> None:
        """Keep an event for the reader."""
        if self._events is not None:
            await self._events.put(event)

    async def events(self) -> AsyncIterator[AgentEvent]:
        """Events up to the end."""
        events = self._events
        while events is not None and not (self._is_over and events.empty()):
            event = await events.get()
            if event is None:
                return
            yield event

    @contextmanager
    def waiting(self, key: str) -> Iterator[asyncio.Future[bool | Approval]]:
        """A call waits for approval: what is decided about it comes to the future."""
        made = self._asked[key] = asyncio.get_running_loop().create_future()
        try:
            yield made
        finally:
            del self._asked[key]

    def decide(self, key: str, decision: bool | Approval) -> None:
        """Decide about a call that waits.

        Raises:
            CallNotWaiting: it doesn't.
            InputError: the decision is something else than a bool or an Approval.
        """
        if not isinstance(decision, bool | Approval):
            raise InputError(f"a decision is True, False or an Approval, got {decision!r:.80}")
        waiting = self._asked.get(key)
        if waiting is None or waiting.done():
            raise CallNotWaiting(
                f"run {self._run_id!r} has no call {key!r:.80} that waits for approval",
                run_id=self._run_id,
            )
        waiting.set_result(decision)
