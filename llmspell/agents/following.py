"""Who follows a run: is told of events, and decides about calls."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
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
        self._events: deque[AgentEvent] | None = None
        self._asked: dict[str, asyncio.Future[bool | Approval]] = {}
        self._is_over = False
        # Set by each change of what is above, for the reader and for those who tell.
        self._is_readable = asyncio.Event()
        self._has_room = asyncio.Event()

    @property
    def is_on(self) -> bool:
        """Whether events are kept for a reader."""
        return self._events is not None

    def begin(self) -> None:
        """Keep events from here on."""
        self._events = deque()

    def stop(self) -> None:
        """Keep none any more; let go a run that waits for the reader, and a reader for the run."""
        self._events = None
        self._is_readable.set()
        self._has_room.set()

    def end(self) -> None:
        """There will be no more events."""
        self._is_over = True
        self._is_readable.set()

    async def tell(self, event: AgentEvent) -> None:
        """Keep an event for the reader."""
        while self._events is not None:
            if len(self._events) < _EVENTS:
                self._events.append(event)
                self._is_readable.set()
                return
            self._has_room.clear()
            await self._has_room.wait()

    async def events(self) -> AsyncIterator[AgentEvent]:
        """Events up to the end."""
        while self._events is not None:
            if self._events:
                event = self._events.popleft()
                self._has_room.set()
                yield event
            elif self._is_over:
                return
            else:
                self._is_readable.clear()
                await self._is_readable.wait()

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
