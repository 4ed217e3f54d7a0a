from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.indexing import InMemoryRecordManager, aindex, index

from llmspell import Database, QuotaLimits, Tenant, TenantConfig, errors
from llmspell.integrations.langchain import LlmspellRetriever, LlmspellVectorStore
from tests.integrations.conftest import HashedWords


class Words(Embeddings):
    """The words of a text, hashed; counts how often texts are embedded."""

    def __init__(self) -> None:
        self.calls = 0

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.calls += 1
        rows: list[list[float]] = HashedWords().embed_query(texts).tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


@pytest.fixture
def store(tenant: Tenant) -> LlmspellVectorStore:
    return LlmspellVectorStore(tenant, Words())


def test_metadata_of_any_kind_comes_back(store: LlmspellVectorStore) -> None:
    metadata: dict[Any, Any] = {
        "none": None,
        "nested": {"a": [1, {"b": (2,)}]},
        "when": datetime(2024, 5, 1),
        3: b"\xff",
    }
    store.add_documents([Document(id="a", page_content="red fox", metadata=metadata)])
    (found,) = store.similarity_search("fox")
    assert found == Document(id="a", page_content="red fox", metadata=metadata)
    assert store.get_by_ids(["a", "b"]) == [found]


def test_a_filter_is_a_mapping_or_a_function(store: LlmspellVectorStore) -> None:
    texts = [f"fox {i}" for i in range(40)]
    store.add_texts(texts, [{"n": i, "when": datetime(2000 + i, 1, 1)} for i in range(40)])
    found = store.similarity_search("fox", k=5, filter={"n": {"$gte": 37}})
    assert sorted(one.metadata["n"] for one in found) == [37, 38, 39]
    late = datetime(2036, 1, 1)
    found = store.similarity_search("fox", k=3, filter=lambda one: one.metadata["when"] >= late)
    assert len(found) == 3 and all(one.metadata["n"] >= 36 for one in found)
    found = store.similarity_search("fox", k=9, filter=lambda one: one.metadata["when"] >= late)
    assert sorted(one.metadata["n"] for one in found) == [36, 37, 38, 39]


def test_scores_are_the_tenants_and_best_first(store: LlmspellVectorStore) -> None:
    store.add_texts(["red fox", "grey wolf"], ids=["fox", "wolf"])
    (best, first), (_, second) = store.similarity_search_with_score("red fox", k=2)
    assert best.id == "fox" and first == pytest.approx(1.0, abs=1e-5) and second < first
    ((_, relevance),) = store.similarity_search_with_relevance_scores("red fox", k=1)
    assert relevance == pytest.approx(1.0, abs=1e-5)
    retriever = store.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.99}
    )
    assert [one.id for one in retriever.invoke("red fox")] == ["fox"]


@pytest.mark.parametrize("metric", ["ip", "l2", "cosine"])
def test_relevance_is_from_0_to_1_and_keeps_the_order(database: Database, metric: Any) -> None:
    config = TenantConfig(id="metric", metric=metric, quotas=QuotaLimits.unlimited())
    store = LlmspellVectorStore(database.create_tenant(config), Words())
    store.add_texts(["red fox", "red wolf", "grey wolf"])
    scored = store.similarity_search_with_score("red fox red fox", k=3)
    relevant = store.similarity_search_with_relevance_scores("red fox red fox", k=3)
    assert [one for one, _ in scored] == [one for one, _ in relevant]
    values = [value for _, value in relevant]
    assert values == sorted(values, reverse=True) and all(0 <= value <= 1 for value in values)
    database.drop_tenant("metric")


def test_marginal_relevance_passes_over_what_is_alike(store: LlmspellVectorStore) -> None:
    store.add_texts(["red fox"] * 5 + ["red wolf"], ids=[*"abcde", "wolf"])
    found = store.max_marginal_relevance_search("red fox", k=2, lambda_mult=0.1)
    assert found[0].page_content == "red fox" and found[1].id == "wolf"
    again = asyncio.run(store.amax_marginal_relevance_search("red fox", k=2, lambda_mult=0.1))
    assert [one.page_content for one in again] == ["red fox", "red wolf"]
    assert all(
        one.id != "wolf"
        for one in store.max_marginal_relevance_search("fox", filter={"x": {"$exists": True}})
    )


