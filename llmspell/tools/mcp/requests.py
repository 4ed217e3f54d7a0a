"""Requests of one session to an MCP server's URL, and what becomes of those of a call."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from llmspell.tools.mcp.bodies import bound_body

if TYPE_CHECKING:
    import httpx2

__all__ = ["FATE", "Fate", "Owner", "requests_of"]

_SESSION: Final = "mcp-session-id"


@dataclass(slots=True)
class Fate:
    """What is known of the requests of one call.

    Args:
        sent: how many there were.
        refused: those of them that the server certainly hasn't begun.
        is_cut: whether a connection failed, before the answer or within it.
    """

    sent: int = 0
    refused: int = 0
    is_cut: bool = False

    @property
    def is_unsent(self) -> bool:
        """Whether nothing of the call has run; False where that isn't known."""
        return 0 < self.sent == self.refused


#: Of the call that the code is run for. The SDK sends a message in the context of who gave it.
FATE: ContextVar[Fate | None] = ContextVar("llmspell_mcp_fate", default=None)


class Owner(Protocol):
    """Whose requests they are."""

    status: int
    is_gone: bool

    def lose(self) -> None:
        """The server has it no more, or may have it no more."""


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
            if request.method == "DELETE" and session.is_gone:
                return httpx2.Response(204, request=request)  # there is nothing to be ended
            fate = FATE.get() if request.method == "POST" else None
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
            is_gone = response.status_code == 404 and _SESSION in request.headers
            if is_gone and request.method == "POST":
                session.lose()
                if fate is not None:
                    fate.refused += 1
            bound_body(response, lambda: _cut(fate))
            return response

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
