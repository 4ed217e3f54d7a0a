"""One reading at a time, values for their time and no longer."""

from __future__ import annotations

import gc
import multiprocessing
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from llmspell.errors import ConfigError, SecretNotFound, SecretUnavailable
from llmspell.security import Secret, SecretRef, SecretStore
from llmspell.security.secrets import cache as cache_module
from llmspell.security.secrets.backend import PerProcess
from llmspell.security.secrets.cache import elapsed
from tests.security.secrets.places import Clock, Shelf, forks


def make(shelf: Shelf, *, ttl: float = 10, stale_grace: float = 0) -> tuple[SecretStore, Clock]:
    clock = Clock()
    made = SecretStore([shelf], environ={}, ttl=ttl, stale_grace=stale_grace, clock=clock)
    return made, clock


def test_a_value_is_used_until_its_expiry_and_not_at_it() -> None:
    shelf = Shelf(a="1")
    store, clock = make(shelf)
    store.get("name:a")
    shelf.values["a"] = "2"
    clock.now += 9.999
    assert store.get("name:a").reveal() == "1"
    clock.now += 0.001
    assert store.get("name:a").reveal() == "2"
    assert shelf.asked == ["a", "a"]


def test_each_reference_has_its_own_expiry() -> None:
    shelf = Shelf(a="1", b="1")
    store, clock = make(shelf)
    store.get("name:a")
    clock.now += 6
    store.get("name:b")
    clock.now += 6
    store.get("name:a"), store.get("name:b")
    assert shelf.asked == ["a", "b", "a"]


def test_the_time_that_reading_takes_counts() -> None:
    shelf = Shelf(a="1")
    store, clock = make(shelf)
    read = shelf.read

    def slow(ref: SecretRef) -> Secret[str] | None:
        clock.now += 9
        return read(ref)

    shelf.read = slow  # type: ignore[method-assign]
    store.get("name:a")
    clock.now += 1
    store.get("name:a")
    assert len(shelf.asked) == 2


def test_no_value_is_kept_for_no_time() -> None:
    shelf = Shelf(a="1")
    store, _ = make(shelf, ttl=0)
    store.get("name:a"), store.get("name:a")
    assert len(shelf.asked) == 2


def test_past_its_expiry_a_value_is_used_within_the_grace_alone() -> None:
    shelf = Shelf(a="1")
    strict, clock = make(shelf)
    strict.get("name:a")
    lenient, later = make(shelf, stale_grace=5)
    lenient.get("name:a")
    shelf.down = True
    clock.now += 10
    with pytest.raises(SecretUnavailable):
        strict.get("name:a")
    later.now += 14.9
    assert lenient.get("name:a").reveal() == "1"
    later.now += 0.1
    with pytest.raises(SecretUnavailable):
        lenient.get("name:a")


@pytest.mark.parametrize("gone", [None, SecretNotFound("gone"), ValueError("broken")])
def test_the_grace_is_for_backends_that_are_down_and_no_other_reason(
    gone: Exception | None,
) -> None:
    shelf = Shelf(a="1")
    store, clock = make(shelf, stale_grace=100)
    store.get("name:a")
    clock.now += 11
    shelf.error = gone
    del shelf.values["a"]
    for _ in range(2):
        with pytest.raises((SecretNotFound, ValueError)):
            store.get("name:a")
    shelf.error, shelf.down = None, True
    with pytest.raises(SecretUnavailable):  # what was gone doesn't come back
        store.get("name:a")


def test_misses_are_not_kept() -> None:
    shelf = Shelf()
    store, _ = make(shelf)
    with pytest.raises(SecretNotFound):
        store.get("name:a")
    shelf.values["a"] = "1"
    assert store.get("name:a").reveal() == "1"


def test_after_refresh_nothing_older_is_used() -> None:
    shelf = Shelf(a="1")
    store, _ = make(shelf)
    store.get("name:a")
    shelf.down = True
    for refresh in (lambda: store.refresh("name:a"), lambda: store.get("name:a")):
        with pytest.raises(SecretUnavailable):
            refresh()
    shelf.down = False
    shelf.values["a"] = "2"
    assert store.get("name:a").reveal() == "2"
    shelf.values["a"] = "3"
    store.refresh()
    assert store.get("name:a").reveal() == "3"


def test_many_threads_make_one_reading() -> None:
    shelf = Shelf(a="1")
    shelf.gate = threading.Event()
    store, _ = make(shelf)
    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(store.get, "name:a") for _ in range(16)]
        shelf.entered.acquire()
        shelf.gate.set()
        assert {one.result() for one in asked} == {Secret("1")}
    assert shelf.asked == ["a"]


