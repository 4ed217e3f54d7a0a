"""What a host may send: anything. A response is whole, small enough and in time, or none."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from llmspell.security import Attempt
from llmspell.security.broker.connection import READ_SIZE
from tests.security.broker.conftest import MakeSession
from tests.security.broker.servers import Server, ok

SMALL = {
    "response_bytes": 10_000,
    "response_header_bytes": 4_000,
    "response_headers": 20,
}
SHORT = {"first_byte_seconds": 0.2, "total_seconds": 0.4}


def ask(
    make: MakeSession, respond: Any, limits: dict[str, Any] | None = None, **request: Any
) -> dict[str, Any]:
    with Server(respond) as server:
        session = make(limits={**SMALL, **(limits or {})})
        return session.answer({"method": "GET", "url": server.url(), **request})


def forever(start: bytes, part: bytes) -> Iterator[bytes]:
    """A flood, until the broker has gone."""
    yield start
    while True:
        yield part


def slowly(start: bytes, part: bytes) -> Iterator[bytes]:
    for sent in forever(start, part):
        yield sent
        time.sleep(0.02)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

HOSTILE: dict[str, tuple[Any, str, str]] = {
    "nothing": (lambda _: None, "failed", "protocol"),
    "not HTTP": (lambda _: [b"SSH-2.0-OpenSSH\r\n" * 10], "failed", "protocol"),
    "HTTP/0.9": (lambda _: [b"<html>"], "failed", "protocol"),
    "HTTP/2": (lambda _: [b"HTTP/2 200\r\n\r\n"], "failed", "protocol"),
    "silence": (lambda _: slowly(b"", b""), "failed", "time"),
    "slow head": (lambda _: slowly(b"HTTP/1.1 200 OK\r\n", b"a"), "failed", "time"),
    "slow body": (
        lambda _: slowly(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n", b"a"),
        "failed",
        "time",
    ),
    "interim for ever": (
        lambda _: forever(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        "failed",
        "protocol",
    ),
    "another protocol": (
        lambda _: [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + ok()],
        "failed",
        "protocol",
    ),
    "cut short": (
        lambda _: [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"],
        "failed",
        "protocol",
    ),
    "two lengths": (
        lambda _: [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"],
        "failed",
        "protocol",
    ),
    "a negative length": (
        lambda _: [b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nab"],
        "failed",
        "protocol",
    ),
    "large": (lambda _: ok(b"x" * 10_001), "refused", "response-size"),
    "endless": (
        lambda _: forever(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 4000),
        "refused",
        "response-size",
    ),
    "endless chunks": (
        lambda _: forever(CHUNKED, b"fa0\r\n" + b"x" * 4000 + b"\r\n"),
        "refused",
        "response-size",
    ),
    "chunks of extensions": (
        lambda _: forever(CHUNKED, b"1;" + b"e" * 3000 + b"\r\nx\r\n"),
        "refused",
        "response-size",
    ),
    "an endless extension": (
        lambda _: forever(CHUNKED + b"1;", b"e" * 3000),
        "refused",
        "response-headers",
    ),
    "a large chunk": (lambda _: forever(CHUNKED + b"fffffff\r\n", b"x" * 4000), "refused",
                      "response-size"),
    "a wrong end of a chunk": (lambda _: [CHUNKED + b"1\r\nxyz0\r\n\r\n"], "failed", "protocol"),
    "endless trailers": (
        lambda _: forever(CHUNKED + b"0\r\n", b"a: " + b"b" * 900 + b"\r\n"),
        "refused",
        "response-headers",
    ),
    "endless headers": (
        lambda _: forever(b"HTTP/1.1 200 OK\r\n", b"a: " + b"b" * 900 + b"\r\n"),
        "refused",
        "response-headers",
    ),
    "a large header": (lambda _: ok(b"", "a: " + "b" * 4001), "refused", "response-headers"),
    "many headers": (lambda _: ok(b"", *["a: b"] * 30), "refused", "response-headers"),
    "a header with NUL": (lambda _: ok(b"", "a: \x00"), "failed", "protocol"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_no_host_holds_or_floods_the_broker(
    make: MakeSession, attempts: list[Attempt], name: str
) -> None:
    respond, kind, reason = HOSTILE[name]
    answer = ask(make, respond, SHORT if reason == "time" else None)
    assert answer[kind] == reason, answer
    assert "body" not in answer
    (attempt,) = attempts
    assert (attempt.outcome, attempt.reason) == (kind, reason)
    # A read beyond the limits at most, and what was read before.
    assert attempt.received_bytes <= 4_000 + 2 * 10_000 + READ_SIZE


def test_a_compressed_bomb_stays_compressed(make: MakeSession) -> None:
    bomb = gzip.compress(bytes(5_000_000))
    answer = ask(make, ok(bomb, "Content-Encoding: gzip"))
    assert answer["body"] == bomb
    assert ["content-encoding", "gzip"] in answer["headers"]


def test_what_comes_after_a_response_is_not_the_next_one(make: MakeSession) -> None:
    poisoned = ok(b"first") + ok(b"smuggled")
    said = iter([poisoned, ok(b"second")])
    with Server(lambda _: next(said)) as server:
        session = make()
        bodies = [session.answer({"method": "GET", "url": server.url()})["body"] for _ in range(2)]
    assert bodies == [b"first", b"second"]
    assert server.accepted == 2


def test_what_comes_late_after_a_response_is_not_the_next_one(make: MakeSession) -> None:
    sent = threading.Event()

    def late(request: bytes) -> Any:
        if b"/second" in request:
            return ok(b"second", "Connection: close")

        def parts() -> Iterator[bytes]:
            yield ok(b"first")
            sent.wait(5)
            yield ok(b"smuggled")
            arrived.set()
            hold.wait(5)

        return parts()

    arrived, hold = threading.Event(), threading.Event()
    with Server(late) as server:
        session = make()
        first = session.answer({"method": "GET", "url": server.url()})
        sent.set()
        assert arrived.wait(5)
        second = session.answer({"method": "GET", "url": server.url("/second")})
        hold.set()
    assert (first["body"], second["body"]) == (b"first", b"second")
    assert server.accepted == 2


def test_headers_of_one_connection_are_left_out(make: MakeSession) -> None:
    said = ok(b"x", "Connection: X-Hop", "X-Hop: 1", "Keep-Alive: 5", "Set-Cookie: a",
              "Set-Cookie: b", "X-Byte: \xff")  # fmt: skip
    assert ask(make, said)["headers"] == [
        ["content-length", "1"], ["set-cookie", "a"], ["set-cookie", "b"], ["x-byte", "\xff"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "body"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", b"until the end"),
        (CHUNKED + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX: y\r\n\r\n", b"abcde"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok(b"then"), b"then"),
    ],
)
def test_each_framing_is_read(make: MakeSession, said: bytes, body: bytes) -> None:
    assert ask(make, lambda _: [said])["body"] == body


def test_a_head_has_a_length_and_no_body(make: MakeSession) -> None:
    said = b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n"
    answer = ask(make, said, method="HEAD")
    assert (answer["status"], answer["body"]) == (200, b"")
    assert ["content-length", "5000000"] in answer["headers"]


def test_a_worker_may_ask_for_less_time(make: MakeSession, attempts: list[Attempt]) -> None:
    with Server(lambda _: slowly(b"", b"")) as server:
        session = make()
        answer = session.answer({"method": "GET", "url": server.url(), "timeout": 0.1})
    assert (answer["failed"], answer["timeout"]) == ("time", True)
    assert attempts[0].reason == "time"
