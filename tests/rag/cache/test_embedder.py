"""An embedder of its own in front of a tenant's cache: charged once, shared, safe to cancel."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import llmspell
from llmspell import Database, EmbeddingCacheSettings, QuotaLimits, Tenant, TenantConfig, errors
from llmspell.rag import CachedEmbedder, Embedder, LocalEmbedder, Task
from llmspell.rag.embedding import CallableEmbedder
from tests.tenancy.texts import DIM, embed


class Model(CallableEmbedder):
    """Remembers what it embeds, and in async code waits for ``gate``."""

    def __init__(self) -> None:
        super().__init__(self._vectors, model_id="lines", dim=DIM)
        self.asked: list[str] = []
        self.entered = threading.Event()
        self.gate: asyncio.Event | None = None
        self.error: Exception | None = None

    def _vectors(self, texts: Sequence[str], task: str) -> NDArray[np.float32]:
        self.asked.extend(texts)
        if self.error is not None:
            raise self.error
        return embed(texts)

    async def aembed(
        self, texts: Sequence[str], *, task: Task = "passage", truncate: bool = False
    ) -> NDArray[np.float32]:
        self.entered.set()
        if self.gate is not None:
            await self.gate.wait()
        return self.embed(texts, task=task, truncate=truncate)


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def db(tmp_path: Path, model: Model) -> Iterator[Database]:
    settings = EmbeddingCacheSettings()
    with llmspell.open(tmp_path / "data", embedder=model, embedding_cache=settings) as database:
        yield database


@pytest.fixture
def acme(db: Database) -> Tenant:
    return db.create_tenant(TenantConfig(id="acme", quotas=QuotaLimits(max_embeddings_per_day=4)))


def test_it_is_an_embedder_that_asks_for_each_text_once(acme: Tenant, model: Model) -> None:
    cached: Embedder = CachedEmbedder(model, acme)
    expected = model.embed(["one", "two", "one"])
    del model.asked[:]
    for _ in range(2):
        np.testing.assert_array_equal(cached.embed(["one", "two", "one"]), expected)
        np.testing.assert_array_equal(asyncio.run(cached.aembed(["two", "one"])), expected[1:])
    assert model.asked == ["one", "two"]
    assert acme.usage().embeddings.used == 2
    assert (cached.provider, cached.model_id, cached.dim) == ("callable", "lines", DIM)
    assert (cached.tokenizer, cached.max_tokens) == (model.tokenizer, model.max_tokens)
    assert cached.embed([]).shape == (0, DIM)


def test_it_shares_what_the_tenant_is_asked(acme: Tenant, model: Model) -> None:
    acme.upsert("a", embed(["a"])[0])
    acme.search("asked")
    cached = CachedEmbedder(model, acme)
    cached.embed(["asked", "again"], task="query", truncate=True)
    acme.search("again")
    assert model.asked == ["asked", "again"]
    # Of another task, or cut where it mustn't be, it is another vector.
    cached.embed(["asked"], task="query")
    cached.embed(["asked"])
    assert model.asked == ["asked", "again", "asked", "asked"]
    with pytest.raises(errors.QuotaExceeded):
        cached.embed(["more"])
    cached.embed(["asked"])


def test_calls_at_a_time_embed_a_text_once_in_async_code_and_threads(
    acme: Tenant, model: Model
) -> None:
    cached = CachedEmbedder(model, acme)

    async def ask() -> None:
        model.gate = asyncio.Event()
        first = asyncio.create_task(cached.aembed(["one", "two"]))
        while not model.entered.is_set():
            await asyncio.sleep(0)
        others = [asyncio.create_task(cached.aembed(["two", "three"])) for _ in range(5)]
        others.append(asyncio.create_task(asyncio.to_thread(cached.embed, ["two", "one"])))
        await asyncio.sleep(0.05)
        model.gate.set()
        np.testing.assert_array_equal(await first, model_rows("one", "two"))
        for one in await asyncio.gather(*others[:-1]):
            np.testing.assert_array_equal(one, model_rows("two", "three"))
        np.testing.assert_array_equal(await others[-1], model_rows("two", "one"))

    asyncio.run(ask())
    assert sorted(model.asked) == ["one", "three", "two"]
    assert acme.usage().embeddings.used == 3


def test_one_that_is_cancelled_charges_nothing_and_one_of_the_others_takes_its_place(
    acme: Tenant, model: Model
) -> None:
    cached = CachedEmbedder(model, acme)

    async def ask() -> None:
        model.gate = asyncio.Event()
        first = asyncio.create_task(cached.aembed(["one"]))
        while not model.entered.is_set():
            await asyncio.sleep(0)
        others = [asyncio.create_task(cached.aembed(["one"])) for _ in range(4)]
        await asyncio.sleep(0.05)
        # Whoever merely waits goes without a trace.
        others.pop().cancel()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert acme.usage().embeddings.used <= 1
        model.gate.set()
        for found in await asyncio.gather(*others):
            np.testing.assert_array_equal(found, model_rows("one"))

    asyncio.run(ask())
    assert model.asked == ["one"]
    assert acme.usage().embeddings.used == 1


def test_sync_call_in_the_event_loop_doesnt_wait_for_what_the_loop_is_to_embed(
    acme: Tenant, model: Model
) -> None:
    cached = CachedEmbedder(model, acme)

    async def ask() -> None:
        model.gate = asyncio.Event()
        first = asyncio.create_task(cached.aembed(["one"]))
        while not model.entered.is_set():
            await asyncio.sleep(0)
        np.testing.assert_array_equal(cached.embed(["one"]), model_rows("one"))
        model.gate.set()
        np.testing.assert_array_equal(await first, model_rows("one"))

    thread = threading.Thread(target=lambda: asyncio.run(ask()), daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()


def test_failure_is_each_ones_own_and_charges_nothing(acme: Tenant, model: Model) -> None:
    cached = CachedEmbedder(model, acme)
    model.error = errors.EmbeddingError("the model failed")

    async def ask() -> list[object]:
        return await asyncio.gather(
            *(cached.aembed(["one"]) for _ in range(3)), return_exceptions=True
        )

    assert [type(one) for one in asyncio.run(ask())] == [errors.EmbeddingError] * 3
    assert acme.usage().embeddings.used == 0
    model.error = None
    np.testing.assert_array_equal(asyncio.run(cached.aembed(["one"])), model_rows("one"))


def test_async_handle_will_do(tmp_path: Path, model: Model) -> None:
    async def ask() -> int:
        settings = EmbeddingCacheSettings()
        async with llmspell.open(tmp_path / "a", embedder=model, embedding_cache=settings) as db:
            tenant = await db.create_tenant(TenantConfig(id="acme"))
            cached = CachedEmbedder(model, tenant)
            for _ in range(2):
                np.testing.assert_array_equal(await cached.aembed(["one"]), model_rows("one"))
            return (await tenant.usage()).embeddings.used

    assert asyncio.run(ask()) == 1


def test_tenants_are_apart_and_a_closed_or_suspended_one_is_refused(
    db: Database, acme: Tenant, model: Model
) -> None:
    cached = CachedEmbedder(model, acme)
    cached.embed(["one"])
    CachedEmbedder(model, db.create_tenant(TenantConfig(id="other"))).embed(["one"])
    assert model.asked == ["one", "one"]
    db.suspend_tenant("acme")
    with pytest.raises(errors.TenantSuspended):
        cached.embed(["one"])
    db.resume_tenant("acme")
    cached.embed(["one"])
    db.drop_tenant("acme")
    for call in (lambda: cached.embed(["one"]), lambda: asyncio.run(cached.aembed(["one"]))):
        with pytest.raises(errors.TenantNotFound):
            call()
    assert model.asked == ["one", "one"]


def test_text_that_was_cut_is_still_refused_where_it_mustnt_be(acme: Tenant) -> None:
    cached = CachedEmbedder(LocalEmbedder(), acme)
    long = "word " * 1_000
    cut = cached.embed([long], truncate=True)
    np.testing.assert_array_equal(cached.embed([long], truncate=True), cut)
    with pytest.raises(errors.TextTooLong):
        cached.embed([long])


def test_database_without_a_cache_is_refused(tmp_path: Path, model: Model) -> None:
    with llmspell.open(tmp_path / "data", embedder=model) as db:
        tenant = db.create_tenant(TenantConfig(id="acme"))
        with pytest.raises(errors.ConfigError, match="embedding_cache="):
            CachedEmbedder(model, tenant)


def model_rows(*texts: str) -> NDArray[np.float32]:
    return Model().embed(texts)
