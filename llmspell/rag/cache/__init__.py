"""Vectors of texts, kept so that no text is embedded twice: in memory and on disk, by tenant."""

from llmspell.rag.cache.cache import EmbeddingCache
from llmspell.rag.cache.embedder import CachedEmbedder
from llmspell.rag.cache.settings import EmbeddingCacheSettings
from llmspell.rag.cache.stats import EmbeddingCacheStats
from llmspell.rag.cache.warming import warm_embeddings

__all__ = [
    "CachedEmbedder",
    "EmbeddingCache",
    "EmbeddingCacheSettings",
    "EmbeddingCacheStats",
    "warm_embeddings",
]
