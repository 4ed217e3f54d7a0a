"""The SDK's store of events, by which a client that comes back fetches what it missed.

It is one for all sessions, and knows streams by the ids of requests, which every client counts from
1. So a context variable says whose session an event is of: a client can fetch what was said to
itself alone.
"""

from __future__ import annotations

import asyncio
from typing import Any

from mcp.server.streamable_http import EventCallback, EventMessage, EventStore

from llmspell.tools.mcp.sessions import current_session

__all__ = ["Events"]


class Events(EventStore):
    """The events of the current session."""

    async def store_event(self, stream_id: str, message: Any) -> str:
        """Keep one; None gives a place to go on from."""
        session = current_session()
        if session is None:
            return "0"
        if message is not None:  # it is the task that sends them all which gives messages
            session.end_with(asyncio.current_task())
        return session.keep(stream_id, message)

    async def replay_events_after(
        self, last_event_id: str, send_callback: EventCallback
    ) -> str | None:
        """Send what came in its stream since; None where it isn't kept."""
        session = current_session()
        found = None if session is None else session.after(last_event_id)
        if found is None:
            return None
        stream, events = found
        for event in events:
            await send_callback(EventMessage(event.message, event.id))
        return stream
