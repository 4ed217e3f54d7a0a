"""Look-ups end in time, whatever the resolver does."""

from __future__ import annotations

import threading

import pytest

from llmspell.security.urls import lookups
from llmspell.security.urls.lookups import AT_ONE_TIME, BoundedResolver, Remembered
from tests.processes import until


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
    until(lambda: len(started) == AT_ONE_TIME)  # the last thread may only begin now
    hold.set()
    assert BoundedResolver(hang, 10)("a.test", 80) == ("8.8.8.8",)


def test_room_comes_back() -> None:
    resolver = BoundedResolver(lambda host, port: ["8.8.8.8"], 5)
    for _ in range(3 * AT_ONE_TIME):
        assert resolver("a.test", 80, tenant="acme") == ("8.8.8.8",)


@pytest.mark.parametrize("failure", [OSError("no such name"), ValueError("x"), KeyError("x")])
def test_a_resolver_that_fails_is_an_oserror(failure: Exception) -> None:
    def fail(host: str, port: int) -> list[str]:
        raise failure

    with pytest.raises(OSError, match=r"no such name|the resolver raised"):
        BoundedResolver(fail, 5)("a.test", 80)


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


@pytest.mark.parametrize("begun", [False, True])
def test_an_interrupt_as_a_look_up_starts_leaves_room(
    monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        if begun:
            start(thread)
            thread.join()
        raise KeyboardInterrupt

    resolver = BoundedResolver(lambda host, port: ["8.8.8.8"], 5)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", interrupted)
        for _ in range(AT_ONE_TIME + 1):
            with pytest.raises(KeyboardInterrupt):
                resolver("a.test", 80)
    assert resolver("a.test", 80) == ("8.8.8.8",)
