"""A broker's look-ups end in time, and none of its users takes them all."""

from __future__ import annotations

import threading

from llmspell.security import Attempt, Broker, BrokerLimits
from llmspell.security.urls.lookups import AT_ONE_TIME, MAX_HUNG
from tests.processes import until
from tests.security.broker.conftest import MakeSession


def test_a_look_up_that_hangs_is_left_behind(make: MakeSession, attempts: list[Attempt]) -> None:
    hold = threading.Event()

    def hang(host: str, port: int) -> list[str]:
        hold.wait(30)
        return []

    session = make(resolver=hang, limits={"resolve_seconds": 0.05})
    answer = session.answer({"method": "GET", "url": "http://a.test/"})
    hold.set()
    assert (answer["failed"], answer["timeout"]) == ("resolve", True)
    assert (attempts[0].outcome, attempts[0].host) == ("failed", "a.test")


def test_look_ups_of_one_tenant_leave_room_for_others() -> None:
    hold = threading.Event()

    def hang(host: str, port: int) -> list[str]:
        if host == "slow.test":
            hold.wait(30)
        return ["10.0.0.1"]  # refused before anything is connected to

    broker = Broker([".test"], resolver=hang, limits=BrokerLimits(resolve_seconds=0.05))
    for _ in range(AT_ONE_TIME // MAX_HUNG):
        with broker.session(tenant="greedy") as session:
            for _ in range(MAX_HUNG):
                answer = session.answer({"method": "GET", "url": "http://slow.test/"})
                assert answer["failed"] == "resolve"
    for tenant, outcome in (
        ("greedy", ("resolve", None)),
        ("other", (None, "address")),
        (None, (None, "address")),
    ):
        if tenant != "greedy":
            broker._resolver._seconds = 60  # they are answered at once, as fast as that may be
        with broker.session(tenant=tenant) as session:
            answer = session.answer({"method": "GET", "url": "http://quick.test/"})
        assert (answer.get("failed"), answer.get("refused")) == outcome, tenant
    hold.set()


def test_a_session_leaves_only_a_few_look_ups_behind(make: MakeSession) -> None:
    hold, started = threading.Event(), []

    def hang(host: str, port: int) -> list[str]:
        started.append(host)
        hold.wait(30)
        return []

    session = make((".test",), resolver=hang, limits={"resolve_seconds": 0.01})
    for at in range(20):
        answer = session.answer({"method": "GET", "url": f"http://n{at}.test/"})
        assert answer["failed"] == "resolve"
    until(lambda: len(started) == MAX_HUNG)  # the last thread may only begin now
    hold.set()


def test_a_name_of_very_many_addresses_has_none(make: MakeSession) -> None:
    many = [f"8.8.{at // 250}.{at % 250}" for at in range(1000)]
    session = make(resolver=lambda host, port: many)
    assert session.answer({"method": "GET", "url": "http://a.test/"})["failed"] == "resolve"
