"""The table of URLs that lead to private addresses, and names that flip, through the broker."""

from __future__ import annotations

import random
import socket
from collections import Counter
from collections.abc import Iterator

import pytest

from llmspell.security import Attempt, Broker
from tests.security.broker.servers import Server, ok, redirect
from tests.security.urls.ssrf_urls import every_url
from tests.security.urls.test_rebinding import ALLOWED, FLIPS, PRIVATE, flipping
from tests.security.urls.test_ssrf_table import private_zone

TABLE = every_url()


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Where sockets were connected to."""
    places: list[object] = []

    class Watched(socket.socket):
        def connect(self, address: object) -> None:
            places.append(address)
            raise ConnectionRefusedError

    monkeypatch.setattr(socket, "socket", Watched)
    return places


def test_no_url_of_the_table_is_connected_to(connected: list[object]) -> None:
    reasons: Counter[str] = Counter()
    attempts: list[Attempt] = []
    broker = Broker(["*"], resolver=private_zone(), on_attempt=attempts.append)
    for leading in TABLE:
        with broker.session() as session:
            answer = session.answer({"method": "GET", "url": leading.url})
        reasons[answer.get("refused", "through")] += 1
    print(f"{len(TABLE)} URLs: {dict(reasons.most_common())}")
    assert connected == []
    assert len(TABLE) == len(attempts) >= 700
    assert reasons["through"] == 0
    assert reasons["address"] >= 200
    assert {attempt.outcome for attempt in attempts} == {"refused"}
    assert not any(attempt.address for attempt in attempts)


def test_the_watch_sees_a_connection(connected: list[object]) -> None:
    with Broker(["*"], resolver=lambda host, port: ["8.8.8.8"]).session() as session:
        answer = session.answer({"method": "GET", "url": "http://a.test/"})
    assert connected == [("8.8.8.8", 80)]
    assert answer["failed"] == "connect"


def test_a_worker_is_not_told_what_a_name_leads_to() -> None:
    with Broker(["*"], resolver=lambda host, port: ["10.1.2.3"]).session() as session:
        answer = session.answer({"method": "GET", "url": "http://a.test/"})
    assert answer["refused"] == "address"
    assert "10.1.2.3" not in repr(answer)


def test_no_redirect_leads_to_the_table() -> None:
    start = "127.0.0.9"  # listed, and not in the table
    zone = private_zone()
    zone.names["a.test"] = [start]
    locations = iter([leading.url for leading in TABLE])
    reasons: Counter[str] = Counter()
    attempts: list[Attempt] = []

    def astray(request: bytes) -> bytes:
        return redirect(next(locations).encode("utf-8").decode("latin-1"))

    try:
        server = Server(astray, address=start)
    except OSError:
        pytest.skip(f"{start} can't be listened at")
    broker = Broker(["*", start], resolver=zone, allow_downgrade=True, on_attempt=attempts.append)
    with server:
        for _ in TABLE:
            with broker.session() as session:
                answer = session.answer({"method": "GET", "url": server.url()})
            # Failed where the Location has a line break, so that it isn't HTTP.
            reasons[answer.get("refused") or answer["failed"]] += 1
    print(dict(reasons.most_common()))
    assert server.accepted == len(server.requests) == len(TABLE)
    assert {attempt.address for attempt in attempts} == {start, ""}
    assert not any(attempt.address for attempt in attempts if attempt.hops)
    assert not reasons.keys() & {"connect", "time", "internal"}
    assert reasons["address"] >= 200


@pytest.fixture
def allowed() -> Iterator[Server]:
    with Server(ok(b"allowed", "Connection: close")) as server:
        yield server


@pytest.mark.timeout(900)
def test_no_flip_of_a_name_reaches_an_address_that_is_not_allowed(allowed: Server) -> None:
    try:
        private = Server(ok(b"private"), address=PRIVATE, port=allowed.port)
    except OSError:
        pytest.skip(f"{PRIVATE} can't be listened at")
    zone = flipping(random.Random(5).randrange(1 << 30))
    broker = Broker(["flip.test", ALLOWED], resolver=zone)
    outcomes: Counter[str] = Counter()
    request = {"method": "GET", "url": allowed.url("/", "flip.test")}
    with private:
        while outcomes["flips"] < FLIPS:
            before = len(zone.asked)
            with broker.session() as session:
                answer = session.answer(request)
            assert len(zone.asked) == before + 1, "a name is looked up once"
            # What a second look-up would have met.
            outcomes["flips"] += ALLOWED not in zone("flip.test", allowed.port)
            outcomes[answer.get("refused") or answer["body"].decode()] += 1
        print(dict(outcomes))
        assert private.accepted == 0
    assert outcomes["private"] == 0
    assert set(outcomes) == {"flips", "allowed", "address"}
    assert allowed.accepted == outcomes["allowed"] > FLIPS / 4


def test_within_a_session_a_flip_is_not_even_met(allowed: Server) -> None:
    answers = iter([[ALLOWED], [PRIVATE]])
    with Broker(["flip.test", ALLOWED], resolver=lambda *_: next(answers)).session() as session:
        for _ in range(3):
            answer = session.answer({"method": "GET", "url": allowed.url("/", "flip.test")})
            assert answer["body"] == b"allowed"
