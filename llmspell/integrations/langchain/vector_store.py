"""A tenant as LangChain's vector store."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, TypeAlias
from uuid import uuid4

import numpy as np

from llmspell.errors import InputError
from llmspell.integrations.handles import as_tenant
from llmspell.integrations.langchain.documents import to_document
from llmspell.integrations.langchain.framework import (
    Document,
    Embeddings,
    VectorStore,
    maximal_marginal_relevance,
    run_in_executor,
)
from llmspell.integrations.matching import nearest
from llmspell.integrations.metadata import to_fields
from llmspell.tenancy import AsyncTenant, Hit, Tenant

__all__ = ["DocumentFilter", "LlmspellVectorStore"]

DocumentFilter: TypeAlias = Mapping[str, Any] | Callable[[Document], bool]
"""A filter of llmspell's language over the metadata, or a function that says what is kept."""


class LlmspellVectorStore(VectorStore):
    """The records of a tenant, those that others wrote or ingested too. Thread-safe.

    Every call is charged to the tenant. The forms that are awaited run in threads of LangChain's.
    Metadata comes back equal, whatever it was: see docs/reference/integrations.md.

    Args:
        tenant: whose records they are, by a handle, sync or async; you close it.
        embedding: turns texts and queries into vectors.

    Raises:
        ConfigError: ``tenant`` is no handle.
    """

    def __init__(self, tenant: Tenant | AsyncTenant, embedding: Embeddings) -> None:
        self._tenant = as_tenant(tenant)
        self._embedding = embedding

    @property
    def embeddings(self) -> Embeddings:
        """What turns texts into vectors."""
        return self._embedding

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        tenant: Tenant | AsyncTenant,
    ) -> LlmspellVectorStore:
        """A store over ``tenant``, to which texts are added."""
        store = cls(tenant, embedding)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    @classmethod
    async def afrom_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        tenant: Tenant | AsyncTenant,
    ) -> LlmspellVectorStore:
        """As :meth:`from_texts`."""
        store = cls(tenant, embedding)
        await store.aadd_texts(texts, metadatas, ids=ids)
        return store

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        ttl: float | timedelta | None = None,
        batch_size: int | None = None,
    ) -> list[str]:
        """Embed and write texts, all of them or none; each replaces what has its id.

        Args:
            metadatas: one for each text.
            ids: one for each text; a new UUID where None.
            ttl: seconds that they live; None means for ever.
            batch_size: of LangChain's ``index``, which hands over no more at once; not looked at.

        Returns:
            Their ids.

        Raises:
            InputError: the lists are of unequal length, or a text, an id or metadata can't be
                stored; nothing was written.
            QuotaExceeded: nothing was written.
        """
        texts = list(texts)
        put = self._prepared(texts, metadatas, ids, ttl)
        return put(self._embedding.embed_documents(texts)) if texts else []

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        ttl: float | timedelta | None = None,
        batch_size: int | None = None,
    ) -> list[str]:
        """As :meth:`add_texts`."""
        texts = list(texts)
        put = self._prepared(texts, metadatas, ids, ttl)
        if not texts:
            return []
        vectors = await self._embedding.aembed_documents(texts)
        return await run_in_executor(None, put, vectors)

    def delete(self, ids: list[str] | None = None) -> bool:
        """Remove records, and ingested documents with their chunks; all where ``ids`` is None.

        Returns:
            True; ids that aren't there are passed over.
        """
        if ids is None:
            self._tenant.delete(filter={})
        elif ids:
            self._tenant.delete(ids)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Documents in the order of their ids, without those that aren't there."""
        return [to_document(one) for one in self._tenant.get(list(ids), missing_ok=True)]

    def similarity_search(
        self, query: str, k: int = 4, *, filter: DocumentFilter | None = None
    ) -> list[Document]:
        """The k nearest documents, best first; ``filter`` says which may be among them."""
        return [one for one, _ in self.similarity_search_with_score(query, k, filter=filter)]

    async def asimilarity_search(
        self, query: str, k: int = 4, *, filter: DocumentFilter | None = None
    ) -> list[Document]:
        """As :meth:`similarity_search`."""
        found = await self.asimilarity_search_with_score(query, k, filter=filter)
        return [one for one, _ in found]

    def similarity_search_with_score(
        self, query: str, k: int = 4, *, filter: DocumentFilter | None = None
    ) -> list[tuple[Document, float]]:
        """The k nearest documents with the tenant's scores: higher is better.

        It is the cosine, the inner product, or minus the squared distance, by the tenant's metric.
        """
        return self._scored(self._embedding.embed_query(query), k, filter)

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, *, filter: DocumentFilter | None = None
    ) -> list[tuple[Document, float]]:
        """As :meth:`similarity_search_with_score`."""
        vector = await self._embedding.aembed_query(query)
        return await run_in_executor(None, self._scored, vector, k, filter)

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: DocumentFilter | None = None
    ) -> list[Document]:
        """As :meth:`similarity_search`, of a query that is a vector."""
        return [one for one, _ in self._scored(embedding, k, filter)]

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: DocumentFilter | None = None,
    ) -> list[Document]:
        """Documents that are near and unlike each other (Carbonell and Goldstein, 1998).

        Args:
            fetch_k: how many of the nearest it chooses among.
            lambda_mult: from 0, where they only differ, to 1, where they are the nearest.
        """
        vector = self._embedding.embed_query(query)
        return self.max_marginal_relevance_search_by_vector(
            vector, k, fetch_k, lambda_mult, filter=filter
        )

    async def amax_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: DocumentFilter | None = None,
    ) -> list[Document]:
        """As :meth:`max_marginal_relevance_search`."""
        vector = await self._embedding.aembed_query(query)
        search = partial(self.max_marginal_relevance_search_by_vector, filter=filter)
        return await run_in_executor(None, search, vector, k, fetch_k, lambda_mult)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: DocumentFilter | None = None,
    ) -> list[Document]:
        """As :meth:`max_marginal_relevance_search`, of a query that is a vector."""
        hits = self._hits(embedding, fetch_k, filter)
        # Those that were deleted meanwhile are passed over.
        records = self._tenant.get([hit.id for hit in hits], missing_ok=True)
        chosen = maximal_marginal_relevance(
            np.asarray(embedding, dtype=np.float32),
            [record.vector for record in records],
            lambda_mult=lambda_mult,
            k=k,
        )
        return [to_document(records[i]) for i in chosen]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        match self._tenant.config.metric:
            case "cosine":
                return lambda score: min(max((1 + score) / 2, 0.0), 1.0)
            case "l2":
                return lambda score: 1 / (1 + max(-score, 0.0))
        # An inner product has no bounds; this keeps the order of any.
        return lambda score: 0.5 * (1 + math.tanh(score / 2))

    def _scored(
        self, vector: list[float], k: int, filter: DocumentFilter | None
    ) -> list[tuple[Document, float]]:
        return [(to_document(hit), hit.score) for hit in self._hits(vector, k, filter)]

    def _hits(self, vector: list[float], k: int, filter: DocumentFilter | None) -> list[Hit]:
        if filter is None or isinstance(filter, Mapping):
            return nearest(self._tenant, vector, k, filter)
        return nearest(self._tenant, vector, k, keeps=lambda hit: filter(to_document(hit)))

    def _prepared(
        self,
        texts: Sequence[str],
        metadatas: Sequence[dict[str, Any]] | None,
        ids: Sequence[str | None] | None,
        ttl: float | timedelta | None,
    ) -> Callable[[list[list[float]]], list[str]]:
        """What writes the vectors of texts; all else is checked before they are embedded."""
        for name, given in (("metadatas", metadatas), ("ids", ids)):
            if given is not None and len(given) != len(texts):
                raise InputError(f"{len(texts)} texts, but {len(given)} {name}")
        names = [str(uuid4()) if one is None else one for one in ids or [None] * len(texts)]
        fields = [to_fields(one or {}) for one in metadatas or [{}] * len(texts)]

        def put(vectors: list[list[float]]) -> list[str]:
            self._tenant.upsert(names, np.asarray(vectors, np.float32), fields, texts, ttl=ttl)
            return names

        return put
