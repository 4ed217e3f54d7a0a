"""The tier that hosts share, on a real server: what is shared, checked, bounded and removed."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

import llmspell
from llmspell import Document, EmbeddingCacheSettings, TenantConfig, errors
from llmspell.rag.cache import EmbeddingCache, breaker
from llmspell.rag.cache.entry import Made, encode
from llmspell.rag.cache.remote import RemoteTier
from tests.processes import until
from tests.quota.redis_server import RedisServer
from tests.rag.cache.owners import MODEL, Model, owner, within_seconds
from tests.rag.cache.test_tenants import Counting
from tests.tenancy.texts import DIM, embed

Host = Callable[..., EmbeddingCache]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    started = RedisServer(tmp_path_factory.mktemp("redis"))
    yield started
    started.kill()


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
        yield client


@pytest.fixture
def given(server: RedisServer, client: redis.Redis) -> dict[str, object]:
    """Settings of a host; the server is far slower on a busy machine than its clients wait for."""
    return {"redis_url": server.url, "redis_timeout": 20.0, "disk_bytes": 0}


@pytest.fixture
def host(given: dict[str, object]) -> Iterator[Host]:
    opened: list[EmbeddingCache] = []

    def host(**other: object) -> EmbeddingCache:
        opened.append(EmbeddingCache(EmbeddingCacheSettings(**given | other)))  # type: ignore[arg-type]
        return opened[-1]

    yield host
    for cache in opened:
        cache.close()


def test_what_one_host_embeds_the_others_find(
    tmp_path: Path, host: Host, client: redis.Redis
) -> None:
    first, second, model = host(), host(disk_bytes=1 << 20), Model()
    here = owner(tmp_path)
    # A tenant of the same id, in another directory, where it has another key.
    there = owner(tmp_path, "there")._replace(id=here.id)
    texts = [f"text {number}" for number in range(300)]
    made = first.embed(here, MODEL, "query", texts, model)
    first.flush()
    found = second.embed(there, MODEL, "query", texts[::-1], model)
    np.testing.assert_array_equal(found, made[::-1])
    assert model.asked == texts
    second.flush()
    one, two = first.stats(), second.stats()
    assert (one.redis_hits, one.misses, two.redis_hits, two.misses) == (0, 300, 300, 0)
    sizes = sum(client.strlen(name) for name in client.scan_iter(count=1_000))
    assert (one.redis_written, one.redis_written_bytes) == (300, sizes)
    assert (two.redis_written, two.redis_read_bytes) == (0, sizes)
    assert (two.disk_entries, two.memory_entries, two.hit_share) == (300, 300, 1.0)
    second.embed(there, MODEL, "query", texts, model)
    assert second.stats().redis_hits == 300


def test_no_tenant_task_or_namespace_has_what_anothers_is(tmp_path: Path, host: Host) -> None:
    model, acme = Model(), owner(tmp_path)
    host().embed(acme, MODEL, "query", ["text"], model)
    host().flush()
    for cache, one, task in (
        (host(), acme, "passage"),
        (host(), owner(tmp_path, "other"), "query"),
        (host(redis_namespace="elsewhere"), acme, "query"),
        (host(shared_by=frozenset({"acme"})), acme, "query"),
    ):
        cache.embed(one, MODEL, task, ["text"], model)
        cache.flush()
    assert model.asked == ["text"] * 5
    shared = host(shared_by=frozenset({"other"}))
    shared.embed(owner(tmp_path, "other"), MODEL, "query", ["text"], model)
    assert shared.stats().redis_hits == 1


def test_entries_end_by_age(tmp_path: Path, host: Host, client: redis.Redis) -> None:
    model, acme = Model(), owner(tmp_path)
    cache = host(redis_ttl=500.0)
    cache.embed(acme, MODEL, "query", ["text"], model)
    cache.flush()
    (name,) = client.keys()
    assert 400_000 < client.pttl(name) <= 500_000
    old = host(ttl=1e-6)
    old.embed(acme, MODEL, "query", ["text"], model)
    assert model.asked == ["text", "text"]


def test_host_that_rounds_nothing_takes_nothing_that_another_rounded(
    tmp_path: Path, host: Host
) -> None:
    model, acme, text = Model(), owner(tmp_path), "a text of some letters"
    rounded = [host(disk_dtype="float16"), host(disk_dtype="float16")]
    rounded[0].embed(acme, MODEL, "query", [text], model)
    rounded[0].flush()
    exact = host()
    np.testing.assert_array_equal(exact.embed(acme, MODEL, "query", [text], model), embed([text]))
    assert (exact.stats().corrupt, model.asked) == (0, [text, text])
    exact.flush()
    np.testing.assert_array_equal(
        rounded[1].embed(acme, MODEL, "query", [text], model), embed([text])
    )
    assert (rounded[1].stats().redis_hits, model.asked) == (1, [text, text])


def nan(name: bytes) -> bytes:
    return encode(name, Made(np.full(DIM, np.nan, np.float32), 1), EmbeddingCacheSettings())


@pytest.mark.parametrize(
    "poison",
    [
        lambda raw, name: raw[:-1] + bytes([raw[-1] ^ 1]),
        lambda raw, name: raw + b"more",
        lambda raw, name: encode(b"another", Made(embed(["x"])[0], 1), EmbeddingCacheSettings()),
        lambda raw, name: nan(name),
        lambda raw, name: None,
    ],
    ids=["changed", "longer", "of another key", "nan", "another type"],
)
def test_what_the_server_gives_is_checked(
    tmp_path: Path,
    host: Host,
    client: redis.Redis,
    poison: Callable[[bytes, bytes], bytes | None],
) -> None:
    model, acme = Model(), owner(tmp_path)
    first = host()
    first.embed(acme, MODEL, "query", ["text"], model)
    first.flush()
    (name,) = client.keys()
    poisoned = poison(client.get(name), name)
    client.delete(name)
    if poisoned is None:
        client.lpush(name, "no string")
    else:
        client.set(name, poisoned)
    second = host()
    found = second.embed(acme, MODEL, "query", ["text"], model)
    np.testing.assert_array_equal(found, embed(["text"]))
    assert model.asked == ["text", "text"]
    stats = second.stats()
    assert (stats.corrupt, stats.redis_hits, stats.redis_failed) == (1, 0, 0)
    second.flush()
    third = host()
    third.embed(acme, MODEL, "query", ["text"], model)
    assert third.stats().redis_hits == 1


def test_server_that_doesnt_answer_is_left_alone_and_asked_again_when_it_does(
    tmp_path: Path, host: Host, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "FIRST_S", 1e9)
    model, acme = Model(), owner(tmp_path)
    cache = host()
    remote = cache._remote
    assert remote is not None
    patience, is_asked = remote._timeout, threading.Event()
    submit = remote._readers.submit

    def begun(*given: Any) -> Any:
        job = submit(*given)
        # A lookup that hasn't begun in time, on a busy machine, says nothing of the server.
        until(lambda: job.running() or job.done())
        is_asked.set()
        return job

    server.pause()
    try:
        remote._timeout = 0.05
        monkeypatch.setattr(remote._readers, "submit", begun)
        texts = [f"text {number}" for number in range(20)]
        for text in texts:
            is_asked.clear()
            found = cache.embed(acme, MODEL, "query", [text], model)
            np.testing.assert_array_equal(found, embed([text]))
            # The first one waited, and none after it.
            assert is_asked.is_set() == (text == texts[0])
        assert cache.stats().redis_failed == 1
        assert (cache.stats().redis_dropped, cache.stats().misses) == (20, 20)
    finally:
        server.resume()
    remote._timeout = patience
    remote._breaker._until = 0.0
    # Whoever asks has it tried, and doesn't wait for that.
    until(lambda: remote._serves(cache._compartments.shared))
    cache.embed(acme, MODEL, "query", ["after"], model)
    cache.flush()
    assert cache.stats().redis_written == 1


def test_server_that_can_be_reached_but_not_read_is_tried_ever_less(
    tmp_path: Path,
    host: Host,
    client: redis.Redis,
    server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Pauses that don't end before the test does, whatever holds it up.
    monkeypatch.setattr(breaker, "FIRST_S", 1e6)
    monkeypatch.setattr(breaker, "MOST_S", 4e6)
    may_not_read = ["+@all", "-getrange"]
    user = {"enabled": True, "passwords": ["+x"], "keys": "*"}
    client.acl_setuser("writer", commands=may_not_read, **user)
    model, acme = Model(), owner(tmp_path)
    cache = host(redis_url=server.url.replace("//", "//writer:x@"))
    remote = cache._remote
    assert remote is not None
    pauses = []
    for text in ("one", "two", "three"):
        remote._breaker._until = 0.0
        until(lambda: remote._serves(cache._compartments.shared))
        cache.embed(acme, MODEL, "query", [text], model)
        assert not remote._breaker.is_closed
        pauses.append(remote._breaker._pause)
    client.acl_setuser("writer", commands=["+@all"], **user)
    remote._breaker._until = 0.0
    until(lambda: remote._serves(cache._compartments.shared))
    cache.embed(acme, MODEL, "query", ["four"], model)
    assert [*pauses, remote._breaker._pause] == [2e6, 4e6, 4e6, 1e6]


def test_pause_of_a_server_that_fails_begins_at_a_second_and_ends_at_a_minute() -> None:
    assert (breaker.FIRST_S, breaker.MOST_S) == (1.0, 60.0)


def test_server_that_is_gone_costs_hits_and_not_answers(
    tmp_path: Path, host: Host, server: RedisServer
) -> None:
    model, acme = Model(), owner(tmp_path)
    cache = host()
    cache.embed(acme, MODEL, "query", ["before"], model)
    cache.flush()
    server.kill()
    try:
        found = cache.embed(acme, MODEL, "query", ["one", "two"], model)
        np.testing.assert_array_equal(found, embed(["one", "two"]))
        cache.flush()
        assert cache.stats().redis_failed >= 1
        assert cache.stats().redis_dropped == 2
    finally:
        server.start()


def test_server_that_takes_no_more_is_still_asked(
    tmp_path: Path, host: Host, client: redis.Redis
) -> None:
    model, acme = Model(), owner(tmp_path)
    cache = host()
    cache.embed(acme, MODEL, "query", ["one"], model)
    cache.flush()
    client.config_set("maxmemory", 1)
    try:
        cache.embed(acme, MODEL, "query", ["two", "three"], model)
        cache.flush()
        assert (cache.stats().redis_written, cache.stats().redis_dropped) == (1, 2)
        other = host()
        other.embed(acme, MODEL, "query", ["one"], model)
        assert other.stats().redis_hits == 1
        assert cache._remote is not None
        assert cache._remote._breaker.is_closed
    finally:
        client.config_set("maxmemory", 0)
    assert model.asked == ["one", "two", "three"]


def test_answer_doesnt_wait_for_what_is_being_written(
    tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = threading.Event(), threading.Event()
    store = RemoteTier._store

    def slow(self: RemoteTier, puts: Any) -> None:
        begun.set()
        assert may_end.wait(60)
        store(self, puts)

    monkeypatch.setattr(RemoteTier, "_store", slow)
    cache, model, acme = host(max_pending=1), Model(), owner(tmp_path)
    try:
        cache.embed(acme, MODEL, "query", ["one"], model)
        assert begun.wait(30)
        # One more can wait; the third is left out.
        for text in ("two", "three"):
            within_seconds(partial(cache.embed, acme, MODEL, "query", [text], model))
    finally:
        may_end.set()
    cache.flush()
    stats = cache.stats()
    assert (stats.redis_written, stats.redis_dropped, stats.misses) == (2, 1, 3)


def test_flush_ends_though_a_vector_comes_behind_the_close(
    tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def slow(self: RemoteTier, puts: Any) -> None:
        begun.set()
        assert may_end.wait(60)

    monkeypatch.setattr(RemoteTier, "_store", slow)
    cache, acme = host(), owner(tmp_path)
    remote = cache._remote
    assert remote is not None
    cache.embed(acme, MODEL, "query", ["one"], Model())
    assert begun.wait(30)
    waiting = threading.Thread(target=cache.flush, daemon=True)
    closing = threading.Thread(target=remote.close, daemon=True)
    waiting.start()
    closing.start()
    until(lambda: remote._is_closed)
    may_end.set()
    closing.join(20)
    remote._pending.put_nowait(None)  # of a call that asked whether it is closed before it was
    waiting.join(20)
    assert not waiting.is_alive()


def test_write_that_fails_in_whatever_way_keeps_no_flush_and_no_other_write(
    tmp_path: Path, host: Host, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, model, acme = host(), Model(), owner(tmp_path)

    def fail(*given: object) -> bytes:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("llmspell.rag.cache.remote.encode", fail)
        cache.embed(acme, MODEL, "query", ["one"], model)
        within_seconds(lambda: [cache.flush()])
    cache.embed(acme, MODEL, "query", ["two"], model)
    within_seconds(lambda: [cache.flush()])
    assert len(client.keys()) == 1


def test_thread_that_cannot_be_started_costs_what_was_put_and_no_answer(
    tmp_path: Path, host: Host, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, model, acme = host(), Model(), owner(tmp_path)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        cache.embed(acme, MODEL, "query", ["one"], model)
    cache.embed(acme, MODEL, "query", ["two"], model)
    within_seconds(lambda: [cache.flush()])
    assert len(client.keys()) == 1
    assert cache.stats().redis_dropped == 1


def test_url_without_the_extra_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(errors.MissingDependency, match=r"llmspell\[redis\]"):
        EmbeddingCache(EmbeddingCacheSettings(redis_url="redis://127.0.0.1:1/0"))


def test_entries_go_with_their_tenant(
    tmp_path: Path, given: dict[str, object], client: redis.Redis
) -> None:
    texts = Counting()
    settings = EmbeddingCacheSettings(**given)  # type: ignore[arg-type]
    with llmspell.open(tmp_path / "data", texts=texts, embedding_cache=settings) as db:
        assert db.embedding_cache is not None
        for name in ("acme", "other"):
            db.create_tenant(TenantConfig(id=name)).ingest(Document("doc", "one\ntwo"))
        db.embedding_cache.flush()
        assert client.dbsize() == 4
        db.drop_tenant("acme")
        db.embedding_cache.flush()
        assert client.dbsize() == 2
        db.create_tenant(TenantConfig(id="acme")).ingest(Document("doc", "one\ntwo"))
        assert texts.asked == ["one", "two"] * 3
        assert 'llmspell_embedding_cache_texts_total{result="redis"} 0.0' in db.metrics()


def test_nothing_comes_to_the_server_of_a_tenant_that_was_dropped_while_it_embedded(
    tmp_path: Path, host: Host, client: redis.Redis
) -> None:
    cache, model, acme = host(), Model(), owner(tmp_path)
    model.gate = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(cache.embed, acme, MODEL, "query", ["text"], model)
        assert model.entered.wait(30)
        cache.rest(acme.key)  # its handle was closed, and another tenant needs the place
        cache.forget(acme)
        cache.flush()
        model.gate.set()
        np.testing.assert_array_equal(asking.result(30), embed(["text"]))
    cache.flush()
    assert (client.dbsize(), cache.stats().memory_entries) == (0, 0)


def test_tenant_made_again_has_nothing_of_the_former_while_the_server_couldnt_be_told(
    tmp_path: Path,
    given: dict[str, object],
    client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(breaker, "FIRST_S", 1e9)
    texts = Counting()
    settings = EmbeddingCacheSettings(**given)  # type: ignore[arg-type]
    with llmspell.open(tmp_path / "data", texts=texts, embedding_cache=settings) as db:
        cache = db.embedding_cache
        assert cache is not None
        db.create_tenant(TenantConfig(id="acme")).ingest(Document("doc", "one"))
        cache.flush()
        remote = cache._remote
        assert remote is not None
        remote._breaker.fail()
        db.drop_tenant("acme")
        cache.flush()  # in vain
        remote._breaker.mend()  # back, before it is told
        acme = db.create_tenant(TenantConfig(id="acme"))
        acme.ingest(Document("doc", "one"))
        assert texts.asked == ["one", "one"]
        assert client.dbsize() == 1
        remote._send(None)
        cache.flush()
        assert client.dbsize() == 0
        acme.ingest(Document("doc", "two"))
        cache.flush()
        assert client.dbsize() == 1


def test_settings_are_checked_and_hide_the_password() -> None:
    settings = EmbeddingCacheSettings(redis_url="redis://:secret@127.0.0.1:1/0")
    assert "secret" not in repr(settings)
    # What follows a '#' or '/' that isn't encoded is read as a port, which is named as no number.
    for url in ("http://:secret@host", "redis://x:secret#@host", "redis://:secret/@host"):
        with pytest.raises(errors.ConfigError) as caught:
            EmbeddingCache(EmbeddingCacheSettings(redis_url=url))
        assert "secret" not in "".join(traceback.format_exception(caught.value))
