"""What the tests of LlamaIndex's own integrations ask of a vector store, and what is ours.

LlamaIndex ships no suite for vector stores, and packages its integrations without their tests. The
first half restates what those with Chroma, DuckDB and Qdrant check; ``test_polign_suite.py`` runs
those of another maker.
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from llmspell import Database, QuotaLimits, Tenant, TenantConfig, errors
from llmspell.integrations.llamaindex import LlmspellVectorStore


def node(name: str, embedding: list[float], document: str | None, **metadata: Any) -> TextNode:
    relations = {}
    if document is not None:
        relations = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=document)}
    text = f"the text of {name}"
    return TextNode(
        id_=name, text=text, embedding=embedding, metadata=metadata, relationships=relations
    )


NODES = [
    node("king", [1.0, 0.0, 0.0], "doc-0", author="King", theme="Friendship", n=1),
    node("coppola", [0.0, 1.0, 0.0], "doc-0", director="Coppola", theme="Mafia", n=2),
    node("nolan", [0.0, 0.0, 1.0], "doc-1", director="Nolan", n="3"),
    node("curie", [0.0, 0.1, 0.9], None, author="Curie"),
]
X, Y = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]


@pytest.fixture
def store(tenant: Tenant) -> LlmspellVectorStore:
    made = LlmspellVectorStore(tenant)
    assert made.add(NODES) == ["king", "coppola", "nolan", "curie"]
    return made


def where(key: str, value: Any, operator: FilterOperator = FilterOperator.EQ) -> MetadataFilters:
    return MetadataFilters(filters=[MetadataFilter(key=key, value=value, operator=operator)])


def names(nodes: Any) -> list[str]:
    return [one.node_id for one in nodes]


def test_it_is_one_of_llamaindexs_vector_stores(store: LlmspellVectorStore, tenant: Tenant) -> None:
    assert isinstance(store, BasePydanticVectorStore)
    assert store.stores_text and store.client is tenant


def test_the_nearest_nodes_come_back_whole(store: LlmspellVectorStore) -> None:
    query = VectorStoreQuery(query_embedding=[1.1, 0.0, 0.0], similarity_top_k=1)
    for found in (store.query(query), asyncio.run(store.aquery(query))):
        (best,) = found.nodes
        assert best.get_content() == "the text of king"
        assert best.metadata == NODES[0].metadata
        assert best.source_node is not None and best.source_node.node_id == "doc-0"
        assert found.ids == ["king"] and found.similarities == [pytest.approx(1.0)]


def test_a_query_without_a_vector_gives_what_matches(store: LlmspellVectorStore) -> None:
    query = VectorStoreQuery(filters=where("author", "Curie"), similarity_top_k=1)
    for found in (store.query(query), asyncio.run(store.aquery(query))):
        assert names(found.nodes) == ["curie"]


def test_nodes_are_got_by_id_and_by_filter(store: LlmspellVectorStore) -> None:
    assert names(store.get_nodes(["curie", "nobody", "king"])) == ["curie", "king"]
    assert names(store.get_nodes(filters=where("theme", "Mafia"))) == ["coppola"]
    assert names(store.get_nodes(["king", "nolan"], where("director", "Nolan"))) == ["nolan"]
    assert len(asyncio.run(store.aget_nodes())) == 4
    assert store.get_nodes(["king"])[0].embedding == [1.0, 0.0, 0.0]


def test_numbers_and_texts_in_lists_of_a_filter_are_told_apart(store: LlmspellVectorStore) -> None:
    among, not_among = FilterOperator.IN, FilterOperator.NIN
    assert sorted(names(store.get_nodes(filters=where("n", [1, 2], among)))) == ["coppola", "king"]
    assert names(store.get_nodes(filters=where("n", ["3"], among))) == ["nolan"]
    others = names(store.get_nodes(filters=where("n", [1, 2], not_among)))
    assert sorted(others) == ["curie", "nolan"]


def test_conditions_combine_also_nested(store: LlmspellVectorStore) -> None:
    def found(condition: FilterCondition, *filters: MetadataFilters) -> list[str]:
        given = MetadataFilters(filters=list(filters), condition=condition)
        return sorted(names(store.get_nodes(filters=given)))

    mafia, king = where("theme", "Mafia"), where("author", "King")
    assert found(FilterCondition.OR, mafia, king) == ["coppola", "king"]
    assert found(FilterCondition.AND, mafia, king) == []
    assert found(FilterCondition.NOT, mafia, king) == ["curie", "nolan"]
    not_mafia = MetadataFilters(filters=[mafia], condition=FilterCondition.NOT)
    exists = where("theme", None, FilterOperator.IS_EMPTY)
    assert found(FilterCondition.AND, not_mafia, where("n", 1)) == ["king"]
    assert found(FilterCondition.AND, exists) == ["curie", "nolan"]


def test_nodes_go_by_id_by_filter_by_document_and_all(
    store: LlmspellVectorStore, tenant: Tenant
) -> None:
    store.delete_nodes(["curie", "nobody"])
    assert tenant.count() == 3
    asyncio.run(store.adelete_nodes(filters=where("director", "Nolan")))
    assert sorted(names(store.get_nodes())) == ["coppola", "king"]
    store.add([node("refdoc", X, None, ref_doc_id="ref-123")])
    store.delete("ref-123")
    assert sorted(names(store.get_nodes())) == ["coppola", "king"]
    asyncio.run(store.adelete("doc-0"))
    assert store.get_nodes() == []
    asyncio.run(store.async_add(NODES))
    store.clear()
    assert store.get_nodes() == [] and store.get_nodes(["king"]) == []
    with pytest.raises(errors.InputError, match="clear"):
        store.delete_nodes()
    asyncio.run(store.aclear())


def test_marginal_relevance_passes_over_what_is_alike(tenant: Tenant) -> None:
    store = LlmspellVectorStore(tenant)
    vectors = [[1.0, 0.0], [0.99, 0.01], [0.98, 0.02], [0.6, 0.8]]
    store.add([node(str(i), vector, None) for i, vector in enumerate(vectors)])
    query = VectorStoreQuery(
        query_embedding=[1.0, 0.0], similarity_top_k=2, mode=VectorStoreQueryMode.MMR
    )
    assert store.query(query, mmr_threshold=0.2).ids == ["0", "3"]
    assert store.query(query, mmr_threshold=1.0).ids == ["0", "1"]
    assert store.query(query, mmr_threshold=0.2, mmr_prefetch_k=3).ids == ["0", "2"]
    with pytest.raises(ValueError, match="not both"):
        store.query(query, mmr_prefetch_k=3, mmr_prefetch_factor=2.0)


def test_a_query_keeps_to_documents_nodes_and_filters(store: LlmspellVectorStore) -> None:
    def found(**given: Any) -> list[str]:
        query = VectorStoreQuery(query_embedding=X, similarity_top_k=9, **given)
        return sorted(store.query(query).ids or [])

    assert found(doc_ids=["doc-1"]) == ["nolan"]
    assert found(node_ids=["curie", "king", "nobody"]) == ["curie", "king"]
    assert found(filters=where("doc_id", "doc-0")) == ["coppola", "king"]
    assert found(filters=where("theme", "maf", FilterOperator.TEXT_MATCH_INSENSITIVE)) == [
        "coppola"
    ]
    assert len(found(node_ids=[])) == len(found(doc_ids=[])) == 4
    nearest = VectorStoreQuery(query_embedding=Y, similarity_top_k=1, node_ids=["nolan"])
    assert store.query(nearest).ids == ["nolan"]


def test_words_are_asked_alone_and_beside_the_vector(store: LlmspellVectorStore) -> None:
    def found(mode: VectorStoreQueryMode, **given: Any) -> list[str]:
        given = {"query_embedding": X, "query_str": "coppola", "similarity_top_k": 3, **given}
        return store.query(VectorStoreQuery(mode=mode, **given)).ids or []

    assert found(VectorStoreQueryMode.TEXT_SEARCH) == ["coppola"]
    assert found(VectorStoreQueryMode.SPARSE, query_embedding=None) == ["coppola"]
    assert found(VectorStoreQueryMode.TEXT_SEARCH, filters=where("n", 1)) == []
    friends = where("theme", "friend", FilterOperator.TEXT_MATCH_INSENSITIVE)
    every = {"query_str": "text", "filters": friends}
    assert found(VectorStoreQueryMode.TEXT_SEARCH, **every) == ["king"]
    assert found(VectorStoreQueryMode.HYBRID, alpha=0.0)[0] == "coppola"
    assert found(VectorStoreQueryMode.HYBRID, alpha=1.0)[0] == "king"
    assert len(found(VectorStoreQueryMode.HYBRID, hybrid_top_k=2)) == 2
    for wrong in ({"query_str": None}, {"query_embedding": None}):
        with pytest.raises(errors.InputError, match="needs"):
            found(VectorStoreQueryMode.HYBRID, **wrong)


def test_modes_that_there_are_not_are_refused(store: LlmspellVectorStore) -> None:
    query = VectorStoreQuery(query_embedding=X, mode=VectorStoreQueryMode.SVM)
    with pytest.raises(errors.InputError, match="svm"):
        store.query(query)


@pytest.mark.parametrize(
    "held",
    [
        TextNode(text="a", metadata={"t": (1, b"\0"), "none": None, "nested": {"a": [1]}}),
        TextNode(text="a", excluded_embed_metadata_keys=["x"], start_char_idx=3, end_char_idx=9),
        IndexNode(text="a", index_id="other"),
        ImageNode(text="a", image="aGVsbG8=", image_mimetype="image/png"),
        Node(text_resource=MediaResource(text="a"), image_resource=MediaResource(data=b"aGVsbG8=")),
        Node(image_resource=MediaResource(data=b"aGVsbG8=")),
        Document(text="a", metadata={"x": 1}),
    ],
    ids=lambda one: type(one).__name__,
)
def test_nodes_of_every_class_come_back_equal(tenant: Tenant, held: BaseNode) -> None:
    held.embedding = [0.5, 0.25]
    store = LlmspellVectorStore(tenant)
    store.add([held])
    (back,) = store.get_nodes()
    assert type(back) is type(held) and back == held


def test_records_of_others_are_nodes_too(tenant: Tenant) -> None:
    tenant.upsert(7, np.ones(3), metadata={"n": 1}, texts="hello")
    (found,) = LlmspellVectorStore(tenant).get_nodes()
    assert (found.node_id, found.get_content(), found.metadata) == ("7", "hello", {"n": 1})


def test_nothing_is_written_where_a_node_is_wrong(tenant: Tenant) -> None:
    store = LlmspellVectorStore(tenant)
    for wrong in (TextNode(text="a"), node("a", X, None, a=object())):
        with pytest.raises(ValueError, match=r"embedding not set|can't be kept"):
            store.add([NODES[0], wrong])
    assert store.add([]) == [] and tenant.count() == 0


def test_an_index_of_llamaindex_lies_in_a_tenant(tenant: Tenant) -> None:
    store = LlmspellVectorStore(tenant)
    embed = MockEmbedding(embed_dim=8)
    nodes = [TextNode(text=f"text {i}", id_=str(i), metadata={"n": i}) for i in range(4)]
    context = StorageContext.from_defaults(vector_store=store)
    VectorStoreIndex(nodes, storage_context=context, embed_model=embed)
    index = VectorStoreIndex.from_vector_store(store, embed_model=embed)
    retriever = index.as_retriever(similarity_top_k=2, filters=where("n", 2, FilterOperator.GTE))
    assert sorted(one.node.node_id for one in retriever.retrieve("text")) == ["2", "3"]


def test_every_call_is_charged_to_the_tenant(database: Database) -> None:
    quotas = QuotaLimits(max_api_calls_per_minute=2)
    tenant = database.create_tenant(TenantConfig(id="poor", quotas=quotas))
    store = LlmspellVectorStore(tenant)
    store.add(NODES)
    store.query(VectorStoreQuery(query_embedding=X))
    with pytest.raises(errors.QuotaExceeded):
        store.get_nodes()
    database.drop_tenant("poor")
