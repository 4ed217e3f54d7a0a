"""What embedding by a service costs the tenant that it is done for."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

import llmspell
from llmspell import Document, QuotaLimits, TenantConfig, errors
from llmspell.rag.embedding import (
    LocalEmbedder,
    OpenAIEmbedder,
    RemoteEmbedder,
    RemoteSettings,
)
from llmspell.remote import background
from llmspell.testing import EmbeddingFault, EmbeddingRequest, FakeEmbeddingServer
from tests.rag.embedding.conftest import Connect


@pytest.fixture
def config() -> TenantConfig:
    return TenantConfig(
        id="acme", dim=64, quotas=QuotaLimits(max_tokens_per_day=100, max_cost_per_month=1.0)
    )


def test_tokens_and_money_that_a_service_reports_are_charged_to_the_operation(
    tmp_path: Path, connect: Connect, config: TenantConfig
) -> None:
    embedder = connect(batch_texts=2, price=1_000.0)
    with llmspell.open(tmp_path) as database:
        tenant = database.create_tenant(config)
        with tenant.operation(tokens=10, cost=0.5):
            embedder.embed(["one two three", "four", "five six"])
        usage = tenant.usage()
        assert usage.tokens.used == 6
        assert usage.cost.used == 6_000


def test_tokens_are_set_aside_by_a_guess_before_anything_is_sent(
    tmp_path: Path,
    server: FakeEmbeddingServer,
    connect: Connect,
    config: TenantConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    embedder = connect(batch_texts=1, concurrency=1, price=10_000.0)
    with llmspell.open(tmp_path) as database:
        tenant = database.create_tenant(config)
        with tenant.operation(), pytest.raises(errors.QuotaExceeded, match="tokens"):
            embedder.embed(["word " * 50] * 2)  # 168 by the guess
        assert (tenant.usage().tokens.used, server.requests) == (0, [])
        begin, seen = server._begin, []

        def look(request: EmbeddingRequest) -> EmbeddingFault | None:
            seen.append(tenant.usage())
            return begin(request)

        monkeypatch.setattr(server, "_begin", look)
        with tenant.operation():
            embedder.embed(["word " * 50])
        (during,), after = seen, tenant.usage()
        assert (during.tokens.used, during.cost.used) == (84, 840_000)
        assert (after.tokens.used, after.cost.used) == (50, 500_000)


def test_no_request_is_sent_once_a_tenant_has_no_tokens_left(
    tmp_path: Path, server: FakeEmbeddingServer, connect: Connect, config: TenantConfig
) -> None:
    embedder = connect(batch_texts=1, concurrency=1)
    with llmspell.open(tmp_path) as database:
        tenant = database.create_tenant(config)
        with tenant.operation(), pytest.raises(errors.QuotaExceeded):
            embedder.embed(["a " * 10] * 14)  # 98 by the guess, and 140 by the service
        assert tenant.usage().tokens.used == 100
        assert len(server.requests) == 11
        with tenant.operation(), pytest.raises(errors.QuotaExceeded):
            embedder.embed(["word"])
    assert len(server.requests) == 11


def test_a_tokenizer_lets_a_tenant_be_refused_before_anything_is_sent(
    tmp_path: Path,
    server: FakeEmbeddingServer,
    connect: Connect,
    config: TenantConfig,
    embedder: LocalEmbedder,
) -> None:
    remote = connect(tokenizer=embedder.tokenizer)
    with llmspell.open(tmp_path) as database:
        tenant = database.create_tenant(config)
        with tenant.operation(), pytest.raises(errors.QuotaExceeded):
            remote.embed(["word " * 60] * 2)
        with tenant.operation(), pytest.raises(errors.TextTooLong, match="text 1 has 902 tokens"):
            remote.embed(["short", "word " * 900])
        assert not server.requests
        with tenant.operation():
            remote.embed(["word " * 10])
        assert tenant.usage().tokens.used == 12
    assert remote.embed(["word " * 900], truncate=True).shape == (1, 64)
    assert len(server.requests[-1].texts[0].split()) == 510


@pytest.mark.parametrize("service", ["openai", "voyage"])
def test_of_a_text_that_is_cut_no_more_is_set_aside_than_the_model_takes(
    tmp_path: Path,
    server: FakeEmbeddingServer,
    connect: Connect,
    config: TenantConfig,
    service: str,
) -> None:
    server.max_tokens = 40
    embedder = connect(service)
    with llmspell.open(tmp_path) as database:
        tenant = database.create_tenant(config)
        with tenant.operation():
            embedder.embed(["word " * 100], truncate=True)  # 167 by the guess
        assert 30 <= tenant.usage().tokens.used <= 40


def test_what_was_refused_or_never_sent_costs_nothing_with_a_tokenizer_either(
    tmp_path: Path,
    server: FakeEmbeddingServer,
    connect: Connect,
    config: TenantConfig,
    embedder: LocalEmbedder,
) -> None:
    remote = connect(tokenizer=embedder.tokenizer, batch_texts=1, concurrency=1, price=1_000.0)
    with llmspell.open(tmp_path) as database:
        tenant = database.create_tenant(config)
        with tenant.operation():
            remote.embed(["one two three"])
            server.fail(EmbeddingFault(kind="status", status=400, message="no"))
            with pytest.raises(errors.EmbeddingError, match="400: no"):
                remote.embed(["one two three"] * 19)
        usage = tenant.usage()
        assert len(server.requests) == 2
        assert (usage.tokens.used, usage.cost.used) == (5, 5_000)


LOST = [
    (EmbeddingFault(kind="drop"), errors.EmbeddingUnavailable),
    (EmbeddingFault(kind="truncate"), errors.EmbeddingUnavailable),
    (EmbeddingFault(kind="status", status=500), errors.EmbeddingUnavailable),
    (EmbeddingFault(kind="garbage"), errors.InvalidEmbedding),
    (EmbeddingFault(kind="compressed"), errors.InvalidEmbedding),
    (EmbeddingFault(kind="nan"), errors.InvalidEmbedding),
]
REFUSED = [
    (EmbeddingFault(kind="status", status=429), errors.EmbeddingRateLimited),
    (EmbeddingFault(kind="status", status=503), errors.EmbeddingUnavailable),
    (EmbeddingFault(kind="status", status=401), errors.EmbeddingDenied),
]


@pytest.mark.parametrize("is_counted", [False, True])
def test_a_request_without_an_answer_is_charged_as_it_was_counted_or_guessed(
    tmp_path: Path,
    server: FakeEmbeddingServer,
    connect: Connect,
    config: TenantConfig,
    embedder: LocalEmbedder,
    is_counted: bool,
) -> None:
    counting = {"tokenizer": embedder.tokenizer} if is_counted else {}
    each = 5 if is_counted else 1 + len("one two three") // 3
    settings = {"retries": 0, "price": 1_000.0, **counting}
    with llmspell.open(tmp_path) as database:
        tenant = database.create_tenant(config)

        def charged(remote: RemoteEmbedder, error: type[errors.EmbeddingError]) -> int:
            before = tenant.usage()
            with tenant.operation(), pytest.raises(error) as failed:
                remote.embed(["one two three"])
            now = tenant.usage()
            tokens = now.tokens.used - before.tokens.used
            assert now.cost.used - before.cost.used == 1_000 * tokens
            assert failed.value.is_sent == bool(tokens)
            return tokens

        remote = connect(**settings)
        for fault, error in LOST:
            server.fail(fault)
            assert charged(remote, error) == each, fault
        for fault, error in REFUSED:
            server.fail(fault)
            assert charged(remote, error) == 0, fault
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))  # and doesn't listen
            nowhere = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
            away = OpenAIEmbedder(
                "m", base_url=nowhere, dim=3, max_tokens=9, settings=RemoteSettings(retries=0)
            )
            with away:
                assert charged(away, errors.EmbeddingUnavailable) == 0


def test_a_request_that_is_not_answered_in_time_is_charged(
    tmp_path: Path, server: FakeEmbeddingServer, connect: Connect, config: TenantConfig
) -> None:
    with llmspell.open(tmp_path) as database:
        tenant = database.create_tenant(config)
        for timeout in (0.3, 3.0, 15.0):  # until the machine has sent it in that time
            server.fail(EmbeddingFault(kind="stall", seconds=60))
            remote = connect(timeout=timeout)
            with tenant.operation(), pytest.raises(errors.EmbeddingTimeout) as late:
                remote.embed(["one two three"])
            if late.value.is_sent:
                break
            assert tenant.usage().tokens.used == 0
        assert tenant.usage().tokens.used == 5


def test_each_request_that_was_lost_on_the_way_to_an_answer_is_charged(
    tmp_path: Path,
    server: FakeEmbeddingServer,
    connect: Connect,
    config: TenantConfig,
    embedder: LocalEmbedder,
) -> None:
    remote = connect(tokenizer=embedder.tokenizer)
    lost, refused = EmbeddingFault(kind="drop"), EmbeddingFault(kind="status", status=503)
    with llmspell.open(tmp_path) as database:
        tenant = database.create_tenant(config)
        server.fail(lost, refused, lost)
        with tenant.operation():
            remote.embed(["one two three"])
        assert len(server.requests) == 4
        assert tenant.usage().tokens.used == 3 * 5
        assert remote.usage.tokens == 3


def test_a_cancelled_call_ends_its_request_and_is_charged_for_it(tmp_path: Path) -> None:
    async def main() -> None:
        asked, left = asyncio.Event(), asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"some words")
            asked.set()
            await reader.read()
            left.set()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        with OpenAIEmbedder("m", base_url=url, dim=3, max_tokens=9) as embedder:
            task = asyncio.create_task(embedder.aembed(["some words"]))
            await asyncio.wait_for(asked.wait(), 20)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert acme.usage().tokens.used > 0, "it may be billed"
            await asyncio.wait_for(left.wait(), 20)
        server.close()

    with llmspell.open(tmp_path) as database:
        acme = database.create_tenant(TenantConfig(id="acme"))
        with acme.operation():
            asyncio.run(main())


def test_what_is_set_aside_for_a_call_that_is_cancelled_before_its_turn_is_given_back(
    tmp_path: Path,
    server: FakeEmbeddingServer,
    connect: Connect,
    config: TenantConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    embedder, may_go_on = connect(), threading.Event()
    start = background.await_in_background

    async def main() -> None:
        is_told = asyncio.Event()

        async def told(coroutine: Any) -> Any:
            is_told.set()
            return await start(coroutine)

        monkeypatch.setattr(background, "await_in_background", told)
        # The loop that is to run it stands still meanwhile.
        background._running().call_soon_threadsafe(may_go_on.wait, 20)
        task = asyncio.create_task(embedder.aembed(["some words"]))
        await asyncio.wait_for(is_told.wait(), 20)
        assert tenant.usage().tokens.used == 4
        task.cancel()
        for _ in range(3):
            await asyncio.sleep(0)
        may_go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert tenant.usage().tokens.used == 0

    with llmspell.open(tmp_path) as database:
        tenant = database.create_tenant(config)
        with tenant.operation():
            asyncio.run(main())
    assert not server.requests


def test_a_database_embeds_by_a_service(
    tmp_path: Path, server: FakeEmbeddingServer, connect: Connect, config: TenantConfig
) -> None:
    embedder = connect("voyage")
    with llmspell.open(tmp_path, embedder=embedder) as database:
        tenant = database.create_tenant(config)
        tenant.ingest(
            [
                Document(id="a", text="Cats sleep on warm mats."),
                Document(id="b", text="Ships cross the cold sea."),
            ]
        )
        (hit,) = tenant.search("where do cats sleep", k=1)
        assert "Cats" in (hit.text or "")
        assert tenant.usage().tokens.used == 14
    assert [request.body["input_type"] for request in server.requests] == ["document", "query"]


def test_a_model_is_given_once(tmp_path: Path, embedder: LocalEmbedder) -> None:
    from llmspell.rag import Pipeline

    with pytest.raises(errors.ConfigError, match="not both"):
        llmspell.open(tmp_path, embedder=embedder, texts=Pipeline())
