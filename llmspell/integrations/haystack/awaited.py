"""The awaitable forms of a document store's calls."""

from __future__ import annotations

import asyncio
from typing import Any

from llmspell.integrations.haystack.framework import Document, DuplicatePolicy

__all__ = ["AwaitedCalls"]


class AwaitedCalls:
    """Each is the call of its name without ``_async``, run in a thread; see there."""

    async def count_documents_async(self) -> int:
        """As ``count_documents``."""
        return await self._run("count_documents")

    async def filter_documents_async(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """As ``filter_documents``."""
        return await self._run("filter_documents", filters)

    async def write_documents_async(
        self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        """As ``write_documents``."""
        return await self._run("write_documents", documents, policy)

    async def delete_documents_async(self, document_ids: list[str]) -> None:
        """As ``delete_documents``."""
        await self._run("delete_documents", document_ids)

    async def delete_all_documents_async(self) -> None:
        """As ``delete_all_documents``."""
        await self._run("delete_all_documents")

    async def delete_by_filter_async(self, filters: dict[str, Any]) -> int:
        """As ``delete_by_filter``."""
        return await self._run("delete_by_filter", filters)

    async def update_by_filter_async(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        """As ``update_by_filter``."""
        return await self._run("update_by_filter", filters, meta)

    async def count_documents_by_filter_async(self, filters: dict[str, Any]) -> int:
        """As ``count_documents_by_filter``."""
        return await self._run("count_documents_by_filter", filters)

    async def count_unique_metadata_by_filter_async(
        self, filters: dict[str, Any], metadata_fields: list[str]
    ) -> dict[str, int]:
        """As ``count_unique_metadata_by_filter``."""
        return await self._run("count_unique_metadata_by_filter", filters, metadata_fields)

    async def get_metadata_fields_info_async(self) -> dict[str, dict[str, str]]:
        """As ``get_metadata_fields_info``."""
        return await self._run("get_metadata_fields_info")

    async def get_metadata_field_min_max_async(self, metadata_field: str) -> dict[str, Any]:
        """As ``get_metadata_field_min_max``."""
        return await self._run("get_metadata_field_min_max", metadata_field)

    async def get_metadata_field_unique_values_async(
        self,
        metadata_field: str,
        search_term: str | None = None,
        from_: int = 0,
        size: int = 10,
        filters: dict[str, Any] | None = None,
    ) -> tuple[list[Any], int]:
        """As ``get_metadata_field_unique_values``."""
        name = "get_metadata_field_unique_values"
        return await self._run(name, metadata_field, search_term, from_, size, filters)

    async def embedding_retrieval_async(
        self,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        scale_score: bool = False,
        return_embedding: bool = False,
    ) -> list[Document]:
        """As ``embedding_retrieval``."""
        given = query_embedding, filters, top_k, scale_score, return_embedding
        return await self._run("embedding_retrieval", *given)

    async def bm25_retrieval_async(
        self,
        query: str,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        scale_score: bool = False,
    ) -> list[Document]:
        """As ``bm25_retrieval``."""
        return await self._run("bm25_retrieval", query, filters, top_k, scale_score)

    async def _run(self, name: str, *given: Any) -> Any:
        return await asyncio.to_thread(getattr(self, name), *given)
