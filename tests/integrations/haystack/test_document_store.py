from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from haystack import Pipeline
from haystack.dataclasses import ByteStream, Document, SparseEmbedding
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy, FilterPolicy
from haystack.errors import FilterError

import llmspell
from llmspell import Database, Tenant, TenantConfig, errors
from llmspell.integrations.haystack import (
    LlmspellBM25Retriever,
    LlmspellDocumentStore,
    LlmspellEmbeddingRetriever,
)


@pytest.fixture
def store(database: Database, tenant: Tenant) -> LlmspellDocumentStore:
    return LlmspellDocumentStore(database, tenant.id, embedding_dim=3)


def where(field: str, operator: str, value: Any) -> dict[str, Any]:
    return {"field": field, "operator": operator, "value": value}


def test_all_of_a_document_comes_back(store: LlmspellDocumentStore) -> None:
    document = Document(
        id="a",
        content="fox",
        blob=ByteStream(b"\0\xff", meta={"page": 1}, mime_type="image/png"),
        meta={"when": date(2024, 5, 1), "nested": {"a": [None, (1,)]}, "none": None},
        score=0.25,
        embedding=[0.5, 0.25, 1.0],
        sparse_embedding=SparseEmbedding(indices=[1, 5], values=[0.5, 0.25]),
    )
    bare = Document(id="b", content=None)
    store.write_documents([document, bare])
    assert store.filter_documents() == [document, bare]
    assert asyncio.run(store.filter_documents_async()) == [document, bare]


def test_a_batch_that_fails_writes_nothing(store: LlmspellDocumentStore) -> None:
    store.write_documents([Document(id="b", content="old")])
    batch = [Document(id=one, content="new") for one in "abc"]
    with pytest.raises(DuplicateDocumentError, match="b"):
        store.write_documents(batch)
    with pytest.raises(DuplicateDocumentError):
        store.write_documents([batch[0], batch[0]])
    with pytest.raises(errors.MetadataError):
        store.write_documents([Document(id="c", meta={"a": object()})])
    with pytest.raises(errors.DimensionMismatch, match="'d'"):
        store.write_documents([batch[0], Document(id="d", embedding=[1.0])])
    assert [one.content for one in store.filter_documents()] == ["old"]
    assert store.write_documents(batch, DuplicatePolicy.SKIP) == 2
    assert [one.content for one in store.filter_documents()] == ["new", "old", "new"]
    assert store.write_documents(batch, DuplicatePolicy.OVERWRITE) == 3
    assert [one.content for one in store.filter_documents()] == ["new"] * 3


def test_of_one_id_the_first_is_written_where_others_are_skipped(
    store: LlmspellDocumentStore,
) -> None:
    twice = [Document(id="a", content="first"), Document(id="a", content="second")]
    assert store.write_documents(twice, DuplicatePolicy.SKIP) == 1
    assert [one.content for one in store.filter_documents()] == ["first"]


def test_the_length_of_embeddings_must_be_known(database: Database, tenant: Tenant) -> None:
    store = LlmspellDocumentStore(database, tenant.id)
    with pytest.raises(errors.ConfigError, match="embedding_dim"):
        store.write_documents([Document(content="a")])
    store.write_documents([Document(content="a"), Document(content="b", embedding=[1.0, 0.0])])
    assert tenant.dim == 2


def test_retrieval_finds_the_nearest_of_those_that_match_and_have_an_embedding(
    store: LlmspellDocumentStore,
) -> None:
    angles = np.linspace(0, 1, 40)
    store.write_documents(
        [
            Document(
                id=f"{i:02}",
                meta={"n": i, "day": f"2024-01-{i % 28 + 1:02}"},
                embedding=[float(np.cos(a)), float(np.sin(a)), 0.0],
            )
            for i, a in enumerate(angles)
        ]
        + [Document(id=f"bare {i}", meta={"n": i}) for i in range(40)]
    )
    found = store.embedding_retrieval([1.0, 0.0, 0.0], top_k=3)
    assert [one.id for one in found] == ["00", "01", "02"]
    assert found[0].score == pytest.approx(1.0) and found[0].embedding is None
    found = store.embedding_retrieval([1.0, 0.0, 0.0], where("meta.n", ">=", 35), 3)
    assert [one.id for one in found] == ["35", "36", "37"]
    # Dates in strings are Haystack's alone to compare: the index can't tell.
    late = where("meta.day", ">", "2024-01-20")
    found = store.embedding_retrieval([1.0, 0.0, 0.0], late, 10, return_embedding=True)
    assert [one.id for one in found] == [f"{i}" for i in range(20, 28)]
    assert found[0].embedding is not None and len(found[0].embedding) == 3
    nothing = where("embedding", "==", [9.0])
    assert store.embedding_retrieval([1.0, 0.0, 0.0], nothing) == []
    assert store.embedding_retrieval([1.0, 0.0, 0.0], top_k=0) == []
    (scaled,) = store.embedding_retrieval([-1.0, 0.0, 0.0], top_k=1, scale_score=True)
    assert 0 <= (scaled.score or 0) < 0.5
    with pytest.raises(errors.DimensionMismatch):
        store.embedding_retrieval([1.0])
    with pytest.raises(FilterError):
        store.embedding_retrieval([1.0, 0.0, 0.0], where("meta.n", "?", 1))


