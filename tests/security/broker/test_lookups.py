"""Look-ups end in time, whatever the resolver does."""

from __future__ import annotations

import threading

import pytest

from llmspell.security import Attempt, Broker, BrokerLimits
from llmspell.security.broker import lookups
from llmspell.security.broker.lookups import AT_ONE_TIME, MAX_HUNG, BoundedResolver, Remembered
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


def test_look_ups_that_hang_are_only_so_many() -> None:
    hold, started = threading.Event(), []

    def hang(host: str, port: int) -> list[str]:
        started.append(host)
        hold.wait(30)
        return ["8.8.8.8"]

    resolver = BoundedResolver(hang, 0.01)
    for _ in range(AT_ONE_TIME):
        with pytest.raises(TimeoutError, match="no answer"):
            resolver("a.test", 80)
    with pytest.raises(TimeoutError, match="look-ups hang"):
        resolver("a.test", 80)
    assert len(started) == AT_ONE_TIME
    hold.set()
    assert BoundedResolver(hang, 10)("a.test", 80) == ("8.8.8.8",)


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
        ("", (None, "address")),
    ):
        with broker.session(tenant=tenant) as session:
            answer = session.answer({"method": "GET", "url": "http://quick.test/"})
        assert (answer.get("failed"), answer.get("refused")) == outcome, tenant
    hold.set()


def test_room_comes_back() -> None:
    resolver = BoundedResolver(lambda host, port: ["8.8.8.8"], 5)
    for _ in range(3 * AT_ONE_TIME):
        assert resolver("a.test", 80, tenant="acme") == ("8.8.8.8",)


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
    hold.set()
    assert len(started) == MAX_HUNG


@pytest.mark.parametrize("failure", [OSError("no such name"), ValueError("x"), KeyError("x")])
def test_a_resolver_that_fails_is_an_oserror(failure: Exception) -> None:
    def fail(host: str, port: int) -> list[str]:
        raise failure

    with pytest.raises(OSError, match=r"no such name|the resolver raised"):
        BoundedResolver(fail, 5)("a.test", 80)


def test_a_name_of_very_many_addresses_has_none(make: MakeSession) -> None:
    many = [f"8.8.{at // 250}.{at % 250}" for at in range(1000)]
    session = make(resolver=lambda host, port: many)
    assert session.answer({"method": "GET", "url": "http://a.test/"})["failed"] == "resolve"


def test_answers_are_remembered_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def resolver(host: str, port: int) -> tuple[str, ...]:
        asked.append(host)
        return ("8.8.8.8",)

    remembered = Remembered(resolver)
    for _ in range(3):
        assert remembered("a.test", 80) == ("8.8.8.8",)
    assert asked == ["a.test"]
    monkeypatch.setattr(lookups, "KEPT_SECONDS", 0.0)
    for _ in range(3):
        remembered("b.test", 80)
    assert asked == ["a.test", *["b.test"] * 3]
