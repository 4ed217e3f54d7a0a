"""Programs that are async have async handles, and adapters take these."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from haystack import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery

import llmspell
from llmspell import QuotaLimits, TenantConfig, errors
from llmspell.integrations.haystack import LlmspellDocumentStore
from llmspell.integrations.langchain import (
    LlmspellByteStore,
    LlmspellCache,
    LlmspellRetriever,
    LlmspellVectorStore,
)
from llmspell.integrations.llamaindex import LlmspellVectorStore as LlamaStore
from tests.integrations.conftest import HashedWords


def test_adapters_work_by_async_handles(tmp_path: Path, words: HashedWords) -> None:
    async def main() -> None:
        async with llmspell.open(tmp_path, durability="async", texts=words) as db:
            tenant = await db.create_tenant(
                TenantConfig(id="awaited", dim=16, quotas=QuotaLimits.unlimited())
            )
            store = LlmspellVectorStore(tenant, DeterministicFakeEmbedding(size=16))
            await store.aadd_texts(["red fox"], ids=["fox"])
            assert [one.id for one in await store.asimilarity_search("red fox")] == ["fox"]
            found = await LlmspellRetriever(tenant=tenant).ainvoke("red fox")  # type: ignore[arg-type]
            assert [one.id for one in found] == ["fox"]
            await LlmspellByteStore(tenant).amset([("a", b"1")])
            assert await LlmspellByteStore(tenant).amget(["a"]) == [b"1"]
            assert await LlmspellCache(tenant).alookup("a", "b") is None
            llama = LlamaStore(tenant)
            await llama.async_add([TextNode(id_="wolf", text="grey wolf", embedding=[1.0] * 16)])
            asked = VectorStoreQuery(query_embedding=[1.0] * 16, similarity_top_k=1)
            assert (await llama.aquery(asked)).ids == ["wolf"]
            with LlmspellDocumentStore(db, "awaited") as documents:
                await documents.write_documents_async([Document(id="bear", content="brown bear")])
                assert await tenant.count() == await documents.count_documents_async() == 3

    asyncio.run(main())


@pytest.mark.parametrize("wrong", ["acme", None], ids=repr)
def test_what_is_no_handle_is_refused_when_it_is_given(wrong: Any) -> None:
    for make in (
        lambda: LlmspellVectorStore(wrong, DeterministicFakeEmbedding(size=16)),
        lambda: LlmspellByteStore(wrong),
        lambda: LlmspellCache(wrong),
        lambda: LlamaStore(wrong),
    ):
        with pytest.raises(errors.ConfigError, match="tenant must be a handle"):
            make()
