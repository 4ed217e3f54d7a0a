"""One session with an MCP server: by the pipes of its process, or by requests to its URL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from contextvars import Context
from dataclasses import dataclass
from typing import Any, Self

from llmspell.errors import ToolFailed
from llmspell.tools.mcp.listing import listed_tools
from llmspell.tools.mcp.requests import FATE, Fate, requests_of

__all__ = ["Link", "LinkLost", "Target", "said"]


class LinkLost(Exception):
    """The session was lost before a call was answered.

    Attributes: ``is_unsent``, whether nothing of the call has run; False where that isn't known.
    """

    def __init__(self, why: str, *, is_unsent: bool) -> None:
        super().__init__(why)
        self.is_unsent = is_unsent


@dataclass(frozen=True, slots=True)
class Target:
    """Where a server is; see :class:`McpConnection`."""

    server: str | Sequence[str]
    headers: Mapping[str, str]
    environment: Mapping[str, str]
    connect_timeout: float

    @property
    def name(self) -> str:
        """As errors name it."""
        return self.server if isinstance(self.server, str) else self.server[0]


class Link:
    """One session, which begins when it is made. Of the event loop that it is made in.

    It ends when it is lost and the last of its calls is over, or by :meth:`end`.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        #: The server's tools, once it is ready.
        self.tools: list[Any] = []
        #: Of which of them it says something else than at first; None before it was looked at.
        self.changes: dict[str, str] | None = None
        #: Whether it takes no more calls, and whether the server has said that it has it no more.
        self.is_lost = self.is_gone = False
        self.has_answered = False
        self.status = 0  # of the server's last response to a message, by HTTP
        self._failure: BaseException | None = None
        self._client: Any = None
        self._calls = 0
        self._stop = asyncio.Event()
        self._limit: asyncio.Timeout | None = None
        self._settled = asyncio.Event()
        # It outlives the call that it is made for, whose tenant is in the context around here.
        self.task = asyncio.create_task(self._live(), context=Context())

    @property
    def is_open(self) -> bool:
        """Whether calls can be made now."""
        return self._client is not None and not self.is_lost

    async def ready(self) -> None:
        """Wait until calls can be made.

        Raises:
            ToolFailed: there is no session; why.
        """
        await self._settled.wait()
        error = self._failure
        if error is None:
            return
        why = "not in time" if isinstance(error, TimeoutError) else said(error)
        if self.status >= 400:  # the SDK's error doesn't say it
            why = f"HTTP {self.status}: {why}"
        raise ToolFailed(f"{self.target.name}: no connection to the MCP server: {why}") from error

    async def call(self, name: str, arguments: dict[str, Any]) -> Any:
        """The result of a tool.

        Raises:
            LinkLost: the session was lost before the call, or on its way.
            Exception: as the SDK does, for what the server answers.
        """
        from mcp import MCPError, types

        if not self.is_open:
            raise LinkLost("the session was lost", is_unsent=True)
        fate = Fate()
        FATE.set(fate)
        self._calls += 1
        try:
            found = await self._client.call_tool(name, arguments)
        except MCPError as error:
            if error.code == types.CONNECTION_CLOSED and fate.is_answerless:
                self.lose()
            is_closed = self.is_lost and error.code == types.CONNECTION_CLOSED
            if is_closed or fate.is_cut or fate.is_unsent:
                raise LinkLost(said(error), is_unsent=fate.is_unsent) from error
            self.has_answered = True
            raise
        finally:
            fate.is_over = True
            self._calls -= 1
            self._end_if_unused()
        self.has_answered = True
        return found

    def lose(self) -> None:
        """Make no more calls: the server has the session no more, or may have it no more."""
        self.is_lost = True
        self._end_if_unused()

    def end(self) -> None:
        """End it, and the server's process."""
        self.is_lost = True
        self._stop.set()
        if self._limit is not None:
            with suppress(RuntimeError):  # it doesn't connect any more
                self._limit.reschedule(0.0)

    def _end_if_unused(self) -> None:
        if self.is_lost and not self._calls:
            self._stop.set()

    async def _live(self) -> None:
        try:
            async with AsyncExitStack() as stack:
                seconds = 0.0 if self._stop.is_set() else self.target.connect_timeout
                async with asyncio.timeout(seconds) as self._limit:
                    client = await stack.enter_async_context(await self._made(stack))
                    self.tools = await listed_tools(client)
                # The SDK would judge results by the server's schema: regular expressions that could
                # keep the whole process, whatever the time of the call.
                client.session.validate_tool_result = _unjudged
                self._client = client
                self._settled.set()
                await self._stop.wait()
        except BaseException as error:
            if not self._settled.is_set():
                self._failure = error
            if not isinstance(error, Exception):
                raise
        finally:
            self.is_lost = True
            self._settled.set()

    async def _made(self, stack: AsyncExitStack) -> Any:
        from mcp import Client
        from mcp.client.stdio import StdioServerParameters, stdio_client
        from mcp.client.streamable_http import streamable_http_client

        server = self.target.server
        if isinstance(server, str):
            requests = await stack.enter_async_context(requests_of(self, self.target.headers))
            transport: Any = streamable_http_client(server, http_client=requests)
        else:
            command, *words = server
            environment = dict(self.target.environment) or None
            transport = stdio_client(
                StdioServerParameters(command=command, args=words, env=environment)
            )
        return Client(_watched(transport, self.lose))


@asynccontextmanager
async def _watched(transport: Any, at_end: Callable[[], None]) -> AsyncIterator[Any]:
    """A transport of the SDK that tells when nothing comes from the server any more."""
    async with transport as (reads, writes):
        yield _Reads(reads, at_end), writes


class _Reads:
    """The messages of a server.

    Args:
        inner: as the SDK's transport gives them.
        at_end: called before those who wait for an answer are told that none comes.
    """

    def __init__(self, inner: Any, at_end: Callable[[], None]) -> None:
        self._inner = inner
        self._at_end = at_end

    @property
    def last_context(self) -> Any:
        """Of who sent the last one."""
        return getattr(self._inner, "last_context", None)

    async def receive(self) -> Any:
        return await self._inner.receive()

    async def aclose(self) -> None:
        await self._inner.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        return await self._inner.__anext__()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._at_end()
        await self._inner.aclose()


async def _unjudged(*_: Any) -> None:
    return None


def said(error: BaseException) -> str:
    """What went wrong, out of the groups that tasks put around it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = str(error) or type(error).__name__
    return text[:500]
