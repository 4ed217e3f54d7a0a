"""What others give for the same texts, queries and vectors, as they come out of their packages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["PEERS", "Asked", "bm25s", "haystack"]

Asked: TypeAlias = Callable[[str, NDArray[np.float32], int], list[str]]
"""From a query, its vector and k to ids, best first."""


def bm25s(ids: Sequence[str], texts: Sequence[str], vectors: NDArray[np.float32]) -> Asked:
    """BM25 alone: bm25s as its README has it, with its English stop words."""
    import bm25s as library

    index = library.BM25()
    index.index(
        library.tokenize(list(texts), stopwords="en", show_progress=False), show_progress=False
    )

    def ask(query: str, vector: NDArray[np.float32], k: int) -> list[str]:
        tokens = library.tokenize(query, stopwords="en", show_progress=False)
        found, _ = index.retrieve(tokens, k=min(k, len(ids)), show_progress=False)
        return [ids[place] for place in found[0]]

    return ask


def haystack(ids: Sequence[str], texts: Sequence[str], vectors: NDArray[np.float32]) -> Asked:
    """Haystack's hybrid pipeline: both of its retrievers in memory, joined by reciprocal ranks."""
    from haystack import Document
    from haystack.components.joiners import DocumentJoiner
    from haystack.components.retrievers.in_memory import (
        InMemoryBM25Retriever,
        InMemoryEmbeddingRetriever,
    )
    from haystack.document_stores.in_memory import InMemoryDocumentStore

    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    store.write_documents(
        [
            Document(id=identity, content=text, embedding=vector.tolist())
            for identity, text, vector in zip(ids, texts, vectors, strict=True)
        ]
    )
    by_words = InMemoryBM25Retriever(store)
    by_meaning = InMemoryEmbeddingRetriever(store)
    joiner = DocumentJoiner(join_mode="reciprocal_rank_fusion")

    def ask(query: str, vector: NDArray[np.float32], k: int) -> list[str]:
        words: Any = by_words.run(query=query)["documents"]
        meaning: Any = by_meaning.run(query_embedding=vector.tolist())["documents"]
        joined = joiner.run(documents=[words, meaning])["documents"]
        return [document.id for document in joined[:k]]

    return ask


PEERS = {"bm25s": bm25s, "haystack-ai": haystack}
