"""Components that retrieve documents from a tenant in Haystack's pipelines."""

from __future__ import annotations

import asyncio
from typing import Any

from llmspell.integrations.haystack.document_store import LlmspellDocumentStore
from llmspell.integrations.haystack.framework import Document, FilterPolicy, component
from llmspell.integrations.haystack.retriever import Retriever

__all__ = ["LlmspellBM25Retriever", "LlmspellEmbeddingRetriever"]


@component
class LlmspellEmbeddingRetriever(Retriever):
    """The documents that are nearest to a query's embedding; thread-safe.

    Args:
        document_store: where they are.
        filters: that they must match.
        top_k: how many are wanted, 1 or more.
        scale_score: bring scores to the range from 0 to 1.
        return_embedding: whether documents come with theirs.
        filter_policy: whether the filters of a run replace these, or are added to them.

    Raises:
        TypeError: ``document_store`` is another one.
        ValueError: ``top_k`` is below 1.
    """

    def __init__(
        self,
        document_store: LlmspellDocumentStore,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        scale_score: bool = False,
        return_embedding: bool = False,
        filter_policy: FilterPolicy = FilterPolicy.REPLACE,
    ) -> None:
        # Not by super(): the decorator makes this class anew.
        Retriever.__init__(self, document_store, filters, top_k, scale_score, filter_policy)
        self.settings["return_embedding"] = return_embedding

    @component.output_types(documents=list[Document])
    def run(
        self,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        scale_score: bool | None = None,
        return_embedding: bool | None = None,
    ) -> dict[str, list[Document]]:
        """The nearest documents, as ``documents``; what is None is as the component was made."""
        given = self._given(
            filters, top_k=top_k, scale_score=scale_score, return_embedding=return_embedding
        )
        return {"documents": self.document_store.embedding_retrieval(query_embedding, **given)}

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        scale_score: bool | None = None,
        return_embedding: bool | None = None,
    ) -> dict[str, list[Document]]:
        """As :meth:`run`."""
        return await asyncio.to_thread(
            self.run, query_embedding, filters, top_k, scale_score, return_embedding
        )


@component
class LlmspellBM25Retriever(Retriever):
    """The documents that have words of a query, by BM25; thread-safe. Needs the extra ``lexical``.

    Args:
        document_store: where they are.
        filters: that they must match.
        top_k: how many are wanted, 1 or more.
        scale_score: bring scores to the range from 0 to 1.
        filter_policy: whether the filters of a run replace these, or are added to them.

    Raises:
        TypeError: ``document_store`` is another one.
        ValueError: ``top_k`` is below 1.
    """

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        scale_score: bool | None = None,
    ) -> dict[str, list[Document]]:
        """The best documents, as ``documents``; what is None is as the component was made."""
        given = self._given(filters, top_k=top_k, scale_score=scale_score)
        return {"documents": self.document_store.bm25_retrieval(query, **given)}

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query: str,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        scale_score: bool | None = None,
    ) -> dict[str, list[Document]]:
        """As :meth:`run`."""
        return await asyncio.to_thread(self.run, query, filters, top_k, scale_score)
