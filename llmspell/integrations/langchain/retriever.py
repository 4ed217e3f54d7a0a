"""A tenant as LangChain's retriever, which embeds queries as the tenant's texts were embedded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

from llmspell.integrations.handles import as_tenant
from llmspell.integrations.langchain.documents import to_document
from llmspell.integrations.langchain.framework import (
    AsyncCallbackManagerForRetrieverRun,
    BaseRetriever,
    CallbackManagerForRetrieverRun,
    Document,
    run_in_executor,
)
from llmspell.tenancy import Tenant
from llmspell.tenancy.retrieving import Mode

__all__ = ["LlmspellRetriever"]


class LlmspellRetriever(BaseRetriever):
    """What a tenant finds for a text by meaning, by words or by both, as documents. Thread-safe.

    It needs no embeddings of LangChain's: queries are embedded by the database. ``k`` and
    ``filter`` can be given to ``invoke``, too. Each score is in the document's metadata, as
    ``score``, unless that has such a field.

    Args:
        tenant: that is searched; a handle, sync or async.
        mode: ``"dense"`` is :meth:`llmspell.Tenant.search`; ``"lexical"`` and ``"hybrid"`` are of
            :meth:`llmspell.Tenant.retrieve`, and need the extra ``lexical``.
        k: how many documents are wanted.
        filter: metadata that they must have, in llmspell's language.
        threshold: least score of a document.
    """

    tenant: Annotated[Tenant, BeforeValidator(as_tenant)]
    mode: Mode = "dense"
    k: int = 4
    filter: Mapping[str, Any] | None = None
    threshold: float | None = None

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        filter: Mapping[str, Any] | None = None,
    ) -> list[Document]:
        return self._search(query, k, filter)

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
        filter: Mapping[str, Any] | None = None,
    ) -> list[Document]:
        return await run_in_executor(None, self._search, query, k, filter)

    def _search(
        self, query: str, k: int | None, filter: Mapping[str, Any] | None
    ) -> list[Document]:
        k = self.k if k is None else k
        filter = self.filter if filter is None else filter
        tenant, threshold = self.tenant, self.threshold
        hits = (
            tenant.search(query, k, filter=filter, threshold=threshold)
            if self.mode == "dense"
            else tenant.retrieve(query, k, mode=self.mode, filter=filter, threshold=threshold)
        )
        found = []
        for hit in hits:
            document = to_document(hit)
            document.metadata.setdefault("score", hit.score)
            found.append(document)
        return found
