"""Components that retrieve documents from a tenant in Haystack's pipelines."""

from __future__ import annotations

from typing import Any

from llmspell.integrations.haystack.document_store import LlmspellDocumentStore
from llmspell.integrations.haystack.framework import (
    Document,
    FilterPolicy,
    apply_filter_policy,
    component,
    default_from_dict,
    default_to_dict,
)

__all__ = ["LlmspellEmbeddingRetriever"]


@component
class LlmspellEmbeddingRetriever:
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
        if not isinstance(document_store, LlmspellDocumentStore):
            raise TypeError(f"an LlmspellDocumentStore expected, got {document_store!r}")
        if top_k < 1:
            raise ValueError(f"top_k must be 1 or more, got {top_k}")
        self.document_store = document_store
        self.filters = filters
        self.top_k = top_k
        self.scale_score = scale_score
        self.return_embedding = return_embedding
        self.filter_policy = filter_policy

    def to_dict(self) -> dict[str, Any]:
        """For a pipeline that is written to a file."""
        return default_to_dict(
            self,
            document_store=self.document_store.to_dict(),
            filters=self.filters,
            top_k=self.top_k,
            scale_score=self.scale_score,
            return_embedding=self.return_embedding,
            filter_policy=self.filter_policy.value,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> LlmspellEmbeddingRetriever:
        """The component that :meth:`to_dict` described."""
        given = dict(data["init_parameters"])
        given["document_store"] = LlmspellDocumentStore.from_dict(given["document_store"])
        if "filter_policy" in given:
            given["filter_policy"] = FilterPolicy.from_str(given["filter_policy"])
        return default_from_dict(cls, {**data, "init_parameters": given})

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
        given = self._given(filters, top_k, scale_score, return_embedding)
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
        given = self._given(filters, top_k, scale_score, return_embedding)
        found = await self.document_store.embedding_retrieval_async(query_embedding, **given)
        return {"documents": found}

    def _given(
        self,
        filters: dict[str, Any] | None,
        top_k: int | None,
        scale_score: bool | None,
        return_embedding: bool | None,
    ) -> dict[str, Any]:
        return {
            "filters": apply_filter_policy(self.filter_policy, self.filters, filters),
            "top_k": self.top_k if top_k is None else top_k,
            "scale_score": self.scale_score if scale_score is None else scale_score,
            "return_embedding": (
                self.return_embedding if return_embedding is None else return_embedding
            ),
        }
