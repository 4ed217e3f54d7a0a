"""Who is told of new values, and in which order."""

from __future__ import annotations

import threading

import pytest

from llmspell.errors import (
    SecretUnavailable,
)
from llmspell.security import Secret, SecretStore
from tests.security.secrets.places import Clock, Shelf


def test_a_callback_that_takes_its_time_holds_up_nobody_else() -> None:
    shelf, entered, leave = Shelf(a="1"), threading.Event(), threading.Event()
    store = SecretStore([shelf], environ={})

    def reconnect(_: Secret[str]) -> None:
        entered.set()
        assert leave.wait(30)

    store.subscribe("name:a", reconnect)
    shelf.values["a"] = "2"
    rotating = threading.Thread(target=store.refresh)
    rotating.start()
    assert entered.wait(30)
    assert store.get("name:a").reveal() == "2"
    leave.set()
    rotating.join()


def test_subscribers_are_told_of_new_values_once() -> None:
    clock, shelf, heard = Clock(), Shelf(a="1", b="1"), list[str]()
    store = SecretStore([shelf], environ={}, ttl=10, clock=clock)
    subscription = store.subscribe("name:a", lambda new: heard.append(new.reveal()))
    store.refresh()
    shelf.values |= {"a": "2", "b": "2"}
    store.get("name:b")
    assert store.get("name:a").reveal() == "1" and heard == []
    clock.now += 10
    assert store.get("name:a").reveal() == "2" and heard == ["2"]
    store.get("shelf:a")  # the same place, and the same value
    shelf.values["a"] = "3"
    store.refresh()
    assert heard == ["2", "3"]
    assert store.get("name:b").reveal() == "2"
    with subscription:
        pass
    subscription.cancel()
    shelf.values["a"] = "4"
    store.refresh("name:a")
    assert heard == ["2", "3"] and store.get("name:a").reveal() == "4"


def test_a_callback_that_fails_is_logged_without_what_it_says(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shelf, heard = Shelf(a="1"), list[Secret[str]]()
    store = SecretStore([shelf], environ={})

    def broken(new: Secret[str]) -> None:
        raise RuntimeError(new.reveal())

    store.subscribe("name:a", broken)
    store.subscribe("name:a", heard.append)
    shelf.values["a"] = "hunter22"
    store.refresh()
    assert heard == [Secret("hunter22")]
    assert "name:a raised RuntimeError" in caplog.text and "hunter22" not in caplog.text


def test_refresh_tries_all_that_is_subscribed_to_and_tells_of_each_failure() -> None:
    first, second = Shelf("first", a="1"), Shelf("second", a="1")
    store = SecretStore([first, second], environ={})
    for text in ("first:a", "second:a"):
        store.subscribe(text, print)
    first.down = second.down = True
    with pytest.raises(SecretUnavailable) as failed:
        store.refresh()
    assert failed.value.__notes__ == ["also SecretUnavailable: the shelf is down"]


def test_the_last_value_that_is_told_is_the_newest_when_readers_overlap() -> None:
    shelf, heard = Shelf(a="0"), list[str]()
    store = SecretStore([shelf], environ={})
    store.subscribe("name:a", lambda new: heard.append(new.reveal()))

    def rotate(worker: int) -> None:
        for turn in range(50):
            shelf.values["a"] = f"{worker}.{turn}"
            store.refresh("name:a")

    threads = [threading.Thread(target=rotate, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard[-1] == store.get("name:a").reveal()
