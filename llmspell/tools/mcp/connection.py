"""A connection to an MCP server, whose tools are used here."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Self

from llmspell.errors import (
    ClosedError,
    ConfigError,
    LlmspellError,
    ToolChanged,
    ToolFailed,
    ToolInterrupted,
    UseAfterFork,
)
from llmspell.tools.mcp.link import Link, LinkLost, Target, said
from llmspell.tools.mcp.listing import changes_of, is_repeatable
from llmspell.tools.mcp.remote_tool import RemoteTool
from llmspell.tools.mcp.sdk import require_mcp
from llmspell.tools.options import ToolOptions

__all__ = ["McpConnection"]

_log: Final = logging.getLogger(__name__)
_DEFAULT: Final = ToolOptions(trusted=True, timeout=60.0)
#: Seconds from one new session to the next, doubled for each that answers no call.
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0
#: That calls have, when their session has ended, to tell who waits for them.
_LAST_SECONDS: Final = 5.0


class McpConnection:
    """Tools of an MCP server, over its process or HTTP. Thread-safe; close it, or use a ``with``.

    The tools are those that the server lists at first. A session is lost where the server's process
    ends, the server is restarted, or it has ended the session; the next call then begins another
    one. The first is tried at once, the next half a second later at the earliest, and each further
    one after twice as long, up to 30 seconds, until a call is answered again.

    A call that was on its way is made once more if nothing of it has run, or if it may be repeated:
    by the server's ``readOnlyHint`` or ``idempotentHint``, or by ``options``. Tools that a later
    session lists aren't taken, and a tool that it describes otherwise than the first one isn't
    called.

    The server isn't confined: a process has all that yours has but the environment, a URL is asked
    directly.

    Args:
        server: a URL of streamable HTTP, or the words of a command whose standard input and output
            speak MCP.
        prefix: of the tools' names here, such as ``"github_"``.
        options: of each tool; ``trusted``, with the level that you answer for. By default
            PRIVILEGED, and 60 seconds a call.
        only: names, as the server says them, of the tools to take; None for all.
        headers: sent with each request to a URL, such as an Authorization.
        environment: variables of a command, besides the few that the SDK passes on.
        connect_timeout: seconds to begin a session and list the tools; a session that was begun is
            then ended, for which a URL has five more.

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
        self._target = Target(server, dict(headers or {}), dict(environment or {}), connect_timeout)
        self._where = self._target.name
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._is_closed = False
        self._closing = asyncio.Event()
        #: The present session, and those before that have calls on their way.
        self._link: Link | None = None
        self._links: set[Link] = set()
        self._pause = self._not_before = 0.0
        self._first: dict[str, Any] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="llmspell-mcp", daemon=True)
        self._thread.start()
        try:
            link = asyncio.run_coroutine_threadsafe(self._linked(), self._loop).result()
            found = link.tools
            if only is not None:
                missing = set(only) - {one.name for one in found}
                if missing:
                    raise ConfigError(f"{self._where} has no tool {min(missing)!r}")
                found = [one for one in found if one.name in only]
        except BaseException:
            self.close()
            raise
        self._repeatable = {one.name for one in found if options.idempotent or is_repeatable(one)}
        self._first = {one.name: one for one in found}
        self._tools = [
            RemoteTool(one, prefix=prefix, options=options, call=self._call) for one in found
        ]

    @property
    def tools(self) -> list[RemoteTool]:
        """The server's tools, to be added to a registry."""
        return list(self._tools)

    @property
    def is_connected(self) -> bool:
        """Whether there is a session now; where there is none the next call begins one."""
        link = self._link
        return link is not None and link.is_open

    def close(self) -> None:
        """End the connection, and the server's process; does nothing the second time.

        Nor does it in a fork of the process that made it.
        """
        if self._pid != os.getpid():
            return
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                with suppress(RuntimeError):  # its loop is closed
                    self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def _call(self, name: str, arguments: dict[str, Any]) -> Any:
        """Call a tool from any loop; where it is cancelled the server is told."""
        if self._pid != os.getpid():  # its thread is in the other process, and so may its lock be
            raise UseAfterFork(
                f"the connection to {self._where} was made before this process was forked; make "
                "one in it"
            )
        call = self._called(name, arguments)
        with self._lock:  # what is begun before the loop closes is ended by it
            if self._is_closed:
                call.close()
                raise ClosedError(f"the connection to {self._where} is closed")
            future = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return await asyncio.wrap_future(future)
        except LlmspellError:
            raise
        except Exception as error:
            raise ToolFailed(f"{self._where}: {said(error)}", error=type(error).__name__) from error

    async def _called(
        self, name: str, arguments: dict[str, Any], before: LinkLost | None = None
    ) -> Any:
        try:
            return await (await self._linked(name)).call(name, arguments)
        except LinkLost as lost:
            is_unsent = lost.is_unsent and (before is None or before.is_unsent)
            may_repeat = is_unsent or name in self._repeatable
            if before is not None or self._is_closed or not may_repeat:
                raise self._lost(name, lost, is_unsent) from lost
            before = lost
        return await self._called(name, arguments, before)

    def _lost(self, name: str, why: LinkLost, is_unsent: bool) -> ToolFailed:
        if is_unsent:
            return ToolFailed(f"{self._where}: nothing of {name} has run: {why}")
        return ToolInterrupted(
            f"{self._where}: the connection was lost while {name} was called, which may have run "
            f"there, or may still run: {why}",
            error="ToolInterrupted",
        )

    async def _linked(self, name: str | None = None) -> Link:
        """The session to call a tool in; another one where it was lost."""
        if self._link is None or self._link.is_lost:
            self._link = self._begun()
        link = self._link
        try:
            await link.ready()
        except ToolFailed:
            if self._is_closed:
                raise ClosedError(f"the connection to {self._where} is closed") from None
            raise
        if link.changes is None:
            link.changes = changes_of(self._first, link.tools)
            for other, change in link.changes.items():
                _log.warning("%s: %.128r isn't called any more: %s", self._where, other, change)
        if name in link.changes:
            raise ToolChanged(
                f"{self._where}: {name} isn't called, because in the server's new session "
                f"{link.changes[name]}; make another McpConnection to take it as it is now",
                error="ToolChanged",
            )
        return link

    def _begun(self) -> Link:
        if self._is_closed:
            raise ClosedError(f"the connection to {self._where} is closed")
        now = self._loop.time()
        if self._link is not None and self._link.has_answered:
            self._pause = self._not_before = 0.0
        if now < self._not_before:
            raise ToolFailed(
                f"{self._where}: the connection is lost; another try is made in "
                f"{self._not_before - now:.1f} s at the earliest"
            )
        if self._link is not None:
            self._pause = min(max(_FIRST_PAUSE, 2 * self._pause), _LONGEST_PAUSE)
            self._not_before = now + self._pause
        link = Link(self._target)
        self._links.add(link)
        link.task.add_done_callback(lambda _: self._links.discard(link))
        return link

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._live())
        finally:
            left = asyncio.all_tasks(self._loop)  # calls that would be waited for without end
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def _live(self) -> None:
        await self._closing.wait()
        links = list(self._links)
        for link in links:
            link.end()
        await asyncio.gather(*(link.task for link in links), return_exceptions=True)
        calls = asyncio.all_tasks() - {asyncio.current_task()}
        if calls:
            await asyncio.wait(calls, timeout=_LAST_SECONDS)
