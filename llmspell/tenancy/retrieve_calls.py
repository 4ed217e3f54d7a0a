"""`retrieve`, as handles have it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, overload

from numpy.typing import ArrayLike

from llmspell.tenancy.diversity import MMR
from llmspell.tenancy.fusion import Fusion
from llmspell.tenancy.parents import ParentDocument
from llmspell.tenancy.ranking import Thresholds
from llmspell.tenancy.reranking import Rerank, Reranker
from llmspell.tenancy.retrieved import Retrieval
from llmspell.tenancy.retrieving import Mode, Retrieve
from llmspell.tenancy.searching import Consistency

__all__ = ["AsyncRetrieveCalls", "RetrieveCalls"]


class RetrieveCalls:
    """Mixed into :class:`llmspell.Tenant`."""

    __slots__ = ()

    @overload
    def retrieve(  # type: ignore[overload-overlap]
        self,
        query: str,
        k: int = 10,
        *,
        mode: Mode = "hybrid",
        filter: Mapping[str, Any] | None = None,
        threshold: float | Thresholds | None = None,
        fusion: Fusion | None = None,
        candidates: int | None = None,
        vector: ArrayLike | None = None,
        mmr: MMR | None = None,
        rerank: Reranker | Rerank | None = None,
        parents: ParentDocument | None = None,
        cursor: str | None = None,
        ef_search: int | None = None,
        recall: float | None = None,
        consistency: Consistency = "strong",
    ) -> Retrieval: ...
    @overload
    def retrieve(
        self,
        query: Sequence[str],
        k: int = 10,
        *,
        mode: Mode = "hybrid",
        filter: Mapping[str, Any] | None = None,
        threshold: float | Thresholds | None = None,
        fusion: Fusion | None = None,
        candidates: int | None = None,
        vector: ArrayLike | None = None,
        mmr: MMR | None = None,
        rerank: Reranker | Rerank | None = None,
        parents: ParentDocument | None = None,
        cursor: str | None = None,
        ef_search: int | None = None,
        recall: float | None = None,
        consistency: Consistency = "strong",
    ) -> list[Retrieval]: ...
    def retrieve(
        self,
        query: str | Sequence[str],
        k: int = 10,
        *,
        mode: Mode = "hybrid",
        filter: Mapping[str, Any] | None = None,
        threshold: float | Thresholds | None = None,
        fusion: Fusion | None = None,
        candidates: int | None = None,
        vector: ArrayLike | None = None,
        mmr: MMR | None = None,
        rerank: Reranker | Rerank | None = None,
        parents: ParentDocument | None = None,
        cursor: str | None = None,
        ef_search: int | None = None,
        recall: float | None = None,
        consistency: Consistency = "strong",
    ) -> Any:
        """Find records by meaning, by words, or by both, and say why each was found.

        Args:
            query: a text; a list of texts for a batch.
            k: hits at most, from 1 to 10,000.
            mode: ``"dense"`` asks the vector index, ``"lexical"`` the lexical one, by BM25,
                ``"hybrid"`` both. The lexical index is built with the first search that asks it.
            filter: metadata that hits must have, as for :meth:`search`.
            threshold: least score of a hit in the end, or :class:`llmspell.Thresholds`.
            fusion: how two rankings become one: :class:`llmspell.WeightedScores`, which is meant by
                None, or :class:`llmspell.ReciprocalRank`.
            candidates: what each index gives to choose from, k or more; None means 100, or k.
            vector: (dim,) of the query, or (q, dim) of a batch, in place of embedding it.
            mmr: takes hits that differ from each other.
            rerank: a callable that takes the query and n texts and gives n numbers, higher is
                better, such as :class:`llmspell.rag.CrossEncoder`; it orders the best 50, which are
                then all there is. :class:`llmspell.Rerank` says how many. Records without a text
                are left out.
            parents: gives passages of documents in place of chunks.
            cursor: of the page before, with the same query and settings. Pages go on to the end of
                the candidates; each shows the tenant as it is then.
            ef_search, recall, consistency: as for :meth:`search`.

        Returns:
            :class:`llmspell.Retrieval`; for a batch a list of them. Each query is charged as one.

        Raises:
            DimensionMismatch, DtypeError, NonFiniteVector, ShapeError, ZeroVector: the vector.
            EmbedderMismatch: documents were embedded by another model than the text would be.
            EmbeddingError: the text can't be embedded.
            FilterError: the message names the bad part.
            InputError: a text is blank, or an argument isn't what it must be.
            InvalidCursor: the cursor is damaged, or of another question.
            MissingDependency: without the extra ``lexical`` there is ``mode="dense"`` alone.
            RerankError: the reranker gives no n finite numbers; what it raises is raised.
        """
        asked = Retrieve(
            query=query,
            k=k,
            mode=mode,
            filter=filter,
            threshold=threshold,
            fusion=fusion,
            candidates=candidates,
            vector=vector,
            mmr=mmr,
            rerank=rerank,
            parents=parents,
            cursor=cursor,
            ef_search=ef_search,
            recall=recall,
            consistency=consistency,
        )
        return self._retrieve(asked)

    @abstractmethod
    def _retrieve(self, asked: Retrieve) -> Any: ...


class AsyncRetrieveCalls:
    """Mixed into :class:`llmspell.AsyncTenant`."""

    __slots__ = ()

    @overload
    async def retrieve(  # type: ignore[overload-overlap]
        self,
        query: str,
        k: int = 10,
        *,
        mode: Mode = "hybrid",
        filter: Mapping[str, Any] | None = None,
        threshold: float | Thresholds | None = None,
        fusion: Fusion | None = None,
        candidates: int | None = None,
        vector: ArrayLike | None = None,
        mmr: MMR | None = None,
        rerank: Reranker | Rerank | None = None,
        parents: ParentDocument | None = None,
        cursor: str | None = None,
        ef_search: int | None = None,
        recall: float | None = None,
        consistency: Consistency = "strong",
    ) -> Retrieval: ...
    @overload
    async def retrieve(
        self,
        query: Sequence[str],
        k: int = 10,
        *,
        mode: Mode = "hybrid",
        filter: Mapping[str, Any] | None = None,
        threshold: float | Thresholds | None = None,
        fusion: Fusion | None = None,
        candidates: int | None = None,
        vector: ArrayLike | None = None,
        mmr: MMR | None = None,
        rerank: Reranker | Rerank | None = None,
        parents: ParentDocument | None = None,
        cursor: str | None = None,
        ef_search: int | None = None,
        recall: float | None = None,
        consistency: Consistency = "strong",
    ) -> list[Retrieval]: ...
    async def retrieve(
        self,
        query: str | Sequence[str],
        k: int = 10,
        *,
        mode: Mode = "hybrid",
        filter: Mapping[str, Any] | None = None,
        threshold: float | Thresholds | None = None,
        fusion: Fusion | None = None,
        candidates: int | None = None,
        vector: ArrayLike | None = None,
        mmr: MMR | None = None,
        rerank: Reranker | Rerank | None = None,
        parents: ParentDocument | None = None,
        cursor: str | None = None,
        ef_search: int | None = None,
        recall: float | None = None,
        consistency: Consistency = "strong",
    ) -> Any:
        """As :meth:`Tenant.retrieve`."""
        asked = Retrieve(
            query=query,
            k=k,
            mode=mode,
            filter=filter,
            threshold=threshold,
            fusion=fusion,
            candidates=candidates,
            vector=vector,
            mmr=mmr,
            rerank=rerank,
            parents=parents,
            cursor=cursor,
            ef_search=ef_search,
            recall=recall,
            consistency=consistency,
        )
        return await self._retrieve(asked)

    @abstractmethod
    async def _retrieve(self, asked: Retrieve) -> Any: ...
