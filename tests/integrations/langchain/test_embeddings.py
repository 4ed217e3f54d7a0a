from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmspell.integrations.langchain import LlmspellEmbeddings


class Noting:
    """An embedder that notes what it is told of texts."""

    provider, model_id, dim, tokenizer, max_tokens = "here", "noting", 2, None, 100

    def __init__(self) -> None:
        self.told: list[tuple[list[str], str, bool]] = []

    def embed(
        self, texts: Sequence[str], *, task: Any = "passage", truncate: bool = False
    ) -> NDArray[np.float32]:
        self.told.append((list(texts), task, truncate))
        return np.ones((len(texts), 2), dtype=np.float32)

    async def aembed(
        self, texts: Sequence[str], *, task: Any = "passage", truncate: bool = False
    ) -> NDArray[np.float32]:
        return self.embed(texts, task=task, truncate=truncate)


def test_an_embedder_is_told_what_its_texts_are_for() -> None:
    embedder = Noting()
    embeddings = LlmspellEmbeddings(embedder, truncate=True)
    documents = embeddings.embed_documents(["a", "b"])
    assert documents == asyncio.run(embeddings.aembed_documents(["a", "b"])) == [[1.0, 1.0]] * 2
    assert embeddings.embed_query("q") == asyncio.run(embeddings.aembed_query("q")) == [1.0, 1.0]
    passages, query = (["a", "b"], "passage", True), (["q"], "query", True)
    assert embedder.told == [passages, passages, query, query]
