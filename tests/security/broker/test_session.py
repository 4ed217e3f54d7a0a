"""What a session counts, keeps and records."""

from __future__ import annotations

import dataclasses
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from llmspell.errors import ConfigError
from llmspell.security import Attempt, Broker, BrokerLimits
from llmspell.security.urls import lookups
from tests.security.broker.conftest import MakeSession
from tests.security.broker.servers import LOOPBACK, Server, ok


def get(session: Any, url: str) -> dict[str, Any]:
    answer: dict[str, Any] = session.answer({"method": "GET", "url": url})
    return answer


def test_an_attempt_is_recorded_without_what_may_be_secret(
    make: MakeSession, attempts: list[Attempt]
) -> None:
    with Server(ok(b"body")) as server:
        make().answer(
            {
                "method": "POST",
                "url": server.url("/path?key=value"),
                "headers": [["X", "header"]],
                "body": b"sent",
            }
        )
        (attempt,) = attempts
        assert attempt == Attempt(
            tenant="acme", method="POST", scheme="http", host="a.test", port=server.port,
            address=LOOPBACK, outcome="answered", reason="", status=200, hops=0,
            sent_bytes=len(server.requests[0]), received_bytes=len(ok(b"body")),
            seconds=attempt.seconds,
        )  # fmt: skip
    assert attempt.seconds > 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        attempt.host = "b.test"  # type: ignore[misc]


def test_an_attempt_that_cannot_be_recorded_gives_nothing(make: MakeSession) -> None:
    def full(attempt: Attempt) -> None:
        raise OSError("no space")

    with Server(ok(b"secret")) as server:
        answer = get(make(on_attempt=full), server.url())
        assert answer["failed"] == "unrecorded"
        assert "secret" not in repr(answer)
        assert get(make(on_attempt=full), "http://c.test/")["failed"] == "unrecorded"


def test_requests_are_counted_refused_ones_and_hops_too(
    make: MakeSession, attempts: list[Attempt]
) -> None:
    with Server(ok()) as server:
        session = make(limits={"requests": 3})
        get(session, server.url())
        get(session, "http://c.test/")
        session.answer(None)
        for _ in range(50):
            assert get(session, server.url())["refused"] == "requests"
    assert len(server.requests) == 1
    # One more than allowed: a worker can't fill a log.
    assert [attempt.reason for attempt in attempts] == ["", "host", "message", "requests"]


def test_threads_share_the_count(make: MakeSession) -> None:
    with Server(ok()) as server:
        session = make(limits={"requests": 20})
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: get(session, server.url()), range(60)))
    assert sum("status" in answer for answer in answers) == len(server.requests) == 20


def test_bytes_of_all_requests_are_counted(make: MakeSession) -> None:
    with Server(ok(b"x" * 4000)) as server:
        session = make(limits={"session_bytes": 10_000})
        assert get(session, server.url())["status"] == 200
        assert get(session, server.url())["status"] == 200
        assert get(session, server.url())["refused"] == "bytes"
        sent = make(limits={"session_bytes": 10_000}).answer(
            {"method": "POST", "url": server.url(), "body": b"x" * 20_000}
        )
        assert sent["refused"] == "bytes"
    assert len(server.requests) == 3


def test_a_sessions_time_ends(make: MakeSession) -> None:
    with Server(ok()) as server:
        session = make(limits={"session_seconds": 0.05})
        time.sleep(0.06)
        assert get(session, server.url())["failed"] == "time"
    assert server.accepted == 0


def test_a_connection_is_kept_within_a_session_and_not_beyond(make: MakeSession) -> None:
    with Server(ok()) as server:
        session = make()
        for _ in range(5):
            assert get(session, server.url())["status"] == 200
        assert server.accepted == 1
        get(session, server.url(host="b.test"))  # the same address, another name
        assert server.accepted == 2
        get(make(), server.url())
        assert server.accepted == 3


def test_a_kept_connection_is_used_only_while_its_name_leads_there(
    make: MakeSession, attempts: list[Attempt], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "KEPT_SECONDS", 0.0)
    moved = "127.0.0.9"
    answers = iter([[LOOPBACK], [moved], [LOOPBACK]])
    with Server(ok()) as server:
        try:
            other = Server(ok(), address=moved, port=server.port)
        except OSError:
            pytest.skip(f"{moved} can't be listened at")
        with other:
            session = make(("a.test", LOOPBACK, moved), resolver=lambda *_: next(answers))
            for _ in range(3):
                assert get(session, server.url())["status"] == 200
        assert (len(server.requests), len(other.requests)) == (2, 1)
    assert [attempt.address for attempt in attempts] == [LOOPBACK, moved, LOOPBACK]


