"""No text is embedded twice, however many ask for it, and nothing false is kept."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmspell import EmbeddingCacheSettings, errors
from llmspell.rag.cache import EmbeddingCache, flights
from llmspell.rag.cache.entry import encode
from llmspell.tenancy.ports import CacheOwner, EmbeddingModel
from tests.collected import left_pending
from tests.processes import until
from tests.rag.cache.owners import MODEL, Model, owner, within_seconds
from tests.tenancy.texts import DIM, embed

Open = Callable[..., EmbeddingCache]


@pytest.fixture
def make() -> Iterator[Open]:
    opened: list[EmbeddingCache] = []

    def make(shared: Path | None = None, **given: object) -> EmbeddingCache:
        opened.append(EmbeddingCache(EmbeddingCacheSettings(**given), shared=shared))  # type: ignore[arg-type]
        return opened[-1]

    yield make
    for cache in opened:
        cache.close()


def in_either_form(
    cache: EmbeddingCache, of: CacheOwner, texts: list[str], model: Model, is_async: bool
) -> np.ndarray:
    """What the cache gives of queries, called or awaited."""

    async def amodel(texts: Sequence[str]) -> np.ndarray:
        return model(texts)

    if is_async:
        return asyncio.run(cache.aembed(of, MODEL, "query", texts, amodel))
    return cache.embed(of, MODEL, "query", texts, model)


def test_texts_are_embedded_once_and_come_in_order(tmp_path: Path, make: Open) -> None:
    cache, model, acme = make(), Model(), owner(tmp_path)
    texts = ["one", "two", "one", "three"]
    np.testing.assert_array_equal(cache.embed(acme, MODEL, "query", texts, model), embed(texts))
    texts = ["three", "four", "two"]
    np.testing.assert_array_equal(cache.embed(acme, MODEL, "query", texts, model), embed(texts))
    assert model.asked == ["one", "two", "three", "four"]
    stats = cache.stats()
    assert (stats.memory_hits, stats.shared, stats.misses) == (2, 1, 4)
    assert stats.hit_share == 3 / 7


def test_what_decides_the_vector_is_in_the_key(tmp_path: Path, make: Open) -> None:
    cache, model, acme = make(), Model(), owner(tmp_path)
    for other in (
        MODEL,
        MODEL._replace(provider="other"),
        MODEL._replace(model_id="other"),
        # The same letters, divided otherwise.
        EmbeddingModel("testl", "ines", DIM),
    ):
        cache.embed(acme, other, "query", ["text"], model)
    cache.embed(acme, MODEL, "passage", ["text"], model)
    cache.embed(owner(tmp_path, "other"), MODEL, "query", ["text"], model)
    assert model.asked == ["text"] * 6
    long = MODEL._replace(dim=2 * DIM)
    twice = np.hstack([embed(["text"])] * 2)
    np.testing.assert_array_equal(
        cache.embed(acme, long, "query", ["text"], lambda texts: twice), twice
    )
    assert cache.stats().misses == 7


def test_disk_serves_after_a_restart(tmp_path: Path, make: Open) -> None:
    model, acme = Model(), owner(tmp_path)
    first = make()
    made = first.embed(acme, MODEL, "passage", ["one", "two"], model)
    first.close()
    second = make()
    np.testing.assert_array_equal(
        second.embed(acme, MODEL, "passage", ["two", "one"], model), made[::-1]
    )
    assert model.asked == ["one", "two"]
    assert second.stats().disk_hits == 2
    second.embed(acme, MODEL, "passage", ["one"], model)
    assert second.stats().memory_hits == 1


def test_old_vectors_are_made_anew(tmp_path: Path, make: Open) -> None:
    model, acme = Model(), owner(tmp_path)
    first = make()
    first.embed(acme, MODEL, "query", ["one"], model)
    first.close()
    second = make(ttl=1e-6)
    for _ in range(2):
        second.embed(acme, MODEL, "query", ["one"], model)
    assert model.asked == ["one"] * 3


def test_callers_at_a_time_have_a_text_embedded_once(tmp_path: Path, make: Open) -> None:
    cache, model, acme = make(), Model(), owner(tmp_path)
    model.gate = threading.Event()
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(cache.embed, acme, MODEL, "query", ["one", "two"], model)
        assert model.entered.wait(30)
        others = [
            pool.submit(cache.embed, acme, MODEL, "query", ["two", "three"], model)
            for _ in range(6)
        ]
        model.gate.set()
        np.testing.assert_array_equal(first.result(30), embed(["one", "two"]))
        for other in others:
            np.testing.assert_array_equal(other.result(30), embed(["two", "three"]))
    assert sorted(model.asked) == ["one", "three", "two"]
    assert cache.stats().misses == 3


def test_text_that_came_in_between_is_not_embedded_again_and_counted_once(
    tmp_path: Path, make: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, model, acme = make(), Model(), owner(tmp_path)
    look = EmbeddingCache._look

    def overtaken(self: EmbeddingCache, asked: Any) -> None:
        look(self, asked)
        monkeypatch.setattr(EmbeddingCache, "_look", look)
        self.embed(acme, MODEL, "query", ["one"], model)  # as another thread would

    monkeypatch.setattr(EmbeddingCache, "_look", overtaken)
    found = cache.embed(acme, MODEL, "query", ["one", "two"], model)
    np.testing.assert_array_equal(found, embed(["one", "two"]))
    assert model.asked == ["one", "two"]
    stats = cache.stats()
    assert (stats.memory_hits, stats.disk_hits, stats.shared, stats.misses) == (0, 0, 1, 2)


@pytest.mark.parametrize("is_async", [False, True])
def test_text_that_came_in_between_is_found_though_memory_let_go_of_it(
    tmp_path: Path, make: Open, monkeypatch: pytest.MonkeyPatch, is_async: bool
) -> None:
    cache, model, acme = make(memory_entries=1), Model(), owner(tmp_path)
    look = EmbeddingCache._look

    def overtaken(self: EmbeddingCache, asked: Any) -> None:
        look(self, asked)
        monkeypatch.setattr(EmbeddingCache, "_look", look)
        for text in ("one", "other"):
            self.embed(acme, MODEL, "query", [text], model)

    monkeypatch.setattr(EmbeddingCache, "_look", overtaken)
    in_either_form(cache, acme, ["one", "other"], model, is_async)
    assert model.asked == ["one", "other"]
    stats = cache.stats()
    assert (stats.memory_hits + stats.disk_hits, stats.shared, stats.misses) == (0, 2, 2)


@pytest.mark.parametrize("is_async", [False, True])
def test_text_that_came_in_behind_memorys_answer_is_not_embedded_again_without_a_disk(
    tmp_path: Path, make: Open, monkeypatch: pytest.MonkeyPatch, is_async: bool
) -> None:
    cache, model, acme = make(disk_bytes=0), Model(), owner(tmp_path)
    memory = EmbeddingCache._asked

    def overtaken(self: EmbeddingCache, *given: Any) -> Any:
        asked = memory(self, *given)
        monkeypatch.setattr(EmbeddingCache, "_asked", memory)
        self.embed(acme, MODEL, "query", ["one"], model)  # as another thread would
        return asked

    monkeypatch.setattr(EmbeddingCache, "_asked", overtaken)
    found = in_either_form(cache, acme, ["one", "two"], model, is_async)
    np.testing.assert_array_equal(found, embed(["one", "two"]))
    assert model.asked == ["one", "two"]
    stats = cache.stats()
    assert (stats.memory_hits, stats.shared, stats.misses) == (0, 1, 2)


def test_callers_who_want_each_others_texts_dont_wait_in_a_circle(
    tmp_path: Path, make: Open
) -> None:
    cache, acme = make(), owner(tmp_path)
    models = [Model(), Model()]
    both = threading.Barrier(2)
    orders = [["x", "y"], ["y", "x"]]

    def ask(number: int) -> np.ndarray:
        both.wait(30)
        return cache.embed(acme, MODEL, "query", orders[number], models[number])

    with ThreadPoolExecutor(2) as pool:
        for number, found in enumerate(pool.map(ask, range(2), timeout=60)):
            np.testing.assert_array_equal(found, embed(orders[number]))
    assert sorted(models[0].asked + models[1].asked) == ["x", "y"]


def test_model_that_asks_for_what_it_embeds_doesnt_wait_for_itself(
    tmp_path: Path, make: Open
) -> None:
    cache, model, acme = make(), Model(), owner(tmp_path)

    def asking(texts: Sequence[str]) -> np.ndarray:
        # As one that lets a helper do part of the work, in another thread.
        work = asyncio.to_thread(cache.embed, acme, MODEL, "query", list(texts), model)
        np.testing.assert_array_equal(asyncio.run(work), embed(texts))
        return cache.embed(acme, MODEL, "query", [*texts, "more"], model)[:-1]

    found = within_seconds(lambda: cache.embed(acme, MODEL, "query", ["one", "two"], asking))
    np.testing.assert_array_equal(found, embed(["one", "two"]))
    assert model.asked == ["one", "two", "more"]


def test_models_that_ask_for_what_each_other_embeds_dont_wait_in_a_circle(
    tmp_path: Path, make: Open
) -> None:
    cache, acme, both = make(), owner(tmp_path), threading.Barrier(2)

    def ask(mine: str, other: str) -> np.ndarray:
        def asking(texts: Sequence[str]) -> np.ndarray:
            both.wait(20)  # each is under way when the other asks for it
            cache.embed(acme, MODEL, "query", [other], Model())
            return embed(texts)

        return cache.embed(acme, MODEL, "query", [mine], asking)

    calls = [threading.Thread(target=ask, args=names, daemon=True) for names in ("xy", "yx")]
    for call in calls:
        call.start()
    for call in calls:
        call.join(20)
        assert not call.is_alive()


def test_who_waits_too_long_for_another_embeds_for_itself(
    tmp_path: Path, make: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flights, "PATIENCE_S", 0.05)
    cache, stuck, working, acme = make(), Model(), Model(), owner(tmp_path)
    stuck.gate = threading.Event()
    # So many that who waited for each would wait longer than the one who embeds, who then fails.
    texts = [f"text {number}" for number in range(1_000)]

    async def embedded(texts: Sequence[str]) -> np.ndarray:
        return working(texts)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(cache.embed, acme, MODEL, "query", texts, stuck)
        assert stuck.entered.wait(30)
        np.testing.assert_array_equal(
            cache.embed(acme, MODEL, "query", texts[1:], working), embed(texts[1:])
        )
        asked = cache.aembed(acme, MODEL, "query", texts[:1], embedded)
        np.testing.assert_array_equal(asyncio.run(asked), embed(texts[:1]))
        stuck.gate.set()
        first.result(30)
    assert working.asked == texts[1:] + texts[:1]


def test_failure_is_raised_and_not_kept_and_others_embed_for_themselves(
    tmp_path: Path, make: Open
) -> None:
    cache, failing, working, acme = make(), Model(), Model(), owner(tmp_path)
    failing.gate, failing.error = threading.Event(), errors.EmbeddingError("the model failed")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.embed, acme, MODEL, "query", ["one"], failing)
        assert failing.entered.wait(30)
        second = pool.submit(cache.embed, acme, MODEL, "query", ["one"], working)
        failing.gate.set()
        with pytest.raises(errors.EmbeddingError):
            first.result(30)
        np.testing.assert_array_equal(second.result(30), embed(["one"]))
    assert working.asked == ["one"]


def test_vectors_that_arent_finite_are_given_and_not_kept(tmp_path: Path, make: Open) -> None:
    cache, acme = make(), owner(tmp_path)

    def broken(texts: object) -> np.ndarray:
        return np.full((1, DIM), np.nan, np.float32)

    assert np.isnan(cache.embed(acme, MODEL, "query", ["one"], broken)).all()
    assert cache.stats().memory_entries == 0


def test_vectors_of_another_shape_are_refused(tmp_path: Path, make: Open) -> None:
    cache, acme = make(), owner(tmp_path)
    with pytest.raises(errors.ShapeError, match="gave vectors of shape"):
        cache.embed(acme, MODEL, "query", ["one", "two"], lambda texts: embed(texts)[:1])
    assert cache.stats().memory_entries == 0


def test_answer_doesnt_change_what_is_kept(tmp_path: Path, make: Open) -> None:
    cache, model, acme = make(), Model(), owner(tmp_path)
    cache.embed(acme, MODEL, "query", ["one"], model)[:] = 0
    np.testing.assert_array_equal(cache.embed(acme, MODEL, "query", ["one"], model), embed(["one"]))


class Disk:
    """One that writes nothing before it is let."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.may_end = threading.Event()

    def encode(self, *given: Any) -> bytes:
        self.begun.set()
        assert self.may_end.wait(60)
        return encode(*given)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk()
    monkeypatch.setattr("llmspell.rag.cache.disk.encode", disk.encode)
    yield disk
    disk.may_end.set()


