"""What a worker may send: anything; it gets an answer."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmspell.security import Attempt, Broker
from tests.security.broker.conftest import MakeSession
from tests.security.broker.servers import LOOPBACK, Server, ok

URL = "http://a.test/"

PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.sampled_from(
        ["GET", "POST", "CONNECT", URL, "http://127.0.0.1/", "\r\n", "\x00", "x" * 9000]
    ),
)
ANYTHING = st.recursive(
    PLAIN,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(PLAIN, inner, max_size=4)),
    max_leaves=12,
)
# Nearly a request: each field right, or anything.
NEARLY = st.fixed_dictionaries(
    {},
    optional={
        "method": st.one_of(st.sampled_from(["GET", "HEAD", "get", "TRACE"]), ANYTHING),
        "url": st.one_of(st.just(URL), ANYTHING),
        "headers": st.one_of(
            st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=3), ANYTHING
        ),
        "body": st.one_of(st.binary(max_size=8), ANYTHING),
        "timeout": st.one_of(st.floats(), ANYTHING),
        "redirects": st.one_of(st.booleans(), ANYTHING),
        "more": ANYTHING,
    },
)


@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(ANYTHING, NEARLY))
def test_any_message_is_answered(message: Any) -> None:
    attempts: list[Attempt] = []

    def nowhere(host: str, port: int) -> list[str]:
        raise OSError

    with Broker(["a.test"], resolver=nowhere, on_attempt=attempts.append).session() as session:
        answer = session.answer(message)
    assert msgpack.unpackb(msgpack.packb(answer)) == answer
    assert answer.get("refused") or answer["failed"] == "resolve"
    assert len(attempts) == 1
    assert attempts[0].host in {"", "a.test"}


def test_a_message_that_is_deep_or_large_is_answered(make: MakeSession) -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    session = make()
    for message in (deep, {"method": deep, "url": deep}, {str(n): n for n in range(100_000)}):
        assert session.answer(message)["refused"] in {"message", "method"}
    assert (
        session.answer({"method": "GET", "url": "http://" + "a" * 10**7})["refused"] == "long-url"
    )
    while deep:  # or its end overflows the stack
        deep = deep[0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"method": "CONNECT"}, "method"),
        ({"method": "TRACE"}, "method"),
        ({"method": "get"}, "method"),
        ({"method": "GET\r\nX: y"}, "method"),
        ({"method": "GET /x HTTP/1.1\r\nHost: b"}, "method"),
        ({"url": b"http://a.test/"}, "type"),
        ({"url": "http://user:secret@a.test/"}, "credentials"),
        ({"url": "http://a.test/\r\nHost: b.test"}, "control-character"),
        ({"url": "http://a.test/\x00"}, "control-character"),
        ({"url": "file:///etc/passwd"}, "scheme"),
        ({"url": "http://a.test/" + "x" * 9000}, "long-url"),
        ({"url": "http://c.test/"}, "host"),
        ({"url": "http://127.0.0.2/"}, "host"),
        ({"body": "text"}, "body"),
        ({"body": b"x" * (1 << 20) + b"x"}, "body"),
        ({"timeout": 0}, "message"),
        ({"timeout": float("nan")}, "message"),
        ({"timeout": True}, "message"),
        ({"redirects": 1}, "message"),
        ({"extra": 1}, "message"),
        ({"headers": {"a": "b"}}, "header"),
        ({"headers": [["a"]]}, "header"),
        ({"headers": [["a", 1]]}, "header"),
        ({"headers": [["a", "b\r\nX: y"]]}, "header"),
        ({"headers": [["a", "b\nX: y"]]}, "header"),
        ({"headers": [["a", "b\x00"]]}, "header"),
        ({"headers": [["a\r\nX", "b"]]}, "header"),
        ({"headers": [["a ", "b"]]}, "header"),
        ({"headers": [["a:", "b"]]}, "header"),
        ({"headers": [["", "b"]]}, "header"),
        ({"headers": [["a", "\u20ac"]]}, "header"),
        ({"headers": [["a", "b"]] * 65}, "header"),
        ({"headers": [["a", "b" * 17_000]]}, "header"),
        ({"headers": [["Upgrade", "websocket"]]}, "upgrade"),
        ({"headers": [["Host", "b.test"]]}, "host-header"),
        ({"headers": [["Host", "a.test"], ["host", "b.test"]]}, "host-header"),
    ],
)
def test_what_is_not_a_request_is_refused_with_a_reason(
    make: MakeSession, attempts: list[Attempt], change: dict[str, Any], reason: str
) -> None:
    with Server(ok()) as server:
        answer = make().answer({"method": "GET", "url": server.url(), **change})
    assert answer["refused"] == reason
    assert len(answer["message"]) < 300
    assert "secret" not in repr(answer)
    assert server.accepted == 0
    assert [(attempt.outcome, attempt.reason) for attempt in attempts] == [("refused", reason)]


def sent_lines(request: bytes) -> list[str]:
    head, _, _ = request.partition(b"\r\n\r\n")
    return head.decode("latin-1").split("\r\n")


def test_headers_of_the_connection_are_the_brokers_own(make: MakeSession) -> None:
    with Server(ok()) as server:
        answer = make().answer(
            {
                "method": "POST",
                "url": server.url("/x?y=1#z"),
                "headers": [
                    ["Host", f"A.test:{server.port}"], ["Connection", "close, X-Hop"],
                    ["X-Hop", "1"], ["Keep-Alive", "1"], ["TE", "trailers"],
                    ["Transfer-Encoding", "chunked"], ["Content-Length", "999"],
                    ["Proxy-Authorization", "Basic x"], ["Expect", "100-continue"],
                    ["Trailer", "X"], ["X-Kept", " caf\xe9 "], ["X-Kept", "2"],
                ],
                "body": b"hello",
            }
        )  # fmt: skip
    assert answer["status"] == 200
    assert sent_lines(server.requests[0]) == [
        "POST /x?y=1 HTTP/1.1",
        f"host: a.test:{server.port}",
        "x-kept: caf\xe9",
        "x-kept: 2",
        "content-length: 5",
    ]
    assert server.requests[0].endswith(b"\r\n\r\nhello")


def test_a_methods_list_narrows_what_may_be_asked(make: MakeSession) -> None:
    with Server(ok()) as server:
        session = make(methods=["GET"])
        assert session.answer({"method": "GET", "url": server.url()})["status"] == 200
        assert session.answer({"method": "POST", "url": server.url()})["refused"] == "method"
    assert len(server.requests) == 1


def test_a_body_less_request_says_so_only_where_one_is_usual(make: MakeSession) -> None:
    with Server(ok()) as server:
        session = make()
        for method in ("GET", "DELETE", "POST"):
            session.answer({"method": method, "url": server.url()})
    said = ["content-length: 0" in sent_lines(request) for request in server.requests]
    assert said == [False, False, True]


def test_an_address_and_its_port_stand_in_host(make: MakeSession) -> None:
    with Server(ok()) as server:
        make().answer({"method": "GET", "url": f"http://{LOOPBACK}:{server.port}/"})
    assert f"host: {LOOPBACK}:{server.port}" in sent_lines(server.requests[0])