def test_a_connection_that_the_host_closed_is_not_used_again(make: MakeSession) -> None:
    with Server(ok(b"x", "Connection: close")) as server:
        session = make()
        for method in ("GET", "POST", "GET"):
            assert session.answer({"method": method, "url": server.url()})["status"] == 200
        assert server.accepted == 3
    with Server(ok()) as server:
        session = make()
        for method in ("GET", "POST", "GET"):
            assert session.answer({"method": method, "url": server.url()})["status"] == 200
            server.drop()
        assert server.accepted == 3


@pytest.mark.parametrize(("method", "times"), [("GET", 2), ("POST", 1)])
def test_only_what_may_be_done_twice_is_asked_again(
    make: MakeSession, method: str, times: int
) -> None:
    def respond(request: bytes) -> bytes | None:
        # A kept connection that ends as the request arrives.
        return None if b"/last" in request and server.accepted == 1 else ok()

    with Server(respond) as server:
        session = make()
        get(session, server.url())
        answer = session.answer({"method": method, "url": server.url("/last")})
    assert sum(b"/last" in request for request in server.requests) == times
    assert ("status" in answer) == (times == 2)


def test_a_connection_of_ipv6_is_kept_too(make: MakeSession, attempts: list[Attempt]) -> None:
    try:
        server = Server(ok(), address="::1", family=socket.AF_INET6)
    except OSError:
        pytest.skip("this host has no IPv6")
    with server:
        session = make(("a.test", "::1"), resolver=lambda host, port: ["::1"])
        for url in (server.url(), server.url(), server.url(host="[::1]")):
            assert get(session, url)["status"] == 200
    assert server.accepted == 2
    assert f"host: [::1]:{server.port}".encode() in server.requests[2]
    assert {attempt.address for attempt in attempts} == {"::1"}


def test_idle_connections_are_few(make: MakeSession) -> None:
    with Server(ok()) as server:
        names = [f"n{at}.test" for at in range(12)]
        session = make((*names, LOOPBACK), limits={"connections": 2})
        for name in names:
            get(session, server.url(host=name))
        get(session, server.url(host=names[-1]))
        assert server.accepted == 12, "the newest are kept"
        get(session, server.url(host=names[0]))
        assert server.accepted == 13


def test_closing_ends_what_is_under_way(make: MakeSession, attempts: list[Attempt]) -> None:
    asked, hold = threading.Event(), threading.Event()

    def respond(request: bytes) -> bytes:
        asked.set()
        hold.wait(30)
        return ok()

    with Server(respond) as server, ThreadPoolExecutor(1) as pool:
        session = make()
        waiting = pool.submit(get, session, server.url())
        assert asked.wait(10)
        session.close()
        answer = waiting.result(10)
        hold.set()
        session.close()
        assert answer.get("refused") == "closed" or answer["failed"] in {"connection", "protocol"}
        assert get(session, server.url())["refused"] == "closed"
    assert server.accepted == 1
    assert len(attempts) == 2


def test_a_host_that_is_not_there_is_named_without_its_address(make: MakeSession) -> None:
    with socket.socket() as bound:  # and doesn't listen: nobody else can, meanwhile
        bound.bind((LOOPBACK, 0))
        answer = get(make(), f"http://a.test:{bound.getsockname()[1]}/")
    assert answer == {"failed": "connect", "message": "a.test can't be reached", "timeout": False}


@pytest.mark.parametrize(
    "limits",
    [
        {"requests": 0},
        {"requests": 1.5},
        {"requests": True},
        {"redirects": -1},
        {"total_seconds": 0},
        {"total_seconds": float("inf")},
        {"session_seconds": 1e9},
        {"connect_seconds": None},
        {"total_seconds": float("nan")},
        {"response_bytes": "1"},
    ],
)
def test_limits_out_of_range_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(limits))):
        BrokerLimits(**limits)


@pytest.mark.parametrize(
    "options",
    [
        {"methods": ["CONNECT"]},
        {"methods": "GET"},
        {"ports": [0]},
        {"denied": ["x"]},
        {"nat64_prefixes": ["x"]},
        {"domains": "a.test"},
        {"domains": ["http://a.test"]},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Broker(**{"domains": ["a.test"], **options})


def test_denied_networks_and_ports_hold(make: MakeSession) -> None:
    with Server(ok()) as server:
        assert get(make(denied=[LOOPBACK]), server.url())["refused"] == "address"
        assert get(make(ports=[1]), server.url())["refused"] == "port"
    assert server.accepted == 0
