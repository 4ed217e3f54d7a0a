"""What each service is sent, and what comes of its answers: over real HTTP on this machine."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from itertools import count

import numpy as np
import pytest

from llmspell import errors
from llmspell.rag.embedding import (
    AzureEmbedder,
    CohereEmbedder,
    OpenAIEmbedder,
    RemoteSettings,
    VoyageEmbedder,
)
from llmspell.security import Secret, SecretRef, SecretStore
from llmspell.testing import EmbeddingFault, EmbeddingRequest, FakeEmbeddingServer
from tests.rag.embedding.conftest import KEY, SERVICES, Connect

TEXTS = [f"word{n} of a text" + " more" * (n % 7) for n in range(40)]


def expected(server: FakeEmbeddingServer, texts: list[str]) -> np.ndarray:
    rows = np.array([server.vector(text) for text in texts])
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("service", SERVICES)
def test_vectors_are_unit_rows_in_the_order_of_the_texts_over_many_requests(
    server: FakeEmbeddingServer,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    service: str,
) -> None:
    embedder = connect(service, batch_texts=3)
    begin, number, both = server._begin, count(), threading.Barrier(2)

    def meet(request: EmbeddingRequest) -> EmbeddingFault | None:
        fault = begin(request)
        if next(number) < 2:
            both.wait(20)  # neither is answered before the other has come
        return fault

    monkeypatch.setattr(server, "_begin", meet)
    vectors = embedder.embed(TEXTS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected(server, TEXTS), atol=1e-6)
    assert len(server.requests) == 14
    assert {request.service for request in server.requests} == {service}
    tokens = sum(len(text.split()) for text in TEXTS)
    if service == "tei-own":  # doesn't say how many there were
        tokens = sum(1 + len(text.encode()) // 3 for text in TEXTS)
    assert embedder.usage.tokens == tokens
    assert (embedder.usage.requests, embedder.usage.texts) == (14, 40)
    assert 1 < server.peak <= 4
    np.testing.assert_array_equal(asyncio.run(embedder.aembed(TEXTS)), vectors)


def test_no_text_asks_nothing(server: FakeEmbeddingServer, connect: Connect) -> None:
    assert connect().embed([]).shape == (0, server.dim)
    assert not server.requests


def test_each_service_is_told_what_texts_are_for_in_its_own_words(
    server: FakeEmbeddingServer, connect: Connect
) -> None:
    connect("cohere").embed(["a"], task="query", truncate=True)
    connect("cohere").embed(["a"])
    connect("voyage").embed(["a"], task="query", truncate=True)
    connect("voyage").embed(["a"])
    connect("openai", query_prefix="query: ", passage_prefix="passage: ").embed(["a"], task="query")
    seen = [request.body for request in server.requests]
    assert [body.get("input_type") for body in seen] == [
        "search_query",
        "search_document",
        "query",
        "document",
        None,
    ]
    assert [body.get("truncate") for body in seen[:2]] == ["END", "NONE"]
    assert [body.get("truncation") for body in seen[2:4]] == [True, False]
    assert seen[4]["input"] == ["query: a"]


def test_prefixes_make_another_model(connect: Connect) -> None:
    plain, marked = connect(), connect(query_prefix="query: ")
    assert plain.model_id == "model"
    assert marked.model_id != plain.model_id


@pytest.mark.parametrize("service", ["openai", "azure", "cohere", "voyage", "tei-own", "ollama"])
def test_vectors_can_be_shortened_by_the_service(
    server: FakeEmbeddingServer, connect: Connect, service: str
) -> None:
    embedder = connect(service, dimensions=16)
    assert embedder.dim == 16
    assert embedder.embed(["a"]).shape == (1, 16)
    body = server.requests[0].body
    assert body["output_dimension" if service in ("cohere", "voyage") else "dimensions"] == 16


def test_a_deployment_of_azure_is_in_the_path_and_the_key_in_its_header(
    server: FakeEmbeddingServer, connect: Connect
) -> None:
    connect("azure").embed(["a"])
    (request,) = server.requests
    assert request.path == "/azure/openai/deployments/deployed/embeddings?api-version=2024-10-21"
    assert request.headers["api-key"] == KEY
    assert "authorization" not in request.headers
    assert "model" not in request.body


@pytest.mark.parametrize("service", SERVICES)
def test_a_key_that_is_refused_is_not_shown(
    server: FakeEmbeddingServer, connect: Connect, service: str
) -> None:
    embedder = connect(service, api_key=Secret("sk-wrong-9876"))
    with pytest.raises(errors.EmbeddingDenied) as refused:
        embedder.embed(["a"])
    assert len(server.requests) == 1
    for shown in (str(refused.value), repr(embedder), repr(vars(embedder))):
        assert "9876" not in shown


def test_an_error_that_repeats_the_key_shows_a_mask(
    server: FakeEmbeddingServer, connect: Connect
) -> None:
    server.fail(
        EmbeddingFault(kind="status", status=400, message=f"bad request by {KEY}\n\x1b[31m")
    )
    with pytest.raises(errors.EmbeddingError, match=r"bad request by \*\*\*") as failed:
        connect().embed(["a"])
    assert KEY not in str(failed.value) and "\x1b" not in str(failed.value)


def test_a_key_that_is_none_is_found_before_a_library_repeats_it(connect: Connect) -> None:
    with pytest.raises(errors.ConfigError) as refused:
        connect(api_key=Secret("sk-9876\n")).embed(["a"])
    assert "9876" not in str(refused.value)


def test_a_key_that_was_replaced_is_used_from_the_next_request_on(
    server: FakeEmbeddingServer, connect: Connect
) -> None:
    keys = [Secret("sk-old-and-revoked"), Secret(KEY)]
    embedder = connect(api_key=lambda: keys[0])
    with pytest.raises(errors.EmbeddingDenied):
        embedder.embed(["a"])
    del keys[0]
    assert embedder.embed(["a"]).shape == (1, server.dim)


def test_a_key_by_reference_is_read_for_each_request(
    server: FakeEmbeddingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_API_KEY", KEY)
    store = SecretStore(environ={"FAKE_API_KEY": "sk-of-the-store"})
    settings = {"base_url": server.url_of("openai"), "dim": server.dim, "max_tokens": 512}
    ref = SecretRef("name", "fake")
    with OpenAIEmbedder("m", api_key=ref, **settings) as embedder:  # type: ignore[arg-type]
        assert embedder.embed(["a"]).shape == (1, server.dim)
    with (
        OpenAIEmbedder("m", api_key=ref, secrets=store, **settings) as embedder,  # type: ignore[arg-type]
        pytest.raises(errors.EmbeddingDenied),
    ):
        embedder.embed(["a"])


def test_a_text_that_is_too_long_is_named_or_cut(
    server: FakeEmbeddingServer, connect: Connect
) -> None:
    texts = ["short", "a " * 900, "also short"]
    for service in SERVICES:
        with pytest.raises(errors.TextTooLong, match="text 1"):
            connect(service).embed(texts)
        vectors = connect(service).embed(texts, truncate=True)
        # The words are all the same, so where it is cut doesn't show.
        np.testing.assert_allclose(
            vectors, expected(server, ["short", "a", "also short"]), atol=1e-6
        )


def test_a_request_with_too_many_texts_for_a_server_goes_in_halves(connect: Connect) -> None:
    with FakeEmbeddingServer(max_texts=3) as small:
        with OpenAIEmbedder("m", base_url=small.url_of("tei"), dim=64, max_tokens=512) as embedder:
            vectors = embedder.embed(TEXTS[:10])
        np.testing.assert_allclose(vectors, expected(small, TEXTS[:10]), atol=1e-6)
        answered = [request for request in small.requests if len(request.texts) <= 3]
        assert Counter(text for request in answered for text in request.texts) == Counter(
            TEXTS[:10]
        )


def test_an_empty_text_has_a_vector_too(server: FakeEmbeddingServer, connect: Connect) -> None:
    assert connect().embed(["", "a"]).shape == (2, server.dim)
    assert server.requests[0].texts == (" ", "a")


@pytest.mark.parametrize("texts", ["one text", [b"bytes"], ["\ud800"], [None]])
def test_what_is_no_list_of_texts_is_refused(
    server: FakeEmbeddingServer, connect: Connect, texts: object
) -> None:
    with pytest.raises(errors.InputError):
        connect().embed(texts)  # type: ignore[arg-type]
    assert not server.requests


def test_settings_that_disagree_are_refused() -> None:
    key = Secret(KEY)
    with pytest.raises(errors.ConfigError, match="api_key"):
        OpenAIEmbedder()
    with pytest.raises(errors.ConfigError, match=r"Secret\(") as refused:
        OpenAIEmbedder(api_key=KEY)  # type: ignore[arg-type]
    assert KEY not in str(refused.value)
    with pytest.raises(errors.ConfigError, match="dim of model"):
        OpenAIEmbedder("unknown", api_key=key, max_tokens=512)
    with pytest.raises(errors.ConfigError, match="dim must be"):
        OpenAIEmbedder(api_key=key, dimensions=0)
    with pytest.raises(errors.ConfigError, match="max_tokens of model"):
        VoyageEmbedder("unknown", api_key=key, dim=3)
    with pytest.raises(errors.ConfigError, match="plain text"):
        CohereEmbedder(api_key=key, base_url="http://models.example")
    with pytest.raises(errors.ConfigError, match="no user"):
        OpenAIEmbedder("m", base_url="https://u:p@models.example/v1", dim=3, max_tokens=9)
    for url in (7, "http://[", "models.example/v1", "http://u:p/w@x", "ftp://models.example"):
        with pytest.raises(errors.ConfigError, match="base_url") as refused:
            OpenAIEmbedder("m", base_url=url, dim=3, max_tokens=9)  # type: ignore[arg-type]
        assert "u:p" not in str(refused.value)
    with pytest.raises(errors.ConfigError, match="api_version"):
        AzureEmbedder("d", endpoint="https://x", api_key=key, dim=3, api_version="1&x=")
    with pytest.raises(errors.ConfigError, match="concurrency"):
        RemoteSettings(concurrency=0)
    with pytest.raises(errors.ConfigError, match="timeout"):
        RemoteSettings(timeout=float("nan"))


def test_providers_tell_where_vectors_come_from() -> None:
    key = Secret(KEY)
    assert OpenAIEmbedder(api_key=key).provider == "openai"
    assert CohereEmbedder(api_key=key).provider == "cohere"
    assert VoyageEmbedder(api_key=key).provider == "voyage"
    settings = RemoteSettings(allow_http=True)
    url = "http://Models.example:8000/v1"
    ours = OpenAIEmbedder("m", api_key=key, base_url=url, dim=3, max_tokens=9, settings=settings)
    assert ours.provider == "models.example:8000"


@pytest.mark.parametrize(
    "base_url, provider",
    [
        ("https://models.example/v1", "models.example"),
        ("https://MODELS.example:443/v1/", "models.example"),
        ("https://models.example/bge/v1", "models.example/bge/v1"),
        ("https://models.example/E5/v1", "models.example/E5/v1"),
        ("https://models.example", "models.example/"),
        ("http://[::1]:8000/v1", "[::1]:8000"),
    ],
)
def test_each_path_of_a_host_is_a_provider_of_its_own(base_url: str, provider: str) -> None:
    embedder = OpenAIEmbedder("m", base_url=base_url, dim=3, max_tokens=9)
    assert embedder.provider == provider


def test_the_path_of_another_deployment_of_cohere_and_azure_tells_them_apart() -> None:
    key = Secret(KEY)
    urls = ["https://models.example", "https://models.example/b"]
    cohere = [CohereEmbedder(api_key=key, base_url=url).provider for url in urls]
    azure = [
        AzureEmbedder("d", endpoint=url, api_key=key, dim=3, max_tokens=9).provider for url in urls
    ]
    assert azure == ["models.example", "models.example/b"]
    assert cohere == ["cohere@models.example", "cohere@models.example/b"]


def test_interfaces_of_one_host_that_tell_what_texts_are_for_are_apart() -> None:
    given = {"dim": 3, "max_tokens": 9, "api_key": Secret(KEY)}
    url = "https://models.example"
    names = {
        OpenAIEmbedder("m", base_url=f"{url}/v1", **given).provider,  # type: ignore[arg-type]
        CohereEmbedder("m", base_url=url, **given).provider,  # type: ignore[arg-type]
        VoyageEmbedder("m", base_url=f"{url}/v1", **given).provider,  # type: ignore[arg-type]
    }
    assert names == {"models.example", "cohere@models.example", "voyage@models.example"}