def test_updates_keep_what_no_field_can_hold(store: LlmspellDocumentStore) -> None:
    store.write_documents([Document(id="a", meta={"t": (1,), "n": 1}), Document(id="b")])
    everything = where("id", "!=", "-")
    assert store.update_by_filter(everything, {"n": 2}) == 2
    assert store.update_by_filter(where("id", "==", "b"), {"s": {1, 2}}) == 1
    found = {one.id: one for one in store.filter_documents()}
    assert found["a"].meta == {"t": (1,), "n": 2} and found["b"].meta == {"n": 2, "s": {1, 2}}
    assert found["a"].embedding is None and found["b"].embedding is None
    assert store.embedding_retrieval([1.0, 0.0, 0.0]) == []


def test_a_pipeline_goes_to_a_file_and_back(
    database: Database, store: LlmspellDocumentStore
) -> None:
    store.write_documents([Document(id="a", embedding=[1.0, 0.0, 0.0], meta={"n": 1})])
    pipeline = Pipeline()
    retriever = LlmspellEmbeddingRetriever(
        store, where("meta.n", "==", 1), 5, filter_policy=FilterPolicy.MERGE
    )
    pipeline.add_component("retriever", retriever)
    again = Pipeline.loads(pipeline.dumps(), allowed_modules=["llmspell.integrations.haystack.*"])
    for one in (pipeline, again):
        found = one.run({"retriever": {"query_embedding": [1.0, 0.0, 0.0]}})
        assert [document.id for document in found["retriever"]["documents"]] == ["a"]
        other = {"query_embedding": [1.0, 0.0, 0.0], "filters": where("meta.n", "<", 1)}
        assert one.run({"retriever": other})["retriever"]["documents"] == []
    awaited = asyncio.run(retriever.run_async([1.0, 0.0, 0.0], top_k=1))
    assert [document.id for document in awaited["documents"]] == ["a"]
    loaded = again.get_component("retriever").document_store
    loaded.close()
    assert database.path == loaded_path(store), "the database isn't ours to close"
    assert store.count_documents() == 1
    with pytest.raises(TypeError):
        LlmspellEmbeddingRetriever("store")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="top_k"):
        LlmspellEmbeddingRetriever(store, top_k=0)


def loaded_path(store: LlmspellDocumentStore) -> Path:
    return Path(store.to_dict()["init_parameters"]["database"])


def test_a_path_is_opened_for_all_stores_and_closed_with_the_last(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with llmspell.open(path) as db:
        db.create_tenant(TenantConfig(id="acme", dim=2))
        with pytest.raises(errors.DatabaseLocked):
            LlmspellDocumentStore(path, "acme")
    first = LlmspellDocumentStore(path, "acme")
    with LlmspellDocumentStore.from_dict(first.to_dict()) as second:
        first.close()
        second.write_documents([Document(id="a")])
        with pytest.raises(errors.DatabaseLocked):
            llmspell.open(path)
    with pytest.raises(errors.TenantNotFound):
        LlmspellDocumentStore(path, "nobody")
    with llmspell.open(path) as db:
        assert db.tenant("acme").count() == 1
        # Now it is known by its path, as long as it is open.
        given = LlmspellDocumentStore(db, "acme")
        with LlmspellDocumentStore(path, "acme") as found:
            assert found.count_documents() == 1
        given.close()
    with LlmspellDocumentStore(path, "acme") as found:
        assert found.count_documents() == 1


def test_words_find_documents_with_and_without_an_embedding(store: LlmspellDocumentStore) -> None:
    store.write_documents(
        [
            Document(id="a", content="red fox", meta={"day": "2024-01-01", "n": 1}),
            Document(id="b", content="red red wolf", embedding=[1.0, 0.0, 0.0], meta={"n": 2}),
            Document(id="c", content="grey owl", meta={"n": 3}),
        ]
    )
    assert [one.id for one in store.bm25_retrieval("wolf")] == ["b"]
    assert {one.id for one in store.bm25_retrieval("red")} == {"a", "b"}
    assert [one.id for one in store.bm25_retrieval("red", where("meta.n", "<", 2))] == ["a"]
    dated = where("meta.day", ">", "2023-01-01")
    assert [one.id for one in store.bm25_retrieval("red", dated, 1)] == ["a"]
    assert store.bm25_retrieval("red", top_k=0) == []
    retriever = LlmspellBM25Retriever(store, where("meta.n", "==", 2), scale_score=True)
    again = LlmspellBM25Retriever.from_dict(retriever.to_dict())
    for one in (retriever, again):
        (found,) = one.run("red")["documents"]
        assert found.id == "b" and 0.5 < (found.score or 0) < 1
        assert asyncio.run(one.run_async("red"))["documents"] == [found]
        assert one.run("red", where("meta.n", "==", 1), scale_score=False)["documents"][0].id == "a"
