"""An embedder as LangChain's embeddings."""

from __future__ import annotations

from llmspell.integrations.langchain.framework import Embeddings
from llmspell.rag import Embedder, LocalEmbedder

__all__ = ["LlmspellEmbeddings"]


class LlmspellEmbeddings(Embeddings):
    """Embeddings by an :class:`llmspell.rag.Embedder`. Thread-safe where that is.

    It stands outside of tenants: nothing is charged.

    Args:
        embedder: the embedded default model where None, which is loaded with the first text.
        truncate: cut texts that are too long for the model, instead of refusing them.
    """

    def __init__(self, embedder: Embedder | None = None, *, truncate: bool = False) -> None:
        self._embedder: Embedder = LocalEmbedder() if embedder is None else embedder
        self._truncate = truncate

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Vectors of texts that are to be found.

        Raises:
            EmbeddingError: the model failed.
            InputError: a text is too long.
            MissingDependency: the model isn't installed.
        """
        return self._embedder.embed(texts, truncate=self._truncate).tolist()

    def embed_query(self, text: str) -> list[float]:
        """As :meth:`embed_documents`, of a text to find others with."""
        return self._embedder.embed([text], task="query", truncate=self._truncate)[0].tolist()

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """As :meth:`embed_documents`."""
        return (await self._embedder.aembed(texts, truncate=self._truncate)).tolist()

    async def aembed_query(self, text: str) -> list[float]:
        """As :meth:`embed_query`."""
        found = await self._embedder.aembed([text], task="query", truncate=self._truncate)
        return found[0].tolist()
