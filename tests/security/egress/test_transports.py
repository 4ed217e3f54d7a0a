"""httpx and requests see by way of the broker what they see directly."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import requests

from llmspell.errors import EgressDenied
from llmspell.security import egress
from llmspell.security.egress import HttpxTransport, RequestsAdapter
from tests.security.broker.servers import LOOPBACK, Server, ok, redirect

Ask = Callable[..., Any]


def respond(request: bytes) -> bytes:
    """Pages of all kinds; ``/echo`` gives the request back, without what is the connection's."""
    head, _, body = request.partition(b"\r\n\r\n")
    method, target, _ = head.split(b"\r\n")[0].split(b" ")
    path = target.partition(b"?")[0].decode()
    if path == "/echo":
        own = (b"connection:", b"host:", b"content-length:", b"transfer-encoding:")
        lines = sorted(line.lower() for line in head.split(b"\r\n")[1:])
        kept = [line for line in lines if not line.startswith(own)]
        return ok(b"\n".join([method, target, *kept, b"", body]))
    if path == "/head":
        return b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    return {
        "/json": ok(b'{"a": [1, 2]}', "Content-Type: application/json"),
        "/latin": ok(b"caf\xe9", "Content-Type: text/plain; charset=latin-1"),
        "/gzip": ok(gzip.compress(b"plain"), "Content-Encoding: gzip"),
        "/cookies": ok(b"", "Set-Cookie: a=1; Path=/", "Set-Cookie: b=2; Path=/"),
        "/redirect": redirect("/json"),
        "/redirect-post": redirect("/echo", 307),
        "/missing": ok(b"none", status="404 Not Found"),
        "/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "/empty": b"HTTP/1.1 204 No Content\r\n\r\n",
        "/header": ok(b"", "X-Byte: \xe9"),
    }[path]


REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/json", {}),
    ("GET", "/latin", {}),
    ("GET", "/gzip", {}),
    ("GET", "/cookies", {}),
    ("GET", "/redirect", {}),
    ("GET", "/missing", {}),
    ("GET", "/chunked", {}),
    ("GET", "/empty", {}),
    ("GET", "/header", {}),
    ("HEAD", "/head", {}),
    ("GET", "/echo?a=b%20c", {"headers": {"X-Mine": "v", "Authorization": "Bearer t"}}),
    ("GET", "/echo", {"params": {"q": "\u00e9 &"}}),
    ("POST", "/echo", {"json": {"a": 1}}),
    ("POST", "/echo", {"data": {"a": "b c"}}),
    ("PUT", "/echo", {"data": b"\x00\xff" * 2000}),
    ("POST", "/redirect-post", {"data": b"again"}),
    ("DELETE", "/echo", {}),
    ("GET", "/echo", {"cookies": {"c": "d"}}),
]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(respond) as serving:
        yield serving


def seen(answer: Any) -> dict[str, Any]:
    status = answer.status_code
    return {
        "status": status,
        "url": str(answer.url),
        "content": answer.content,
        "text": answer.text,
        "headers": sorted((name.lower(), value) for name, value in answer.headers.items()
                          if name.lower() not in {"connection", "transfer-encoding"}),
        "cookies": sorted(answer.cookies.items()),
        "history": [before.status_code for before in answer.history],
    }  # fmt: skip


def with_httpx(transport: Any, method: str, url: str, options: dict[str, Any]) -> Any:
    options = dict(options)
    if isinstance(options.get("data"), bytes):
        options["content"] = options.pop("data")
    cookies = options.pop("cookies", None)
    with httpx.Client(transport=transport, follow_redirects=True, cookies=cookies) as client:
        return client.request(method, url, **options)


