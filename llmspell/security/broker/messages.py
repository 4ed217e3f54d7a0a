"""What a worker asks, as it arrives, and what it is answered.

A request is a map: ``method`` and ``url`` (str), ``headers`` (a list of pairs of str), ``body``
(bytes or nil), ``timeout`` (seconds or nil) and ``redirects`` (bool: follow them); only the first
two must be there. Everything here may come from a hostile worker, so nothing is taken on trust and
no message repeats what may be long.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from llmspell.errors import EgressDenied, EgressFailed, EgressTimeout
from llmspell.security.broker.limits import BrokerLimits
from llmspell.security.urls.url import Url

__all__ = [
    "Asked",
    "Headers",
    "Reply",
    "for_next",
    "headers_for",
    "read_request",
    "refusal",
    "response",
]

Headers = tuple[tuple[bytes, bytes], ...]

_FIELDS = frozenset({"method", "url", "headers", "body", "timeout", "redirects"})
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# RFC 9110, section 5.5: visible ASCII, space, tab, and bytes beyond ASCII.
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# Of one connection (RFC 9110, section 7.6.1), so the broker's own; with what it says by itself.
_HOP_BY_HOP = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization",
        b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade",
    }
)  # fmt: skip
_OURS = frozenset({b"host", b"content-length", b"expect"})
# What goes along when a redirect leads to another origin. Any other header may be a credential.
_FOR_ANY_ORIGIN = frozenset(
    {
        b"accept", b"accept-encoding", b"accept-language", b"cache-control", b"content-type",
        b"pragma", b"range", b"user-agent",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of a worker, as far as it can be checked by itself."""

    method: str
    url: str
    headers: Headers
    host: bytes | None
    body: bytes
    timeout: float | None
    redirects: bool


@dataclass(frozen=True, slots=True)
class Reply:
    """A response of a host; names of headers are in lower case."""

    status: int
    headers: Headers
    body: bytes

    def location(self) -> str | None:
        """Where a redirect leads, or None where this is none."""
        if self.status not in {301, 302, 303, 307, 308}:
            return None
        found = [value for name, value in self.headers if name == b"location"]
        if len(found) != 1:
            return None
        try:
            return found[0].decode("utf-8")  # what servers send that don't encode it
        except UnicodeDecodeError:
            return found[0].decode("latin-1")


def read_request(request: Any, limits: BrokerLimits, methods: Collection[str]) -> Asked:
    """Take a message of a worker apart.

    Raises:
        EgressDenied: with a reason, where anything of it isn't as it must be.
    """
    if type(request) is not dict or len(request) > len(_FIELDS) or not request.keys() <= _FIELDS:
        raise EgressDenied(
            f"a request must be a map of {', '.join(sorted(_FIELDS))}", reason="message"
        )
    method = request.get("method")
    if type(method) is not str or method not in methods:
        raise EgressDenied(
            f"the method must be one of {', '.join(sorted(methods))}", reason="method"
        )
    url = request.get("url")
    if type(url) is not str:
        raise EgressDenied("the URL must be a str", reason="type")
    body = request.get("body")
    if body is not None and type(body) is not bytes:
        raise EgressDenied("the body must be bytes", reason="body")
    if body is not None and len(body) > limits.request_bytes:
        raise EgressDenied(
            f"a body of {len(body):,} bytes, the limit is {limits.request_bytes:,}", reason="body"
        )
    timeout = request.get("timeout")
    # A comparison with NaN is false.
    if timeout is not None and (type(timeout) not in (int, float) or not timeout > 0):
        raise EgressDenied("the timeout must be a number of seconds above 0", reason="message")
    redirects = request.get("redirects", True)
    if type(redirects) is not bool:
        raise EgressDenied("redirects must be true or false", reason="message")
    headers, host = _read_headers(request.get("headers"), limits)
    return Asked(method, url, headers, host, body or b"", timeout, redirects)


