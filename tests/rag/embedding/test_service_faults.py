"""Services that fail: what is tried again, what isn't, and what it is called in the end."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import numpy as np
import pytest

from llmspell import errors
from llmspell.observability import MODELS, Model
from llmspell.providers import deadline
from llmspell.rag.embedding import OpenAIEmbedder, RemoteSettings
from llmspell.security import Secret
from llmspell.testing import EmbeddingFault, FakeEmbeddingServer
from tests.rag.embedding.conftest import Connect

PASSING = [
    EmbeddingFault(kind="status", status=429, retry_after="0"),
    EmbeddingFault(kind="status", status=500),
    EmbeddingFault(kind="status", status=503),
    EmbeddingFault(kind="status", status=529),
    EmbeddingFault(kind="drop"),
    EmbeddingFault(kind="truncate"),
]


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: f"{fault.kind}-{fault.status}")
def test_a_failure_that_may_pass_is_tried_three_times_more(
    server: FakeEmbeddingServer, connect: Connect, fault: EmbeddingFault
) -> None:
    embedder = connect()
    server.fail(fault, fault, fault)
    assert embedder.embed(["a"]).shape == (1, server.dim)
    assert len(server.requests) == 4
    server.fail(*[fault] * 4)
    named = errors.EmbeddingRateLimited if fault.status == 429 else errors.EmbeddingUnavailable
    with pytest.raises(named):
        embedder.embed(["a"])
    assert len(server.requests) == 8
    assert embedder.usage.requests == 8


def test_settings_are_as_the_reference_says_unless_others_are_given() -> None:
    assert RemoteSettings() == RemoteSettings(
        concurrency=4,
        batch_texts=None,
        batch_tokens=None,
        retries=3,
        retry_delay=0.1,
        timeout=60.0,
        connect_timeout=5.0,
        price=0.0,
        allow_http=False,
    )


@pytest.mark.parametrize("kind", ["wrong_count", "wrong_dim", "nan", "zeros", "garbage"])
@pytest.mark.parametrize("service", ["openai", "cohere", "voyage", "tei"])
def test_an_answer_that_is_no_vector_for_each_text_is_never_taken(
    server: FakeEmbeddingServer, connect: Connect, service: str, kind: str
) -> None:
    server.fail(EmbeddingFault(kind=kind))  # type: ignore[arg-type]
    with pytest.raises(errors.InvalidEmbedding):
        connect(service).embed(["a", "b"])
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind, said", [("endless", "more than"), ("compressed", "compressed")])
def test_an_answer_without_end_is_read_up_to_a_bound(
    server: FakeEmbeddingServer, connect: Connect, kind: Any, said: str
) -> None:
    server.fail(EmbeddingFault(kind=kind))
    with pytest.raises(errors.InvalidEmbedding, match=said):
        connect().embed(["a", "b"])
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [400, 404, 422, 301])
def test_a_refusal_is_not_tried_again(
    server: FakeEmbeddingServer, connect: Connect, status: int
) -> None:
    server.fail(EmbeddingFault(kind="status", status=status, message="no such model"))
    with pytest.raises(errors.EmbeddingError, match=f"{status}: no such model"):
        connect().embed(["a"])
    assert len(server.requests) == 1


def test_a_budget_that_is_used_up_is_not_asked_again(
    server: FakeEmbeddingServer, connect: Connect
) -> None:
    server.fail(EmbeddingFault(kind="status", status=429, code="insufficient_quota"))
    with pytest.raises(errors.EmbeddingRateLimited) as refused:
        connect().embed(["a"])
    assert refused.value.is_used_up
    assert len(server.requests) == 1


def test_a_service_is_left_alone_for_as_long_as_it_asks(
    server: FakeEmbeddingServer, connect: Connect
) -> None:
    server.fail(EmbeddingFault(kind="status", status=429, retry_after="0.2"))
    started = time.monotonic()
    connect().embed(["a"])
    assert time.monotonic() - started >= 0.2  # no earlier; how much later is the machine's affair


@pytest.mark.parametrize("as_date", [False, True])
def test_a_wait_beyond_the_deadline_is_told_at_once(
    server: FakeEmbeddingServer, connect: Connect, as_date: bool
) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    value = later if as_date else "3600"
    server.fail(EmbeddingFault(kind="status", status=429, retry_after=value))
    with pytest.raises(errors.EmbeddingRateLimited) as refused:
        connect().embed(["a"])
    assert refused.value.retry_after == pytest.approx(3600, abs=60)
    assert len(server.requests) == 1


def test_a_service_that_stalls_is_given_up(server: FakeEmbeddingServer, connect: Connect) -> None:
    server.fail(EmbeddingFault(kind="stall", seconds=60))
    with pytest.raises(errors.EmbeddingTimeout):
        connect(timeout=0.2).embed(["a"])


def test_a_key_that_isnt_given_in_time_is_not_waited_for(server: FakeEmbeddingServer) -> None:
    given = threading.Event()

    def key() -> Secret[str]:
        assert given.wait(20)
        return Secret("k")

    settings = RemoteSettings(timeout=0.2)
    url = server.url_of("openai")
    with OpenAIEmbedder(
        "m", base_url=url, api_key=key, dim=3, max_tokens=9, settings=settings
    ) as embedder:
        with pytest.raises(errors.EmbeddingTimeout, match="key"):
            embedder.embed(["a"])
        given.set()
    assert not server.requests


def test_a_deadline_holds_for_embedders_too(server: FakeEmbeddingServer, connect: Connect) -> None:
    server.fail(EmbeddingFault(kind="stall", seconds=60))
    with deadline(0.2), pytest.raises(errors.EmbeddingTimeout):
        connect(timeout=30).embed(["a"])


def test_requests_of_embedders_are_counted(server: FakeEmbeddingServer, connect: Connect) -> None:
    server.fail(EmbeddingFault(kind="drop"))
    embedder = connect()
    counted = Model("embeddings", embedder.provider, "model")
    before = MODELS.calls()
    embedder.embed(["two words"])
    # A server of another test may have had the same port.
    more = [
        MODELS.calls()[counted, end] - before.get((counted, end), 0)
        for end in ("ok", "EmbeddingUnavailable")
    ]
    assert more == [1, 1]


def test_a_service_that_is_not_there_is_unavailable() -> None:
    settings = RemoteSettings(retry_delay=0.001)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and doesn't listen
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        with (
            OpenAIEmbedder("m", base_url=url, dim=3, max_tokens=9, settings=settings) as embedder,
            pytest.raises(errors.EmbeddingUnavailable),
        ):
            embedder.embed(["a"])
    assert embedder.usage.requests == 4


def test_what_fails_stops_the_rest_of_its_call(
    server: FakeEmbeddingServer, connect: Connect
) -> None:
    server.fail(EmbeddingFault(kind="status", status=400, message="no such model"))
    with pytest.raises(errors.EmbeddingError, match="no such model"):
        connect(batch_texts=1, concurrency=2).embed([str(n) for n in range(100)])
    assert len(server.requests) < 100


def test_threads_share_the_bound_of_requests(server: FakeEmbeddingServer, connect: Connect) -> None:
    embedder = connect(batch_texts=1, concurrency=3)
    texts = [f"text {n}" for n in range(20)]
    expected = embedder.embed(texts)
    found: list[np.ndarray] = []
    threads = [
        threading.Thread(target=lambda: found.append(embedder.embed(texts))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    for vectors in found:
        np.testing.assert_array_equal(vectors, expected)
    assert server.peak <= 3


def test_a_closed_embedder_opens_new_connections(
    server: FakeEmbeddingServer, connect: Connect
) -> None:
    embedder = connect()
    embedder.embed(["a"])
    embedder.close()
    embedder.close()
    assert embedder.embed(["a"]).shape == (1, server.dim)


def test_a_call_goes_on_when_the_embedder_is_closed_in_the_middle_of_it(
    server: FakeEmbeddingServer, connect: Connect
) -> None:
    embedder = connect()
    server.fail(EmbeddingFault(kind="stall", seconds=0.3))
    found: list[np.ndarray] = []
    thread = threading.Thread(target=lambda: found.append(embedder.embed(["a"])))
    thread.start()
    while not server.requests:
        time.sleep(0.001)
    embedder.close()
    thread.join()
    assert [vectors.shape for vectors in found] == [(1, server.dim)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_process_has_connections_and_places_of_its_own(
    run_python: Callable[[str], str],
) -> None:
    code = """
import os, threading
from llmspell.rag.embedding import OpenAIEmbedder, RemoteSettings
from llmspell.testing import EmbeddingFault, FakeEmbeddingServer

settings = RemoteSettings(concurrency=1)
with (
    FakeEmbeddingServer(dim=8) as server,
    OpenAIEmbedder(
        "m", base_url=server.url_of("tei"), dim=8, max_tokens=9, settings=settings
    ) as embedder,
):
    embedder.embed(["a"])
    server.fail(EmbeddingFault(kind="stall", seconds=0.5))
    thread = threading.Thread(target=embedder.embed, args=(["b"],))
    thread.start()
    while len(server.requests) < 2:
        pass
    child = os.fork()
    if not child:
        os._exit(embedder.embed(["c"]).shape != (1, 8))
    print(os.waitpid(child, 0)[1])
    thread.join()
    print(embedder.embed(["d"]).shape)
"""
    assert run_python(code).split("\n")[:2] == ["0", "(1, 8)"]
