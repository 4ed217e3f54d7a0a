"""Requests of one session to an MCP server's URL, and what becomes of those of a call."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from llmspell.tools.mcp.bodies import bound_body

if TYPE_CHECKING:
    import httpx2

__all__ = ["FATE", "Fate", "Owner", "requests_of"]

_SESSION: Final = "mcp-session-id"
#: Seconds before a stream is asked for: the SDK asks again as soon as the server says, without end.
_PAUSE: Final = 0.1
#: Seconds that a server has to answer that a session is ended.
_LAST_SECONDS: Final = 5.0


@dataclass(slots=True)
class Fate:
    """What is known of the requests of one call.

    Args:
        sent: how many there were.
        refused: those of them that the server certainly hasn't begun.
        is_cut: whether a connection failed, before the answer or within it.
        is_answerless: whether a stream ended without the answer, which may come in another.
        is_over: whether nobody waits for the answer any more.
    """

    sent: int = 0
    refused: int = 0
    is_cut: bool = False
    is_answerless: bool = False
    is_over: bool = False

    @property
    def is_unsent(self) -> bool:
        """Whether nothing of the call has run; False where that isn't known."""
        return 0 < self.sent == self.refused


#: Of the call that the code is run for. The SDK sends a message in the context of who gave it.
FATE: ContextVar[Fate | None] = ContextVar("llmspell_mcp_fate", default=None)


class Owner(Protocol):
    """Whose requests they are.

    Attributes: ``status``, of the last response to a message; ``is_gone``, whether the server has
    said that it has the session no more.
    """

    status: int
    is_gone: bool

    def lose(self) -> None:
        """Make no more calls: the server has it no more, or may have it no more."""


def requests_of(session: Owner, headers: Mapping[str, str]) -> httpx2.AsyncClient:
    """A client of HTTP that tells the session what becomes of its requests.

    What fails on the way of a call is answered in the server's place: raised, it would end the
    session with all other calls in it.
    """
    import httpx2

    unsent = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)

    class Requests(httpx2.AsyncClient):
        """Those of one session."""

        async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
            fate = FATE.get()
            match request.method:
                case "POST":
                    return await self._tell(request, options, fate)
                case "DELETE":
                    return await self._end(request, options)
                case _ if fate is not None and fate.is_over:
                    return _answer(request, "nobody waits for the answer any more")
                case _:
                    await asyncio.sleep(_PAUSE)
                    return _bounded(await super().send(request, **options))

        async def _tell(
            self, request: httpx2.Request, options: dict[str, Any], fate: Fate | None
        ) -> httpx2.Response:
            """Send a message, and note what becomes of it."""
            if fate is not None:
                fate.sent += 1
            try:
                response = await super().send(request, **options)
            except httpx2.TransportError as error:
                if fate is None:
                    raise
                fate.refused += isinstance(error, unsent)
                _cut(fate)
                return _answer(request, f"{type(error).__name__}: {error}")
            session.status = response.status_code
            if response.status_code == 404 and _SESSION in request.headers:
                session.is_gone = True
                session.lose()
                if fate is not None:
                    fate.refused += 1
            return _bounded(response, fate)

        async def _end(self, request: httpx2.Request, options: dict[str, Any]) -> httpx2.Response:
            """Tell the server that the session is ended, where it may still have it."""
            if not session.is_gone:
                with suppress(httpx2.TransportError, TimeoutError):
                    async with asyncio.timeout(_LAST_SECONDS):
                        response = await super().send(request, **options)
                        await response.aclose()  # what it says has no use, and may have no end
                    told = httpx2.Response(response.status_code, request=request)
                    told.next_request = response.next_request
                    return told
            return httpx2.Response(204, request=request)

    def _bounded(response: httpx2.Response, fate: Fate | None = None) -> httpx2.Response:
        bound_body(response, lambda: _cut(fate), lambda: _ended(fate))
        return response

    def _ended(fate: Fate | None) -> None:
        if fate is not None:
            fate.is_answerless = True

    def _cut(fate: Fate | None) -> None:
        if fate is not None:
            fate.is_cut = True
            session.lose()

    def _answer(request: httpx2.Request, why: str) -> httpx2.Response:
        from mcp import types

        error = {"code": types.CONNECTION_CLOSED, "message": why[:500]}
        body = {"jsonrpc": "2.0", "id": None, "error": error}
        return httpx2.Response(503, json=body, request=request)

    return Requests(
        headers={"accept-encoding": "identity", **headers},
        timeout=httpx2.Timeout(30, read=300),
    )
