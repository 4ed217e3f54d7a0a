from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from llmspell.rag.embedding import (
    AzureEmbedder,
    CohereEmbedder,
    OllamaEmbedder,
    OpenAIEmbedder,
    RemoteEmbedder,
    RemoteSettings,
    TEIEmbedder,
    VoyageEmbedder,
)
from llmspell.security import Secret
from llmspell.testing import FakeEmbeddingServer

KEY = "sk-never-shown-1234"
SERVICES = ("openai", "azure", "cohere", "voyage", "tei", "tei-own", "ollama")

Connect = Callable[..., RemoteEmbedder]


@pytest.fixture
def server() -> Iterator[FakeEmbeddingServer]:
    with FakeEmbeddingServer(api_key=KEY) as running:
        yield running


@pytest.fixture
def connect(server: FakeEmbeddingServer) -> Iterator[Connect]:
    """Makes the embedder of a service, which is closed at the end."""
    with ExitStack() as stack:

        def make(service: str = "openai", **settings: Any) -> RemoteEmbedder:
            key = settings.pop("api_key", Secret(KEY))
            more: dict[str, Any] = {"dim": server.dim, "max_tokens": server.max_tokens}
            more |= {
                name: settings.pop(name)
                for name in (*more, "dimensions", "tokenizer", "query_prefix", "passage_prefix")
                if name in settings
            }
            settings = {"retry_delay": 0.001, "timeout": 20.0} | settings
            more |= {"api_key": key, "settings": RemoteSettings(**settings)}
            url = server.url_of(service)
            made: RemoteEmbedder
            if service == "azure":
                made = AzureEmbedder("deployed", endpoint=url, **more)
            else:
                kind: Any = {
                    "cohere": CohereEmbedder,
                    "voyage": VoyageEmbedder,
                    "tei-own": TEIEmbedder,
                    "ollama": OllamaEmbedder,
                }
                made = kind.get(service, OpenAIEmbedder)("model", base_url=url, **more)
            return stack.enter_context(made)

        yield make
