"""What is nearest in a document store, and what its words find."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from llmspell.integrations.haystack.documents import to_document
from llmspell.integrations.haystack.filters import asks_for_embedding, matcher, narrowed
from llmspell.integrations.haystack.framework import Document
from llmspell.integrations.matching import MOST_RETRIEVED, Found, nearest, widened
from llmspell.integrations.metadata import UNEMBEDDED
from llmspell.integrations.narrowing import Condition, both
from llmspell.tenancy import Tenant

__all__ = ["Retrievals"]


class Retrievals:
    """Retrievals by embedding and by words; filters are Haystack's."""

    _tenant: Tenant

    def embedding_retrieval(
        self,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        scale_score: bool = False,
        return_embedding: bool = False,
    ) -> list[Document]:
        """The nearest documents that match and have an embedding, best first.

        Args:
            scale_score: bring scores to the range from 0 to 1.
            return_embedding: whether documents come with theirs.

        Raises:
            DimensionMismatch: a query of another length.
            FilterError: Haystack's; the filter can't be understood, or a document that is asked for
                can't be compared by it.
        """
        if top_k == 0:
            return []
        condition, keeps = self._conditions(filters)
        embedded = both([{UNEMBEDDED: {"$exists": False}}, condition])
        hits = nearest(self._tenant, query_embedding, top_k, embedded, keeps)
        vectors = {}
        if return_embedding and hits:
            records = self._tenant.get([hit.id for hit in hits], missing_ok=True)
            vectors = {record.id: record.vector for record in records}
        scale = self._scale if scale_score else float
        return [
            to_document(hit, score=scale(hit.score), vector=vectors.get(hit.id)) for hit in hits
        ]

    def bm25_retrieval(
        self,
        query: str,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        scale_score: bool = False,
    ) -> list[Document]:
        """The documents that match and have words of the query, best first by BM25.

        A filter that the index can't answer acts among the 10,000 best.

        Args:
            scale_score: bring scores to the range from 0 to 1.

        Raises:
            FilterError: Haystack's; as :meth:`embedding_retrieval`.
            InputError: a blank query.
            MissingDependency: the extra ``lexical`` is not installed.
        """
        if top_k == 0:
            return []
        condition, keeps = self._conditions(filters)
        hits = widened(
            lambda k: self._tenant.retrieve(query, k, mode="lexical", filter=condition),
            top_k,
            keeps,
            MOST_RETRIEVED,
        )
        # Haystack's scale of BM25.
        scale = (lambda score: 1 / (1 + math.exp(-score / 8))) if scale_score else float
        return [to_document(hit, score=scale(hit.score)) for hit in hits]

    def _conditions(
        self, filters: dict[str, Any] | None
    ) -> tuple[Condition, Callable[[Found], bool] | None]:
        if not filters:
            return None, None
        matches = matcher(filters)
        narrow = narrowed(filters, self._tenant.config.schema)
        if not asks_for_embedding(filters):
            return narrow, lambda hit: matches(to_document(hit))

        def keeps(hit: Found) -> bool:
            records = self._tenant.get([hit.id], missing_ok=True)
            return any(matches(to_document(one, vector=one.vector)) for one in records)

        return narrow, keeps

    def _scale(self, score: float) -> float:
        match self._tenant.config.metric:
            case "cosine":
                return min(max((1 + score) / 2, 0.0), 1.0)
            case "l2":
                return 1 / (1 + max(-score, 0.0))
        return 0.5 * (1 + math.tanh(score / 200))  # Haystack's scale of inner products
