"""Many small reads, chunks and lines of headers are work that their bytes don't show: bounded."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any

import pytest

from llmspell.security import Attempt
from tests.security.broker.conftest import Certified, MakeSession, Start, tunnel, wait_for
from tests.security.broker.servers import LOOPBACK, Server, ok
from tests.security.broker.test_responses import CHUNKED, SMALL, ask, forever

TINY = b"1\r\nx\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\n"


def silence_after(*said: bytes) -> Iterator[bytes]:
    yield from said
    while True:
        yield b""
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("respond", "reason"),
    [
        (lambda _: forever(CHUNKED, TINY * 100), "parts"),
        (lambda _: [CHUNKED + TINY * 501 + b"0\r\n\r\n"], "parts"),
        (lambda _: [CHUNKED + b"0\r\n" + b"a:\r\n" * 21 + b"\r\n"], "response-headers"),
        (lambda _: [HINTS + b"a:\r\n" * 21 + b"\r\n" + ok()], "response-headers"),
        (lambda _: [HINTS + b"a: " + b"b" * 4000 + b"\r\n\r\n" + ok()], "response-headers"),
        # Of these each has its size, and all together haven't.
        (
            lambda _: silence_after(*[HINTS + b"a: " + b"b" * 1900 + b"\r\n\r\n"] * 3),
            "response-headers",
        ),
    ],
)
def test_a_host_that_makes_work_of_few_bytes_is_refused(
    make: MakeSession, attempts: list[Attempt], respond: Any, reason: str
) -> None:
    assert ask(make, respond, {"response_parts": 500})["refused"] == reason
    assert [(attempt.outcome, attempt.reason) for attempt in attempts] == [("refused", reason)]


def test_a_response_may_come_in_its_number_of_parts(make: MakeSession) -> None:
    body = ask(make, lambda _: [CHUNKED + TINY * 400 + b"0\r\n\r\n"], {"response_parts": 500})
    assert body["body"] == b"x" * 400


def test_reads_of_a_byte_are_parts(
    make: MakeSession, attempts: list[Attempt], certified: Certified, trusting: ssl.SSLContext
) -> None:
    # Each is a record of TLS, which a read gives one of, however many have come.
    said = [bytes([byte]) for byte in ok(b"x" * 1000)]
    with Server(lambda _: said, tls=certified("a.test")) as server:
        session = make(limits={**SMALL, "response_parts": 500}, tls=trusting)
        answer = session.answer({"method": "GET", "url": server.url()})
    assert answer["refused"] == "parts"
    assert attempts[0].received_bytes < 500


def test_a_session_has_its_parts(make: MakeSession, attempts: list[Attempt]) -> None:
    with Server(CHUNKED + TINY * 100 + b"0\r\n\r\n") as server:
        session = make(limits={"session_parts": 250})
        answers = [session.answer({"method": "GET", "url": server.url()}) for _ in range(4)]
    assert [answer.get("refused") for answer in answers] == [None, None, "parts", "parts"]
    assert [attempt.reason for attempt in attempts] == ["", "", "parts", "parts"]


def test_a_program_that_asks_in_tiny_chunks_is_refused(
    start: Start, attempts: list[Attempt]
) -> None:
    head = b"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection((LOOPBACK, start({"session_parts": 250})), 20) as program:
        program.sendall(head + TINY * 300)
        wait_for(lambda: len(attempts) == 1)
    assert (attempts[0].outcome, attempts[0].reason) == ("refused", "parts")


def test_a_request_of_framing_to_the_proxy_ends(start: Start, attempts: list[Attempt]) -> None:
    port = start({"request_bytes": 1000, "request_header_bytes": 4000})
    head = b"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection((LOOPBACK, port), 20) as program:
        with pytest.raises(OSError):  # noqa: PT011  # whichever end of a connection it meets
            program.sendall(head)
            while True:
                program.sendall(b"1;" + b"e" * 3000 + b"\r\nx\r\n")
        wait_for(lambda: len(attempts) == 1)
    assert attempts[0].outcome == "refused"


def test_a_tunnel_of_single_bytes_ends(
    start: Start, attempts: list[Attempt], certified: Certified, trusting: ssl.SSLContext
) -> None:
    with Server(lambda _: iter(lambda: b"x", None), tls=certified("a.test")) as server:
        port = start({"session_parts": 100})
        plain, _ = tunnel(port, f"a.test:{server.port}")
        with (
            plain,
            trusting.wrap_socket(plain, server_hostname="a.test") as program,
            pytest.raises((OSError, EOFError)),
        ):
            while True:
                program.sendall(b"x")
                time.sleep(0.001)  # so that the bytes come apart
        wait_for(lambda: len(attempts) == 1)
    assert attempts[0].reason == "parts"