def test_nothing_is_embedded_or_written_where_something_is_wrong(tenant: Tenant) -> None:
    words = Words()
    store = LlmspellVectorStore(tenant, words)
    with pytest.raises(errors.InputError, match="2 texts, but 1 metadatas"):
        store.add_texts(["a", "b"], [{}])
    with pytest.raises(errors.InputError, match="2 texts, but 3 ids"):
        store.add_texts(["a", "b"], ids=["1", "2", "3"])
    with pytest.raises(errors.MetadataError):
        store.add_texts(["a"], [{"a": object()}])
    assert words.calls == 0
    assert store.add_texts([]) == []
    assert tenant.count() == 0


def test_delete_without_ids_removes_all(store: LlmspellVectorStore, tenant: Tenant) -> None:
    store.add_texts(["a", "b", "c"], ids=["1", "2", "3"])
    assert store.delete([]) and tenant.count() == 3
    assert store.delete(["1", "x"]) and tenant.count() == 2
    assert store.delete() and tenant.count() == 0


def test_a_store_is_made_from_texts_and_documents(tenant: Tenant) -> None:
    documents = [Document(id="a", page_content="fox"), Document(page_content="wolf")]
    store = LlmspellVectorStore.from_documents(documents, Words(), tenant=tenant)
    assert isinstance(store, LlmspellVectorStore) and store.embeddings is store._embedding
    assert [one.page_content for one in store.get_by_ids(["a"])] == ["fox"]
    assert tenant.count() == 2
    asyncio.run(LlmspellVectorStore.afrom_texts(["owl"], Words(), ids=["o"], tenant=tenant))
    assert tenant.get("o").text == "owl"


def test_langchain_s_indexing_keeps_a_store_in_step_with_its_sources(
    store: LlmspellVectorStore, tenant: Tenant
) -> None:
    def of(*texts: str) -> list[Document]:
        return [Document(page_content=text, metadata={"source": "s"}) for text in texts]

    records = InMemoryRecordManager("s")
    records.create_schema()
    how: Any = {"cleanup": "full", "source_id_key": "source", "key_encoder": "blake2b"}
    done = index(of("red fox", "grey wolf"), records, store, **how)
    assert (done["num_added"], tenant.count()) == (2, 2)
    done = index(of("red fox", "brown bear"), records, store, **how)
    assert (done["num_added"], done["num_skipped"], done["num_deleted"]) == (1, 1, 1)
    done = asyncio.run(aindex(of("red fox"), records, store, **how))
    assert (done["num_deleted"], tenant.count()) == (1, 1)


def test_records_of_others_are_documents_too(store: LlmspellVectorStore, tenant: Tenant) -> None:
    tenant.upsert(7, np.ones(16), metadata={"n": 1})
    assert store.similarity_search("a") == [Document(id="7", page_content="", metadata={"n": 1})]


def test_every_call_is_charged_to_the_tenant(database: Database) -> None:
    quotas = QuotaLimits(max_api_calls_per_minute=3)
    tenant = database.create_tenant(TenantConfig(id="poor", quotas=quotas))
    store = LlmspellVectorStore(tenant, Words())
    store.add_texts(["a"])
    store.similarity_search("a")
    store.get_by_ids(["a"])
    with pytest.raises(errors.QuotaExceeded):
        store.similarity_search("a")
    with pytest.raises(errors.QuotaExceeded):
        asyncio.run(store.asimilarity_search("a"))
    database.drop_tenant("poor")


def test_texts_can_expire(store: LlmspellVectorStore, tenant: Tenant) -> None:
    store.add_texts(["a"], ids=["1"], ttl=60)
    assert tenant.get("1").expires_at is not None


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
def test_a_retriever_asks_by_meaning_by_words_or_by_both(tenant: Tenant, mode: Any) -> None:
    store = LlmspellVectorStore(tenant, Words())
    store.add_texts(["red fox", "grey wolf", "red wolf"], [{"n": 1}, {"n": 2}, {"n": 3}])
    retriever = LlmspellRetriever(tenant=tenant, mode=mode, filter={"n": {"$gt": 1}})
    found = retriever.invoke("red wolf")
    assert [one.page_content for one in found] == ["red wolf", "grey wolf"]
    assert found[0].metadata["score"] > found[1].metadata["score"]
    assert asyncio.run(retriever.ainvoke("red wolf", k=1)) == found[:1]
