"""What is kept of each session of a client: its log level, and what it may fetch again."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import WeakValueDictionary

from llmspell.tools.client import LogLevel

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = [
    "Session",
    "SessionMiddleware",
    "begin_session",
    "current_session",
    "note_version",
    "own_session",
]

_HEADER: Final = b"mcp-session-id"
_VERSION: Final = b"mcp-protocol-version"
#: What an event takes besides its text, about.
_OVERHEAD: Final = 512


class KeptEvent(NamedTuple):
    """An event of a stream."""

    id: str
    stream: str
    message: Any  # None for one that only gives a place to go on from
    size: int


class Session:
    """One client's session.

    Args:
        max_bytes: of the events that are kept for a client that comes back.
    """

    def __init__(self, max_bytes: int = 0) -> None:
        self.log_level: LogLevel = "info"
        #: The protocol's version that was agreed on; None before.
        self.version: bytes | None = None
        #: URIs of the resources whose changes it is told of, each with the way to tell.
        self.subscribed: dict[str, Any] = {}
        self._max_bytes = max_bytes
        self._events: deque[KeptEvent] = deque()
        self._size = 0
        self._ids = itertools.count(1)
        self._has_end = False
        self._at_end: Callable[[], None] | None = None

    def at_end(self, call: Callable[[], None]) -> None:
        """Call this once, when it ends."""
        self._at_end = call

    @property
    def keeps_events(self) -> bool:
        """Whether a client can come back for them."""
        return self._max_bytes > 0

    def end_with(self, task: asyncio.Task[Any] | None) -> None:
        """Keep nothing any more when a task of the session's ends.

        The object may live on: timers of the loop, half an hour away, have it in their context.
        """
        if task is not None and not self._has_end:
            self._has_end = True
            task.add_done_callback(lambda _: self.end())

    def end(self) -> None:
        """Keep nothing any more."""
        call, self._at_end = self._at_end, None
        if call is not None:
            call()
        self._max_bytes = self._size = 0
        self._events.clear()
        self.subscribed.clear()

    def keep(self, stream: str, message: Any) -> str:
        """Keep an event as long as there is room, and give its id."""
        from mcp import types

        made = str(next(self._ids))
        size = _size_of(stream, message)
        if size > self._max_bytes and isinstance(message, types.JSONRPCResponse):
            why = f"the result is larger than the {self._max_bytes:,} bytes kept to be fetched"
            error = types.ErrorData(code=types.INTERNAL_ERROR, message=why)
            message = types.JSONRPCError(jsonrpc="2.0", id=message.id, error=error)
            size = _size_of(stream, message)
        self._events.append(KeptEvent(made, stream, message, size))
        self._size += size
        while self._size > self._max_bytes and self._events:
            self._size -= self._events.popleft().size
        return made

    def agreed(self, name: bytes, value: bytes) -> tuple[bytes, bytes]:
        """A header, with the version that was agreed on in place of another of that time."""
        from mcp.types import version

        is_old = value.decode("latin-1") in version.HANDSHAKE_PROTOCOL_VERSIONS
        if name == _VERSION and is_old and self.version is not None:
            value = self.version
        return name, value

    def after(self, event_id: str) -> tuple[str, list[KeptEvent]] | None:
        """The stream of an event, and what came in it since; None where it isn't kept."""
        events = list(self._events)
        for place, event in enumerate(events):
            if event.id == event_id:
                later = [one for one in events[place + 1 :] if one.stream == event.stream]
                return event.stream, [one for one in later if one.message is not None]
        return None


def _size_of(stream: str, message: Any) -> int:
    """A client chooses how long the name of a stream is: it is the id of its request."""
    text = 0 if message is None else len(message.model_dump_json())
    return _OVERHEAD + len(stream) + text


_CURRENT: ContextVar[Session | None] = ContextVar("llmspell_mcp_session", default=None)


def current_session() -> Session | None:
    """The session that the code is run for."""
    return _CURRENT.get()


def own_session() -> Session:
    """As :func:`current_session`, in what is run for a session alone."""
    found = _CURRENT.get()
    assert found is not None
    return found


def begin_session() -> Session:
    """A session of all that is run from here on, such as the one of standard input."""
    session = Session()
    _CURRENT.set(session)
    return session


async def note_version(ctx: Any, call_next: Callable[[Any], Awaitable[Any]]) -> Any:
    """A middleware of the SDK's server: notes what a session agrees on as it begins."""
    result = await call_next(ctx)
    session = _CURRENT.get()
    if ctx.method == "initialize" and session is not None:
        session.version = result["protocolVersion"].encode()
    return result


class SessionMiddleware:
    """Says of each request whose session it is in. Of one loop.

    It comes behind what says who the user of a request is.

    Args:
        app: that serves the requests.
        max_bytes: see :class:`Session`.
        max_of_tenant: sessions of one tenant at one time.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, max_of_tenant: int) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._max_of_tenant = max_of_tenant
        #: Sessions by the id of their tenant.
        self._held: Counter[str] = Counter()
        # The task that serves a session has it in its context, and keeps it.
        self._sessions: WeakValueDictionary[bytes, Session] = WeakValueDictionary()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        named = [value for name, value in scope["headers"] if name == _HEADER]
        if len(named) > 1:
            # The SDK would look for the owner of one, and here the events of another be given.
            await _refuse(400, "more than one Mcp-Session-Id", scope, receive, send)
            return
        asked = named[0] if named else None
        session = None if asked is None else self._sessions.get(asked)
        is_kept = session is not None
        is_new = not is_kept
        if session is None:
            session = Session(self._max_bytes)
            tenant = _tenant_of(scope)
            if asked is None and tenant is not None and _begins_session(scope):
                if self._held[tenant] >= self._max_of_tenant:
                    why = f"a tenant has at most {self._max_of_tenant:,} sessions; end another"
                    await _refuse(503, why, scope, receive, send)
                    return
                self._held[tenant] += 1
                session.at_end(functools.partial(self._left, tenant))
        else:
            scope = {**scope, "headers": [session.agreed(*one) for one in scope["headers"]]}

        async def sent(message: Message) -> None:
            nonlocal is_kept
            if is_new and asked is None and message["type"] == "http.response.start":
                given = dict(message["headers"]).get(_HEADER)
                if given is not None and message["status"] < 400:
                    # From here on the SDK keeps it, whether or not the client hears of it.
                    self._sessions[given] = session
                    is_kept = True
            await send(message)

        token = _CURRENT.set(session)
        try:
            await self._app(scope, receive, sent)
        finally:
            _CURRENT.reset(token)
            if not is_kept:
                session.end()

    def _left(self, tenant: str) -> None:
        self._held[tenant] -= 1
        if not self._held[tenant]:
            del self._held[tenant]


def _tenant_of(scope: Scope) -> str | None:
    """Whose the request's token is; None without one."""
    token = getattr(scope.get("user"), "access_token", None)
    return None if token is None else str(token.client_id)


def _begins_session(scope: Scope) -> bool:
    """Whether the SDK would begin one for a request that names none: not since 2026-07-28."""
    from mcp.types import version

    named = [value.decode("latin-1") for name, value in scope["headers"] if name == _VERSION]
    return not named or named[0] in version.HANDSHAKE_PROTOCOL_VERSIONS


async def _refuse(status: int, why: str, scope: Scope, receive: Receive, send: Send) -> None:
    from starlette.responses import PlainTextResponse

    await PlainTextResponse(why, status_code=status)(scope, receive, send)
