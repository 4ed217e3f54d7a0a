"""A connection to an MCP server, whose tools are used here."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack
from typing import Any, Final, Self

from llmspell.errors import ClosedError, ConfigError, ToolFailed
from llmspell.tools.mcp.bodies import bound_body
from llmspell.tools.mcp.listing import listed_tools
from llmspell.tools.mcp.remote_tool import RemoteTool
from llmspell.tools.mcp.sdk import require_mcp
from llmspell.tools.options import ToolOptions

__all__ = ["McpConnection"]

_DEFAULT: Final = ToolOptions(trusted=True, timeout=60.0)


class McpConnection:
    """Tools of an MCP server, over its process or HTTP. Thread-safe; close it, or use a ``with``.

    The tools are listed once: what the server says of them later changes nothing here. The server
    isn't confined: a process has all that yours has but the environment, a URL is asked directly.

    Args:
        server: a URL of streamable HTTP, or the words of a command whose standard input and output
            speak MCP.
        prefix: of the tools' names here, such as ``"github_"``.
        options: of each tool; ``trusted``, with the level that you answer for. By default
            PRIVILEGED, and 60 seconds a call.
        only: names, as the server says them, of the tools to take; None for all.
        headers: sent with each request to a URL, such as an Authorization.
        environment: variables of a command, besides the few that the SDK passes on.
        connect_timeout: seconds to connect and list the tools.

    Raises:
        ToolFailed: the server can't be reached, doesn't answer as one of MCP, or lists more than
            1,000 tools, 100 pages or 8 MiB.
        ConfigError: options that aren't trusted, or a tool in ``only`` that it doesn't have.
        MissingDependency: the extra ``mcp`` is not installed.
    """

    def __init__(
        self,
        server: str | Sequence[str],
        *,
        prefix: str = "",
        options: ToolOptions | None = None,
        only: Collection[str] | None = None,
        headers: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        connect_timeout: float = 30.0,
    ) -> None:
        require_mcp()
        options = options or _DEFAULT
        if not options.trusted:
            raise ConfigError(
                "an MCP server runs its tools itself, so nothing confines them here; say "
                "ToolOptions(trusted=True, level=...) with the level that you answer for"
            )
        if not isinstance(server, str) and not server:
            raise ConfigError("server must be a URL, or the words of a command; got none")
        self._where = server if isinstance(server, str) else server[0]
        self._client: Any = None
        self._stop: asyncio.Event | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False
        self._status = 0  # of the server's last response, by HTTP
        self._ready: Future[list[Any]] = Future()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._serve,
            args=(server, dict(headers or {}), dict(environment or {})),
            name="llmspell-mcp",
            daemon=True,
        )
        self._thread.start()
        try:
            found = self._ready.result(connect_timeout)
        except Exception as error:
            self.close()
            why = "not in time" if isinstance(error, TimeoutError) else _said(error)
            if self._status >= 400:  # the SDK's error doesn't say it
                why = f"HTTP {self._status}: {why}"
            raise ToolFailed(f"{self._where}: no connection to the MCP server: {why}") from error
        if only is not None:
            missing = set(only) - {one.name for one in found}
            if missing:
                self.close()
                raise ConfigError(f"{self._where} has no tool {min(missing)!r}")
            found = [one for one in found if one.name in only]
        self._tools = [
            RemoteTool(one, prefix=prefix, options=options, call=self._call) for one in found
        ]

    @property
    def tools(self) -> list[RemoteTool]:
        """The server's tools, to be added to a registry."""
        return list(self._tools)

    def close(self) -> None:
        """End the connection, and the server's process; does nothing the second time."""
        self._is_closed = True
        try:
            self._loop.call_soon_threadsafe(self._end)
        except RuntimeError:  # its loop is closed
            return
        self._thread.join(30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _end(self) -> None:
        if self._stop is not None:
            self._stop.set()
        elif self._task is not None:
            self._task.cancel()  # while it connects

    async def _call(self, name: str, arguments: dict[str, Any]) -> Any:
        """Call a tool from any loop; where it is cancelled the server is told."""
        if self._is_closed:
            raise ClosedError(f"the connection to {self._where} is closed")
        call = self._client.call_tool(name, arguments)
        try:
            future = asyncio.run_coroutine_threadsafe(call, self._loop)
        except RuntimeError:
            call.close()
            raise ToolFailed(f"{self._where}: the connection has ended") from None
        try:
            return await asyncio.wrap_future(future)
        except Exception as error:
            raise ToolFailed(
                f"{self._where}: {_said(error)}", error=type(error).__name__
            ) from error

    def _serve(
        self, server: str | Sequence[str], headers: dict[str, str], environment: dict[str, str]
    ) -> None:
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(self._live(server, headers, environment))
        try:
            self._loop.run_until_complete(self._task)
        except BaseException as error:
            if not self._ready.done():
                self._ready.set_exception(error)
        finally:
            left = asyncio.all_tasks(self._loop)  # calls that would be waited for without end
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def _live(
        self, server: str | Sequence[str], headers: dict[str, str], environment: dict[str, str]
    ) -> None:
        stop = asyncio.Event()
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(
                await _client(
                    server, headers, environment, self._note_status, stack.enter_async_context
                )
            )
            tools = await listed_tools(client)
            # The SDK would judge results by the server's schema: regular expressions that could
            # keep the whole process, whatever the time of the call.
            client.session.validate_tool_result = _unjudged
            self._client, self._stop = client, stop
            self._ready.set_result(tools)
            await stop.wait()

    async def _note_status(self, response: Any) -> None:
        self._status = response.status_code


async def _client(
    server: str | Sequence[str],
    headers: dict[str, str],
    environment: dict[str, str],
    on_response: Callable[[Any], Any],
    enter: Callable[[Any], Any],
) -> Any:
    from mcp import Client
    from mcp.client.stdio import StdioServerParameters

    if not isinstance(server, str):
        words = list(server)
        return Client(
            StdioServerParameters(command=words[0], args=words[1:], env=environment or None)
        )
    import httpx2
    from mcp.client.streamable_http import streamable_http_client

    http = await enter(
        httpx2.AsyncClient(
            headers={"accept-encoding": "identity", **headers},
            timeout=httpx2.Timeout(30, read=300),
            event_hooks={"response": [on_response, bound_body]},
        )
    )
    return Client(streamable_http_client(server, http_client=http))


async def _unjudged(*_: Any) -> None:
    return None


def _said(error: BaseException) -> str:
    """What went wrong, out of the groups that tasks put around it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = str(error) or type(error).__name__
    return text[:500]
