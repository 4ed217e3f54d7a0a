"""A tenant as LlamaIndex's vector store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final

import numpy as np

from llmspell.errors import InputError
from llmspell.integrations.handles import as_tenant
from llmspell.integrations.llamaindex.filters import matcher, narrowed
from llmspell.integrations.llamaindex.framework import (
    BaseNode,
    BasePydanticVectorStore,
    MetadataFilters,
    PrivateAttr,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
    get_top_k_mmr_embeddings,
)
from llmspell.integrations.llamaindex.nodes import document_of, to_fields_of, to_node, to_text
from llmspell.integrations.matching import MOST_RETRIEVED, Found, nearest, scan, widened
from llmspell.integrations.metadata import DOCUMENT
from llmspell.integrations.narrowing import Condition, both
from llmspell.tenancy import AsyncTenant, Hit, Record, Retrieved, Tenant, WeightedScores
from llmspell.tenancy.retrieving import Mode

__all__ = ["LlmspellVectorStore"]

_BY_WORDS: Final[dict[VectorStoreQueryMode, Mode]] = {
    VectorStoreQueryMode.TEXT_SEARCH: "lexical",
    VectorStoreQueryMode.SPARSE: "lexical",
    VectorStoreQueryMode.HYBRID: "hybrid",
}
#: How many nodes MMR chooses among, for each that is wanted.
PREFETCH_FACTOR: Final = 4.0


class LlmspellVectorStore(BasePydanticVectorStore):
    """The records of a tenant, those that others wrote or ingested too. Thread-safe.

    Every call is charged to the tenant. Filters mean what LlamaIndex's own function says, and may
    be nested. Nodes come back equal, with embeddings in float32. Awaited forms run in threads.

    Args:
        tenant: whose records they are, by a handle, sync or async; you close it.

    Raises:
        ConfigError: ``tenant`` is no handle.
    """

    stores_text: bool = True
    is_embedding_query: bool = True
    _tenant: Tenant = PrivateAttr()

    def __init__(self, tenant: Tenant | AsyncTenant) -> None:
        super().__init__(stores_text=True)
        self._tenant = as_tenant(tenant)

    @classmethod
    def class_name(cls) -> str:
        """Its name for LlamaIndex."""
        return "LlmspellVectorStore"

    @property
    def client(self) -> Tenant:
        """The tenant."""
        return self._tenant

    def add(self, nodes: Sequence[BaseNode], **add_kwargs: Any) -> list[str]:
        """Write nodes with their embeddings, all of them or none; each replaces what has its id.

        Args:
            add_kwargs: LlamaIndex's; there are none that mean anything here.

        Returns:
            Their ids.

        Raises:
            InputError: a node that can't be stored; nothing was written.
            ValueError: LlamaIndex's; a node has no embedding.
        """
        if not nodes:
            return []
        ids = [node.node_id for node in nodes]
        vectors = np.asarray([node.get_embedding() for node in nodes], dtype=np.float32)
        self._tenant.upsert(ids, vectors, list(map(to_fields_of, nodes)), list(map(to_text, nodes)))
        return ids

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **_: Any
    ) -> list[BaseNode]:
        """Nodes with their embeddings: of the ids, in their order, or all; those that match."""
        return [to_node(record, record.vector) for record in self._matching(node_ids, filters)]

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Remove the nodes of a document."""
        self._tenant.delete(filter={DOCUMENT: ref_doc_id})

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """Remove nodes of the ids, as far as they match the filters.

        Raises:
            InputError: neither is given; :meth:`clear` removes all.
        """
        if node_ids is None and filters is None:
            raise InputError("give node_ids or filters; clear() removes all nodes")
        if filters is None:
            ids: Sequence[str | int] = node_ids or []
        else:
            ids = [record.id for record in self._matching(node_ids, filters)]
        if ids:
            self._tenant.delete(ids)

    def clear(self, **_: Any) -> None:
        """Remove every record of the tenant."""
        self._tenant.delete(filter={})

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """The nodes that are best, best first; the first that match where nothing is asked for.

        Args:
            query: of mode ``DEFAULT`` or ``MMR``, by its vector; ``TEXT_SEARCH`` or ``SPARSE``, by
                the words of its ``query_str``; or ``HYBRID``, by both, where ``alpha`` is the
                weight of the vector. Those with words need the extra ``lexical``, and a filter that
                the index can't answer acts among their 10,000 best.
            kwargs: for ``MMR`` ``mmr_threshold``, from 0, where nodes only differ, to 1, where they
                are the nearest; ``mmr_prefetch_k`` or ``mmr_prefetch_factor``, among how many
                nodes it chooses: four times as many as are wanted, unless given.

        Raises:
            InputError: another mode, arguments that disagree, or what a mode needs is missing.
        """
        if query.mode in _BY_WORDS:
            return self._by_words(query, _BY_WORDS[query.mode])
        if query.mode not in (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR):
            raise InputError(f"mode {query.mode.value!r} isn't supported")
        k = query.similarity_top_k
        if query.query_embedding is None:
            # To LlamaIndex an empty list of ids is none at all.
            matching = self._matching(query.node_ids or None, query.filters, query.doc_ids)
            records = islice(matching, k)
            nodes = [to_node(record, record.vector) for record in records]
            return VectorStoreQueryResult(nodes=nodes, ids=[node.node_id for node in nodes])
        if query.mode == VectorStoreQueryMode.MMR:
            return self._diverse(query, **kwargs)
        return _result(self._nearest(query, k))

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """As :meth:`add`."""
        return await asyncio.to_thread(self.add, nodes)

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **_: Any
    ) -> list[BaseNode]:
        """As :meth:`get_nodes`."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """As :meth:`delete`."""
        await asyncio.to_thread(self.delete, ref_doc_id)

    async def adelete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """As :meth:`delete_nodes`."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters)

    async def aclear(self, **_: Any) -> None:
        """As :meth:`clear`."""
        await asyncio.to_thread(self.clear)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """As :meth:`query`."""
        return await asyncio.to_thread(partial(self.query, query, **kwargs))

    def _matching(
        self,
        node_ids: Sequence[str] | None,
        filters: MetadataFilters | None,
        doc_ids: Sequence[str] | None = None,
    ) -> Iterator[Record]:
        condition, keeps = self._conditions(None, filters, doc_ids)
        if node_ids is None:
            records: Iterator[Record] = scan(self._tenant, condition)
        else:
            records = iter(self._tenant.get(list(node_ids), missing_ok=True))
        return (record for record in records if keeps is None or keeps(record))

    def _nearest(self, query: VectorStoreQuery, k: int) -> list[Hit]:
        given = self._conditions(query.node_ids or None, query.filters, query.doc_ids)
        return nearest(self._tenant, query.query_embedding, k, *given)

    def _conditions(
        self,
        node_ids: Sequence[str] | None,
        filters: MetadataFilters | None,
        doc_ids: Sequence[str] | None,
    ) -> tuple[Condition, Callable[[Found], bool] | None]:
        tests: list[Callable[[BaseNode], bool]] = []
        conditions: list[Condition] = []
        if node_ids is not None:
            wanted = set(node_ids)
            tests.append(lambda node: node.node_id in wanted)
        if doc_ids:
            documents = set(doc_ids)
            conditions.append({DOCUMENT: {"$in": list(documents)}})
            tests.append(lambda node: document_of(node) in documents)
        if filters is not None and filters.filters:
            conditions.append(narrowed(filters, self._tenant.config.schema))
            tests.append(matcher(filters))
        if not tests:
            return None, None

        def keeps(found: Found) -> bool:
            node = to_node(found)
            return all(test(node) for test in tests)

        return both(conditions), keeps

    def _by_words(self, query: VectorStoreQuery, mode: Mode) -> VectorStoreQueryResult:
        if not query.query_str:
            raise InputError(f"mode {query.mode.value!r} needs query_str")
        vector, fusion, k = None, None, query.sparse_top_k
        if mode == "hybrid":
            if query.query_embedding is None:
                raise InputError("mode 'hybrid' needs query_embedding")
            vector, k = query.query_embedding, query.hybrid_top_k
            if query.alpha is not None:
                fusion = WeightedScores(dense=query.alpha, lexical=1 - query.alpha)
        condition, keeps = self._conditions(query.node_ids or None, query.filters, query.doc_ids)
        hits = widened(
            lambda wanted: self._tenant.retrieve(
                query.query_str, wanted, mode=mode, filter=condition, vector=vector, fusion=fusion
            ),
            k or query.similarity_top_k,
            keeps,
            MOST_RETRIEVED,
        )
        return _result(hits)

    def _diverse(
        self,
        query: VectorStoreQuery,
        *,
        mmr_threshold: float | None = None,
        mmr_prefetch_k: int | None = None,
        mmr_prefetch_factor: float | None = None,
        **_: Any,
    ) -> VectorStoreQueryResult:
        if mmr_prefetch_k is not None and mmr_prefetch_factor is not None:
            raise InputError("give mmr_prefetch_k or mmr_prefetch_factor, not both")
        k = query.similarity_top_k
        factor = PREFETCH_FACTOR if mmr_prefetch_factor is None else mmr_prefetch_factor
        hits = self._nearest(query, max(k, mmr_prefetch_k or int(k * factor)))
        # Those that were deleted meanwhile are passed over.
        records = self._tenant.get([hit.id for hit in hits], missing_ok=True)
        similarities, chosen = get_top_k_mmr_embeddings(
            query.query_embedding,
            [record.vector.tolist() for record in records],
            similarity_top_k=k,
            embedding_ids=list(range(len(records))),
            mmr_threshold=query.mmr_threshold if mmr_threshold is None else mmr_threshold,
        )
        nodes = [to_node(records[i]) for i in chosen]
        ids = [node.node_id for node in nodes]
        return VectorStoreQueryResult(nodes=nodes, similarities=similarities, ids=ids)


def _result(hits: Sequence[Hit | Retrieved]) -> VectorStoreQueryResult:
    return VectorStoreQueryResult(
        nodes=[to_node(hit) for hit in hits],
        similarities=[hit.score for hit in hits],
        ids=[str(hit.id) for hit in hits],
    )
