"""Texts to vectors: what an embedder is, and the model that is built in."""

from llmspell.rag.embedding.embedder import Embedder, Task
from llmspell.rag.embedding.local import LocalEmbedder

__all__ = ["Embedder", "LocalEmbedder", "Task"]