def test_more_than_may_wait_for_the_disk_is_dropped_and_counted(
    tmp_path: Path, make: Open, slow: Disk
) -> None:
    cache, model, acme = make(max_pending=3), Model(), owner(tmp_path)
    cache.embed(acme, MODEL, "passage", ["being written"], model)
    assert slow.begun.wait(30)
    cache.embed(acme, MODEL, "passage", [f"text {number}" for number in range(9)], model)
    slow.may_end.set()
    cache.flush()
    stats = cache.stats()
    assert (stats.disk_entries, stats.dropped) == (4, 6)


def test_flush_ends_though_a_call_comes_behind_the_close(
    tmp_path: Path, make: Open, slow: Disk
) -> None:
    cache, model, acme = make(), Model(), owner(tmp_path)
    model.gate = threading.Event()
    late = threading.Thread(
        target=cache.embed, args=(acme, MODEL, "query", ["late"], model), daemon=True
    )
    late.start()
    assert model.entered.wait(30)
    cache.embed(acme, MODEL, "query", ["being written"], Model())
    assert slow.begun.wait(30)
    ends = [threading.Thread(target=end, daemon=True) for end in (cache.flush, cache.close)]
    for end in ends:
        end.start()
    until(cache._disks._pending.qsize)  # what ends the thread that writes
    model.gate.set()
    late.join()
    slow.may_end.set()
    for end in ends:
        end.join(20)
        assert not end.is_alive()


