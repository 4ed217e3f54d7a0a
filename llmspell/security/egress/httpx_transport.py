"""A transport for httpx, sync and async."""

from __future__ import annotations

import httpx

from llmspell.errors import EgressFailed, EgressTimeout
from llmspell.security.egress.client import Client, client

__all__ = ["HttpxTransport"]


class HttpxTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """For ``httpx.Client(transport=HttpxTransport())`` and ``httpx.AsyncClient``.

    A request that failed raises httpx's own errors; one that is refused raises EgressDenied. httpx
    follows redirects itself, and the broker checks each. An async request keeps its event loop
    waiting, for the worker has one way out, and may have no threads. Timeouts of connecting and of
    reading together are the time for the whole request.

    Args:
        via: the process's one client by default.
    """

    def __init__(self, via: Client | None = None) -> None:
        self._client = via

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """As httpx calls it."""
        return self._ask(request, request.read())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """As httpx calls it."""
        return self._ask(request, await request.aread())

    def _ask(self, request: httpx.Request, body: bytes) -> httpx.Response:
        given = request.extensions.get("timeout", {})
        parts = [given.get(part) for part in ("connect", "read")]
        try:
            answered = (self._client or client()).ask(
                request.method,
                str(request.url),
                [(n.decode("latin-1"), v.decode("latin-1")) for n, v in request.headers.raw],
                body,
                timeout=None if None in parts else sum(parts),
                redirects=False,
            )
        except EgressTimeout as error:
            kind = httpx.ConnectTimeout if error.reason != "time" else httpx.ReadTimeout
            raise kind(str(error), request=request) from error
        except EgressFailed as error:
            kinds = {"protocol": httpx.RemoteProtocolError, "connection": httpx.ReadError}
            failure = kinds.get(error.reason, httpx.ConnectError)
            raise failure(str(error), request=request) from error
        return httpx.Response(
            answered.status,
            headers=[(n.encode("latin-1"), v.encode("latin-1")) for n, v in answered.headers.pairs],
            stream=httpx.ByteStream(answered.raw),
            extensions={"http_version": b"HTTP/1.1"},
        )
