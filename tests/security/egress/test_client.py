"""The client that a sandboxed tool is given."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
import zlib

import pytest

from llmspell.errors import (
    EgressDenied,
    EgressFailed,
    EgressTimeout,
    HttpStatusError,
    SecurityError,
)
from llmspell.security import egress
from llmspell.security.egress import response
from llmspell.security.egress.response import Response
from tests.security.broker.servers import Server, ok, redirect


def test_a_response_is_read(bound: egress.Client) -> None:
    said = ok(b'{"a": "\xc3\xa9"}', "Content-Type: application/json", "X-A: 1", "X-A: 2")
    with Server(said) as server:
        found = bound.get(server.url("/x?q=1"), params={"r": "a b"}, headers={"X-Mine": "y"})
        assert found.url == server.url("/x?q=1&r=a+b")
    assert (found.status, found.ok) == (200, True)
    assert found.json() == {"a": "\u00e9"}
    assert found.text == '{"a": "\u00e9"}'
    assert found.headers["content-TYPE"] == "application/json"
    assert found.headers["x-a"] == "1, 2"
    assert "x-b" not in found.headers
    assert found.raise_for_status() is found
    assert b"x-mine: y" in server.requests[0]
    assert b"accept-encoding: gzip, deflate" in server.requests[0]


def test_bodies_are_sent(bound: egress.Client) -> None:
    with Server(ok()) as server:
        bound.post(server.url(), json={"a": 1})
        bound.post(server.url(), data={"a": "b c"})
        bound.post(server.url(), content="\u00e9", headers={"Content-Type": "text/plain"})
        bound.request("put", server.url(), content=b"\x00")
    kinds = [b"application/json", b"application/x-www-form-urlencoded", b"text/plain", b""]
    bodies = [b'{"a": 1}', b"a=b+c", b"\xc3\xa9", b"\x00"]
    for request, kind, body in zip(server.requests, kinds, bodies, strict=True):
        assert (b"content-type: " + kind in request) == bool(kind)
        assert request.endswith(b"\r\n\r\n" + body)
    with pytest.raises(TypeError):
        bound.post(server.url(), json=1, content=b"")


def test_a_refusal_a_failure_and_a_status_are_named(bound: egress.Client) -> None:
    with pytest.raises(EgressDenied, match=r"c\.test isn't allowed") as denied:
        bound.get("http://c.test/")
    assert denied.value.reason == "host"
    assert isinstance(denied.value, PermissionError | SecurityError)
    with pytest.raises(EgressFailed) as failed:
        bound.get("http://a.test:1/")
    assert failed.value.reason == "connect"
    assert isinstance(failed.value, ConnectionError)
    assert not isinstance(failed.value, EgressTimeout)
    with Server(ok(b"", status="404 Not Found")) as server:
        with pytest.raises(HttpStatusError, match=r"/x answered 404") as caught:
            bound.get(server.url("/x?key=secret")).raise_for_status()
        assert caught.value.status == 404
        assert "secret" not in str(caught.value)


def test_too_long_is_a_timeout(bound: egress.Client) -> None:
    hold = threading.Event()
    with Server(lambda _: ok() if hold.wait(20) else None) as server:
        with pytest.raises(EgressTimeout) as late:
            bound.get(server.url(), timeout=0.05)
        hold.set()
    assert isinstance(late.value, TimeoutError)


def test_redirects_are_followed_unless_told_otherwise(bound: egress.Client) -> None:
    with Server(lambda r: ok() if b"/next" in r else redirect("/next")) as server:
        assert bound.get(server.url()).url == server.url("/next")
        assert bound.get(server.url(), redirects=False).status == 302


def test_a_process_has_one_client_or_none(bound: egress.Client) -> None:
    assert egress.client() is bound
    egress.bind(None)
    with pytest.raises(EgressDenied, match="no way out") as caught:
        egress.client()
    assert caught.value.reason == "unbound"


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(b"plain", mtime=0)),
        ("X-GZip", gzip.compress(b"plain", mtime=0)),
        ("deflate", zlib.compress(b"plain")),
        ("deflate", raw_deflate(b"plain")),
        ("identity", b"plain"),
    ],
)
def test_what_is_compressed_is_decompressed(
    bound: egress.Client, encoding: str, body: bytes
) -> None:
    with Server(ok(body, f"Content-Encoding: {encoding}")) as server:
        found = bound.get(server.url())
    assert (found.content, found.raw) == (b"plain", body)


def encoded(body: bytes, encoding: str) -> Response:
    return Response(200, "http://a.test/", [("content-encoding", encoding)], body)


def test_a_bomb_is_refused_before_it_takes_more_than_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(response, "MAX_CONTENT", 100_000)
    assert len(encoded(gzip.compress(bytes(100_000)), "gzip").content) == 100_000
    with pytest.raises(EgressFailed, match="100,000") as caught:
        encoded(gzip.compress(bytes(100_001)), "gzip").content  # noqa: B018
    assert caught.value.reason == "encoding"


@pytest.mark.parametrize("body", [b"not gzip", gzip.compress(b"plain" * 100, mtime=0)[:-9]])
def test_what_does_not_decompress_is_refused(body: bytes) -> None:
    with pytest.raises(EgressFailed, match="gzip"):
        encoded(body, "gzip").content  # noqa: B018


def test_an_encoding_that_nobody_asked_for_is_left(bound: egress.Client) -> None:
    assert encoded(b"x", "br").content == b"x"


@pytest.mark.parametrize("charset", ["latin-1", '"ISO-8859-1"', "no-such", "hex", "a\x00b"])
def test_text_is_decoded_whatever_its_charset_says(charset: str) -> None:
    found = Response(200, "", [("content-type", f"text/plain; charset={charset}")], b"\xe9")
    assert found.text in {"\u00e9", "\ufffd"}


def test_nothing_is_shown_that_may_be_secret() -> None:
    found = Response(200, "http://a.test/?key=secret", [("set-cookie", "secret")], b"secret")
    assert "secret" not in repr(found) + repr(found.headers)


def test_it_imports_nothing_of_the_broker_and_no_client() -> None:
    program = "import sys, llmspell.security.egress; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(result.stdout.split())
    assert "llmspell.security.egress.client" in loaded
    heavy = {
        "httpx", "requests", "h11", "ssl", "socket", "asyncio", "numpy", "http.client",
        "llmspell.security.broker", "llmspell.security.urls", "llmspell._core", "llmspell._hot",
    }  # fmt: skip
    assert loaded & heavy == set()


def test_what_is_not_there_is_an_attribute_error() -> None:
    assert not hasattr(egress, "HttpsTransport")