def test_answer_doesnt_wait_for_what_is_being_written(
    tmp_path: Path, make: Open, slow: Disk
) -> None:
    # One file may be open at a time, and it is being written to.
    cache, model = make(max_open=1), Model()
    acme, other = owner(tmp_path), owner(tmp_path, "other")
    cache.embed(acme, MODEL, "query", ["one"], model)
    assert slow.begun.wait(30)
    for one in (acme, other):
        within_seconds(partial(cache.embed, one, MODEL, "query", ["two"], model))
    slow.may_end.set()
    cache.flush()
    for one in (acme, other):
        cache.embed(one, MODEL, "query", ["two"], model)
    assert model.asked == ["one", "two", "two"]
    assert cache.stats().dropped == 0


def test_what_waits_for_the_disk_is_found_though_memory_let_go_of_it(
    tmp_path: Path, make: Open
) -> None:
    cache, model, acme = make(memory_entries=1), Model(), owner(tmp_path)
    texts = [f"text {number}" for number in range(300)]
    for _ in range(2):
        for text in texts:
            np.testing.assert_array_equal(
                cache.embed(acme, MODEL, "passage", [text], model), embed([text])
            )
    assert model.asked == texts
    cache.flush()
    assert cache.stats().disk_entries == 300


def test_disk_that_cant_be_used_costs_hits_and_not_answers(tmp_path: Path, make: Open) -> None:
    cache, model, acme = make(memory_entries=1), Model(), owner(tmp_path)
    (acme.directory / "embeddings").write_text("not a directory")
    for _ in range(2):
        np.testing.assert_array_equal(
            cache.embed(acme, MODEL, "query", ["a", "b", "c"], model), embed(["a", "b", "c"])
        )
        cache.flush()
    assert cache.stats().dropped > 0


