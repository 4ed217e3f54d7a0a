"""Documents in, chunks and vectors out: loading, splitting, embedding."""

from llmspell.rag.cache import (
    CachedEmbedder,
    EmbeddingCache,
    EmbeddingCacheSettings,
    EmbeddingCacheStats,
    warm_embeddings,
)
from llmspell.rag.chunker import Chunker
from llmspell.rag.chunking import Chunking, ChunkingMethod
from llmspell.rag.cross_encoder import CrossEncoder
from llmspell.rag.embedding import Embedder, LocalEmbedder, Task
from llmspell.rag.memory import MemoryGuard, ResourceTracker
from llmspell.rag.pipeline import Pipeline
from llmspell.rag.progress import progress_bar

__all__ = [
    "CachedEmbedder",
    "Chunker",
    "Chunking",
    "ChunkingMethod",
    "CrossEncoder",
    "Embedder",
    "EmbeddingCache",
    "EmbeddingCacheSettings",
    "EmbeddingCacheStats",
    "LocalEmbedder",
    "MemoryGuard",
    "Pipeline",
    "ResourceTracker",
    "Task",
    "progress_bar",
    "warm_embeddings",
]