def test_those_who_wait_get_the_error_too_and_the_next_reads_again() -> None:
    shelf = Shelf(a="1")
    shelf.gate, shelf.down = threading.Event(), True
    store, _ = make(shelf)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(store.get, "name:a") for _ in range(4)]
        shelf.entered.acquire()
        shelf.gate.set()
        for one in asked:
            assert isinstance(one.exception(), SecretUnavailable)
    shelf.down = False
    assert store.get("name:a").reveal() == "1"


@pytest.mark.parametrize("which", [None, "name:a"])
def test_a_reading_that_began_before_a_refresh_is_not_kept(which: str | None) -> None:
    shelf = Shelf(a="old")
    shelf.gate = threading.Event()
    store, _ = make(shelf)
    with ThreadPoolExecutor(2) as pool:
        before = pool.submit(store.get, "name:a")
        shelf.entered.acquire()
        gate, shelf.gate = shelf.gate, None
        shelf.values["a"] = "new"
        store.refresh(which)
        assert store.get("name:a").reveal() == "new"
        gate.set()
        assert before.result().reveal() == "old"  # asked for before the change
    assert store.get("name:a").reveal() == "new"


class _Interrupting(Shelf):
    def read(self, ref: SecretRef) -> Secret[str] | None:
        value = super().read(ref)
        if len(self.asked) == 1:
            raise KeyboardInterrupt
        return value


def test_who_waits_for_a_reading_that_was_interrupted_reads_itself() -> None:
    shelf = _Interrupting(a="1")
    shelf.gate = threading.Event()
    store, _ = make(shelf)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(store.get, "name:a")
        shelf.entered.acquire()
        second = pool.submit(store.get, "name:a")
        shelf.gate.set()
        assert isinstance(first.exception(), KeyboardInterrupt)
        assert second.result().reveal() == "1"


def test_a_secret_that_needs_itself_is_told_and_not_waited_for() -> None:
    shelf = Shelf(a="1")
    store, _ = make(shelf)
    shelf.read = lambda ref: store.get("name:a")  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match="itself"):
        store.get("name:a")


def test_a_reading_without_end_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cache_module, "WAIT_SECONDS", 0.001)
    shelf = Shelf(a="1")
    shelf.gate = threading.Event()
    store, _ = make(shelf)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(store.get, "name:a")
        shelf.entered.acquire()
        with pytest.raises(SecretUnavailable, match="another thread"):
            store.get("name:a")
        gate, shelf.gate = shelf.gate, None
        assert store.get("name:a").reveal() == "1"  # by a reading of its own
        gate.set()
        assert first.result().reveal() == "1"


def test_what_is_cached_is_bounded_and_expired_values_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmspell.security.secrets.reading.CACHED", 3)
    shelf = Shelf(**dict.fromkeys("abcd", "1"))
    store, clock = make(shelf)
    for name in "abc":
        store.get(f"name:{name}")
    store.get("name:a")
    store.get("name:d")  # in place of b, which was used longest ago
    for name in "acd":
        store.get(f"name:{name}")
    assert len(shelf.asked) == 4
    clock.now += 10
    store.get("name:a")
    entries = store._reading._cache._state.get().entries
    assert [[str(ref) for ref in places] for places in entries] == [["env:A_API_KEY", "shelf:a"]]


class Held:
    """Something that a process has."""


def _ask(store: SecretStore) -> None:
    assert store.get("name:a").reveal() == "2"


@forks
def test_a_forked_child_waits_for_no_thread_of_its_parent() -> None:
    shelf = Shelf(a="1")
    store, _ = make(shelf)
    store.get("name:a")
    shelf.values["a"] = "2"
    state, telling = store._reading._cache._state.get(), store._reading._telling.get()
    child = multiprocessing.get_context("fork").Process(target=_ask, args=(store,))
    with state.lock, telling:
        child.start()
        child.join(30)
    assert child.exitcode == 0
    assert store.get("name:a").reveal() == "1"


def _has_another(per_process: PerProcess[Held], parents: weakref.ref[Held]) -> None:
    made = per_process.get()
    assert made is per_process.get()
    gc.collect()
    assert parents() is None, "a child keeps what its parent had"


@forks
@pytest.mark.parametrize("is_numbered_alike", [False, True])
def test_a_forked_child_keeps_nothing_of_its_parent(
    is_numbered_alike: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_numbered_alike:  # as process 1 of a namespace of its own is
        monkeypatch.setattr("llmspell.security.secrets.backend.os.getpid", lambda: 1)
    per_process = PerProcess(Held)
    made = per_process.get()
    reference = weakref.ref(made)
    del made
    child = multiprocessing.get_context("fork").Process(
        target=_has_another, args=(per_process, reference)
    )
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert reference() is per_process.get()


def test_the_clock_does_not_go_back() -> None:
    times = [elapsed() for _ in range(100)]
    assert times == sorted(times) and times[-1] > 0