def test_no_more_files_are_open_than_may_be(tmp_path: Path, make: Open) -> None:
    cache, model = make(max_open=2, memory_entries=1), Model()
    owners = [owner(tmp_path, f"tenant{number}") for number in range(5)]
    for one in owners:
        cache.embed(one, MODEL, "query", ["text"], model)
        cache.flush()
    assert cache.stats().disk_entries == 2
    for one in owners:
        cache.embed(one, MODEL, "query", ["text"], model)
    assert len(model.asked) == 5


def test_settings_are_as_the_reference_says_unless_others_are_given() -> None:
    assert EmbeddingCacheSettings() == EmbeddingCacheSettings(
        memory_bytes=64 << 20,
        memory_entries=100_000,
        disk_bytes=256 << 20,
        disk_dtype="float32",
        compress_over=8_192,
        ttl=None,
        max_pending=4_096,
        max_open=64,
        shared_by=frozenset(),
        redis_url=None,
        redis_timeout=0.05,
        redis_ttl=7 * 86_400.0,
        redis_namespace="llmspell",
    )
    assert flights.PATIENCE_S == 60


def test_closed_cache_says_so(tmp_path: Path, make: Open) -> None:
    cache, acme = make(), owner(tmp_path)
    cache.close()
    cache.close()
    with pytest.raises(errors.ClosedError):
        cache.embed(acme, MODEL, "query", ["one"], Model())