def with_async_httpx(transport: Any, method: str, url: str, options: dict[str, Any]) -> Any:
    options = dict(options)
    if isinstance(options.get("data"), bytes):
        options["content"] = options.pop("data")
    cookies = options.pop("cookies", None)

    async def ask() -> Any:
        client = httpx.AsyncClient(transport=transport, follow_redirects=True, cookies=cookies)
        async with client:
            return await client.request(method, url, **options)

    return asyncio.run(ask())


def with_requests(adapter: Any, method: str, url: str, options: dict[str, Any]) -> Any:
    with requests.Session() as session:
        session.trust_env = False
        if adapter is not None:
            session.mount("http://", adapter)
        return session.request(method, url, allow_redirects=True, timeout=20, **options)


@pytest.mark.parametrize(("method", "path", "options"), REQUESTS)
@pytest.mark.parametrize(
    ("ask", "transport"),
    [
        (with_httpx, HttpxTransport),
        (with_async_httpx, HttpxTransport),
        (with_requests, RequestsAdapter),
    ],
    ids=["httpx", "async httpx", "requests"],
)
def test_a_client_sees_what_it_sees_directly(
    bound: egress.Client,
    server: Server,
    ask: Ask,
    transport: Callable[[], Any],
    method: str,
    path: str,
    options: dict[str, Any],
) -> None:
    url = f"http://{LOOPBACK}:{server.port}{path}"
    directly = seen(ask(None, method, url, options))
    assert seen(ask(transport(), method, url, options)) == directly


def test_a_client_may_be_given_instead_of_the_processs(
    exchange: egress.Exchange, server: Server
) -> None:
    own = egress.Client(exchange)
    assert with_httpx(HttpxTransport(own), "GET", server.url("/json"), {}).json() == {"a": [1, 2]}
    answer = with_requests(RequestsAdapter(own), "GET", server.url("/json"), {})
    assert answer.json() == {"a": [1, 2]}
    with pytest.raises(EgressDenied, match="no way out"):
        with_httpx(HttpxTransport(), "GET", server.url("/json"), {})


def test_a_refusal_is_ours_and_a_failure_is_the_clients(
    bound: egress.Client, server: Server
) -> None:
    for ask, transport in ((with_httpx, HttpxTransport), (with_requests, RequestsAdapter)):
        with pytest.raises(EgressDenied) as caught:
            ask(transport(), "GET", "http://c.test/", {})
        assert caught.value.reason == "host"
    with pytest.raises(httpx.ConnectError):
        with_httpx(HttpxTransport(), "GET", "http://a.test:1/", {})
    with pytest.raises(requests.ConnectionError):
        with_requests(RequestsAdapter(), "GET", "http://a.test:1/", {})


def test_a_redirect_astray_is_refused(bound: egress.Client) -> None:
    with Server(redirect("http://169.254.169.254/latest/meta-data")) as astray:
        for ask, transport in ((with_httpx, HttpxTransport), (with_requests, RequestsAdapter)):
            with pytest.raises(EgressDenied):
                ask(transport(), "GET", astray.url(), {})


def test_timeouts_are_the_clients(bound: egress.Client) -> None:
    hold = threading.Event()
    with Server(lambda _: ok() if hold.wait(20) else None) as slow:
        with pytest.raises(httpx.ReadTimeout), httpx.Client(transport=HttpxTransport()) as client:
            client.get(slow.url(), timeout=0.5)
        with requests.Session() as session:
            session.mount("http://", RequestsAdapter())
            with pytest.raises(requests.ReadTimeout):
                session.get(slow.url(), timeout=(0.5, 0.5))
        hold.set()


def test_requests_streams_and_a_certificate_of_its_own_is_refused(
    bound: egress.Client, server: Server
) -> None:
    with requests.Session() as session:
        session.mount("http://", RequestsAdapter())
        with session.get(server.url("/json"), stream=True) as answer:
            assert b"".join(answer.iter_content(4)) == b'{"a": [1, 2]}'
        with pytest.raises(EgressDenied, match="certificate"):
            session.get(server.url("/json"), cert="client.pem")
