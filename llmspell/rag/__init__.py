"""Documents in, chunks and vectors out: loading, splitting, embedding."""

from __future__ import annotations

from llmspell.rag.embedder import Embedder
from llmspell.rag.local import LocalEmbedder

__all__ = ["Embedder", "LocalEmbedder"]