@pytest.mark.parametrize(
    "wrong",
    [
        {"memory_bytes": 10},
        {"memory_entries": 0},
        {"disk_bytes": -1},
        {"disk_dtype": "int8"},
        {"ttl": 0},
        {"ttl": float("nan")},
        {"max_pending": True},
        {"shared_by": "acme"},
        {"redis_url": 6379},
        {"redis_timeout": 0},
        {"redis_ttl": None},
        {"redis_namespace": "any*"},
    ],
)
def test_settings_that_cant_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(errors.ConfigError):
        EmbeddingCacheSettings(**wrong)  # type: ignore[arg-type]


def test_tenants_that_were_dropped_leave_nothing_and_keep_nothing(
    tmp_path: Path, make: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmspell.rag.cache.compartments._KNOWN_GONE", 3)
    cache, model = make(disk_bytes=0), Model()
    owners = [owner(tmp_path, f"tenant {number}") for number in range(9)]
    for one in owners:
        cache.embed(one, MODEL, "query", ["text"], model)
        cache.forget(one)
    known = cache._compartments
    assert (len(known._used), len(known._resting), len(known._gone)) == (0, 0, 3)
    # A call that was on its way.
    cache.embed(owners[-1], MODEL, "query", ["text"], model)
    assert cache.stats().memory_entries == 0


def test_call_that_the_collector_ends_while_another_begins_holds_up_neither_it_nor_the_next(
    tmp_path: Path, make: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, model, acme = make(), Model(), owner(tmp_path)

    async def calls(at: asyncio.Event) -> None:
        with cache._flights.board([b"one"], {}, asyncio.get_running_loop()):
            at.set()
            await asyncio.Future()

    class Collecting(flights.Flight):
        def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
            gc.collect()
            super().__init__(loop)

    with left_pending(calls):
        monkeypatch.setattr(flights, "Flight", Collecting)
        within_seconds(lambda: cache.embed(acme, MODEL, "query", ["two"], model))
    with cache._flights.board([b"one"], {}) as (mine, _):
        assert mine == [b"one"]


def test_interrupt_while_a_call_begins_keeps_no_other_one_waiting(
    make: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = make()

    class Interrupted(flights.Flight):
        def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
            super().__init__(loop)
            if cache._flights._under_way:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(flights, "Flight", Interrupted)
        with pytest.raises(KeyboardInterrupt), cache._flights.board([b"one", b"two"], {}):
            pass
    with cache._flights.board([b"one", b"two"], {}) as (mine, _):
        assert mine == [b"one", b"two"]
