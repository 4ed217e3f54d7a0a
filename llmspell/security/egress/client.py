"""The HTTP client that a sandboxed tool is given."""

from __future__ import annotations

import json as json_module
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from llmspell.errors import EgressDenied, EgressFailed, EgressTimeout
from llmspell.security.egress.response import Response

__all__ = ["Client", "Exchange", "Pairs", "bind", "client"]

#: Carries a message that msgpack can hold to the broker, and its answer back.
Exchange = Callable[[Any], Any]
Pairs = Mapping[str, str] | Sequence[tuple[str, str]]


class Client:
    """Makes requests by way of the broker; a small part of what httpx and requests offer.

    Safe to share between threads: requests go one after another, as through one socket.

    Args:
        exchange: how to ask the broker.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._lock = threading.Lock()

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Pairs | None = None,
        headers: Pairs | None = None,
        content: bytes | str | None = None,
        data: Pairs | None = None,
        json: Any = None,
        timeout: float | None = None,
        redirects: bool = True,
    ) -> Response:
        """Make a request and read its response.

        Args:
            method: GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS, unless the broker allows fewer.
            url: http or https, without credentials.
            params: added to the URL's query.
            headers: Host, Content-Length and those of one connection are the broker's.
            content: the body; a str is sent as UTF-8.
            data: the body as a form.
            json: the body as JSON.
            timeout: seconds for all of it; the broker's limits hold besides.
            redirects: follow them; the broker checks each.

        Raises:
            EgressDenied: a rule or a limit of the broker.
            EgressFailed: on the way, or at the host.
            EgressTimeout: it took too long.
            TypeError: more than one of ``content``, ``data`` and ``json``.
        """
        if sum(given is not None for given in (content, data, json)) > 1:
            raise TypeError("give one of content, data and json")
        pairs = _pairs(headers)
        kind = None
        if json is not None:
            body, kind = json_module.dumps(json).encode(), "application/json"
        elif data is not None:
            body, kind = urlencode(_pairs(data)).encode(), "application/x-www-form-urlencoded"
        else:
            body = content.encode() if isinstance(content, str) else bytes(content or b"")
        named = {name.lower() for name, _ in pairs}
        if kind is not None and "content-type" not in named:
            pairs.append(("content-type", kind))
        if "accept-encoding" not in named:
            pairs.append(("accept-encoding", "gzip, deflate"))
        if params is not None:
            url, mark, fragment = url.partition("#")
            url += ("&" if "?" in url else "?") + urlencode(_pairs(params)) + mark + fragment
        return self.ask(method.upper(), url, pairs, body, timeout=timeout, redirects=redirects)

    def get(self, url: str, **options: Any) -> Response:
        """A GET; options as for :meth:`request`."""
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Any) -> Response:
        """A POST; options as for :meth:`request`."""
        return self.request("POST", url, **options)

    def ask(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        *,
        timeout: float | None,
        redirects: bool,
    ) -> Response:
        """Send a request as it is; for transports of other clients.

        Raises:
            EgressDenied, EgressFailed, EgressTimeout: as for :meth:`request`.
        """
        request = {
            "method": method,
            "url": url,
            "headers": [[name, value] for name, value in headers],
            "body": body,
            "timeout": timeout,
            "redirects": redirects,
        }
        with self._lock:
            answer = self._exchange(request)
        if "status" in answer:
            return Response(answer["status"], answer["url"], answer["headers"], answer["body"])
        if "refused" in answer:
            raise EgressDenied(answer["message"], reason=answer["refused"])
        if answer["timeout"]:
            raise EgressTimeout(answer["message"], reason=answer["failed"])
        raise EgressFailed(answer["message"], reason=answer["failed"])


_client: Client | None = None


def bind(exchange: Exchange | None) -> None:
    """Make ``exchange`` the way out of this process, in place of the one before; None is none."""
    global _client
    _client = None if exchange is None else Client(exchange)


def client() -> Client:
    """The one client of this process.

    Raises:
        EgressDenied: there is no way out; the tool was given no host to reach.
    """
    if _client is None:
        raise EgressDenied(
            "this process has no way out; give the tool hosts by with_network_access",
            reason="unbound",
        )
    return _client


def _pairs(given: Pairs | None) -> list[tuple[str, str]]:
    if given is None:
        return []
    return list(given.items() if isinstance(given, Mapping) else given)