def _read_headers(given: Any, limits: BrokerLimits) -> tuple[Headers, bytes | None]:
    """The headers that are sent on, and the worker's own Host."""
    if given is None:
        given = []
    if type(given) not in (list, tuple) or len(given) > limits.request_headers:
        raise EgressDenied(
            f"headers must be a list of pairs, at most {limits.request_headers}", reason="header"
        )
    size = 0
    read: list[tuple[bytes, bytes]] = []
    for pair in given:
        if type(pair) not in (list, tuple) or len(pair) != 2:
            raise EgressDenied("a header must be a pair of name and value", reason="header")
        name, value = pair
        if type(name) is not str or type(value) is not str:
            raise EgressDenied("a header's name and value must be str", reason="header")
        size += len(name) + len(value)
        if size > limits.request_header_bytes:
            raise EgressDenied(
                f"headers of more than {limits.request_header_bytes:,} bytes", reason="header"
            )
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise EgressDenied(
                "a header's name must be a token, and its value have no control character",
                reason="header",
            )
        read.append((name.lower().encode("ascii"), value.strip(" \t").encode("latin-1")))
    names = {name for name, _ in read}
    if b"upgrade" in names:
        raise EgressDenied("another protocol (Upgrade) isn't carried", reason="upgrade")
    hosts = {value.lower() for name, value in read if name == b"host"}
    if len(hosts) > 1:
        raise EgressDenied("there are several Host headers", reason="host-header")
    dropped = _dropped(read) | _OURS
    return tuple(pair for pair in read if pair[0] not in dropped), hosts.pop() if hosts else None


def _dropped(headers: Collection[tuple[bytes, bytes]]) -> frozenset[bytes]:
    """Names of one connection's headers: the known ones, and those that Connection names."""
    named = [value for name, value in headers if name == b"connection"]
    if not named:
        return _HOP_BY_HOP
    return _HOP_BY_HOP | {word.strip(b" \t").lower() for word in b",".join(named).split(b",")}


def headers_for(asked: Asked, url: Url) -> list[tuple[bytes, bytes]]:
    """The headers as they are sent: Host is that of the checked URL.

    Raises:
        EgressDenied: the worker's own Host is another.
    """
    authority = url.authority.encode("ascii")
    named = asked.host
    if named is not None and named not in (authority, f"{url.host}:{url.port}".encode()):
        raise EgressDenied("the Host header isn't the URL's host", reason="host-header")
    sent = [(b"host", authority), *asked.headers]
    if asked.body or asked.method in {"POST", "PUT", "PATCH"}:
        sent.append((b"content-length", b"%d" % len(asked.body)))
    return sent


def for_next(asked: Asked, status: int, before: Url, after: Url) -> Asked:
    """The request that follows a redirect (RFC 9110, section 15.4).

    To another origin only headers go along that are nobody's credentials.
    """
    method, body, headers = asked.method, asked.body, asked.headers
    if (status == 303 and method != "HEAD") or (status in {301, 302} and method == "POST"):
        method, body = "GET", b""
        headers = tuple(pair for pair in headers if not pair[0].startswith(b"content-"))
    if before.origin != after.origin:
        headers = tuple(pair for pair in headers if pair[0] in _FOR_ANY_ORIGIN)
    return replace(asked, method=method, body=body, headers=headers, host=None)


def response(reply: Reply, url: Url) -> dict[str, Any]:
    """The answer with a host's response, without the headers of the broker's own connection."""
    dropped = _dropped(reply.headers)
    return {
        "status": reply.status,
        "url": str(url),
        "headers": [
            [name.decode("latin-1"), value.decode("latin-1")]
            for name, value in reply.headers
            if name not in dropped
        ],
        "body": reply.body,
    }


def refusal(error: EgressDenied | EgressFailed) -> dict[str, Any]:
    """The answer where there is no response: a rule said no, or something on the way failed."""
    if isinstance(error, EgressDenied):
        return {"refused": error.reason, "message": str(error)}
    late = isinstance(error, EgressTimeout)
    return {"failed": error.reason, "message": str(error), "timeout": late}
