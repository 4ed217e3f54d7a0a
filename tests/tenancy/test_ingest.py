"""Documents in a tenant, through the port that the text layer uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llmspell import (
    Database,
    Document,
    IngestProgress,
    QuotaLimits,
    Tenant,
    TenantConfig,
    errors,
)
from llmspell.tenancy import Chunk, SplitDocument
from llmspell.tenancy.target import Target
from tests.tenancy.texts import DIM, embed


@pytest.fixture
def target(acme: Tenant) -> Target:
    return Target(acme._residence, acme._enter)


def split(name: str, *texts: str, content: bytes = b"h", **metadata: Any) -> SplitDocument:
    chunks = [Chunk(text, i, i + len(text)) for i, text in enumerate(texts)]
    return SplitDocument(name, content, metadata, chunks)


def never(texts: Sequence[str]) -> NDArray[np.float32]:
    raise AssertionError(f"embedded: {texts}")


def test_chunks_are_records_with_spans(acme: Tenant) -> None:
    report = acme.ingest(Document("doc", "one\ntwo\n\nthree", {"lang": "en"}))
    assert (report.added, report.documents, report.chunks) == (1, 1, 3)
    record = acme.get("doc#2")
    assert record.text == "three"
    assert record.metadata == {
        "lang": "en",
        "document": "doc",
        "source": "doc",
        "version": 1,
        "start": 9,
        "end": 14,
    }
    assert acme.search("two", k=1, filter={"document": "doc"})[0].id == "doc#1"


def test_ingesting_the_same_again_changes_nothing(acme: Tenant) -> None:
    document = Document("doc", "one\ntwo")
    acme.ingest(document)
    before = acme._enter().store.counters()
    report = acme.ingest(document)
    assert (report.unchanged, report.added, report.chunks) == (1, 0, 0)
    assert acme._enter().store.counters() == before


def test_changed_document_replaces_all_of_its_chunks(acme: Tenant) -> None:
    acme.ingest(Document("doc", "one\ntwo\nthree"))
    report = acme.ingest(Document("doc", "four"))
    assert (report.replaced, report.added) == (1, 0)
    assert acme.count() == 1
    assert acme.get("doc#0").text == "four"
    with pytest.raises(errors.IdNotFound):
        acme.get("doc#1")
    assert acme.usage().documents.used == 1


def test_delete_of_a_document_removes_its_chunks(acme: Tenant) -> None:
    acme.ingest([Document("a", "one\ntwo"), Document("b", "three")])
    assert acme.delete(["a"]) == 2
    assert (acme.count(), acme.usage().documents.used) == (1, 1)
    assert acme.ingest(Document("a", "one\ntwo")).added == 1


def test_document_that_lost_a_chunk_is_ingested_again(acme: Tenant) -> None:
    document = Document("doc", "one\ntwo")
    acme.ingest(document)
    acme.delete("doc#0")
    assert acme.ingest(document).replaced == 1
    assert acme.get("doc#0").text == "one"
    acme.upsert("doc#1", np.ones((1, DIM), dtype=np.float32), texts="mine")
    acme.ingest(document)
    assert acme.get("doc#1").text == "two"
    assert (acme.count(), acme.usage().documents.used) == (2, 1)


@pytest.mark.parametrize("how", ["ids", "one by one", "filter", "replaced"])
def test_document_goes_with_its_last_chunk(db: Database, how: str) -> None:
    quotas = replace(QuotaLimits.unlimited(), max_documents=2)
    tenant = db.create_tenant(TenantConfig(id="limited", quotas=quotas))
    document = Document("doc", "one\ntwo")
    tenant.ingest([document, Document("other", "three")])
    if how == "ids":
        assert tenant.delete(["doc#0", "doc#1"]) == 2
    elif how == "one by one":
        assert tenant.delete("doc#1") == 1
        assert tenant.usage().documents.used == 2
        assert tenant.delete("doc#0") == 1
    elif how == "filter":
        assert tenant.delete(filter={"document": "doc"}) == 2
    else:
        tenant.upsert(["doc#0", "doc#1"], embed(["mine", "too"]))
        tenant.delete(["doc#0", "doc#1"])
    assert tenant.usage().documents.used == tenant._enter().store.counters().documents == 1
    assert tenant.ingest(Document("third", "four")).added == 1
    with pytest.raises(errors.QuotaExceeded, match="max_documents"):
        tenant.ingest(document)
    tenant.delete("third")
    assert tenant.ingest(document).added == 1
    assert tenant.get("doc#1").text == "two"


def test_progress_is_told_after_each_document(acme: Tenant) -> None:
    told: list[IngestProgress] = []
    acme.ingest([Document("a", "one"), Document("b", "two")], progress=told.append)
    assert [(p.documents, p.total, p.current) for p in told] == [(1, 2, "a"), (2, 2, "b")]


def test_batch_of_documents_is_one_entry_of_the_log(acme: Tenant, target: Target) -> None:
    target.put_documents([split("a", "x", "y"), split("b", "z"), split("empty")], embed)
    counters = acme._enter().store.counters()
    assert (counters.sequence, counters.documents, counters.vectors) == (1, 3, 3)
    assert target.document_hash("empty") == b"h"
    assert target.document_hash("nobody") is None
    target.put_documents([split("a"), split("b", "z", "w", content=b"i")], embed)
    assert (acme.count(), acme.get("b#1").text) == (2, "w")
    assert target.document_hash("b") == b"i"
    acme.delete("b#0")
    assert target.document_hash("b") == b""


@pytest.mark.parametrize(
    ("batch", "error"),
    [
        ([split("a", "x"), split("a", "y")], errors.InputError),
        ([split("a", "x", content=b"")], errors.InputError),
        ([split("x" * 501, "x")], errors.InvalidId),
        ([split("", "x")], errors.InvalidId),
        ([split("\0", "x")], errors.InvalidId),
        ([split("a", "x", k={1})], errors.MetadataError),
        ([split("a", "x"), split("b", "x", k=float("nan"))], errors.MetadataError),
        ([split("a", "lone \ud800 surrogate")], errors.InputError),
    ],
)
def test_document_that_cannot_be_stored_is_refused_before_it_is_embedded(
    acme: Tenant, target: Target, batch: list[SplitDocument], error: type[Exception]
) -> None:
    with pytest.raises(error):
        target.put_documents(batch, never)
    assert acme.count() == 0
    assert acme.usage().documents.used == 0


@pytest.mark.parametrize(
    ("vectors", "error"),
    [
        (np.ones((2, DIM), np.float32), errors.ShapeError),
        (np.zeros((1, DIM), np.float32), errors.ZeroVector),
        (np.ones(DIM, np.float32), errors.ShapeError),
        (np.ones((1, 16_385), np.float32), errors.ShapeError),
    ],
)
def test_vectors_that_cannot_be_stored_are_refused_and_cost_nothing(
    acme: Tenant, target: Target, vectors: NDArray[np.float32], error: type[Exception]
) -> None:
    with pytest.raises(error):
        target.put_documents([split("a", "x")], lambda _: vectors)
    assert acme.count() == 0
    usage = acme.usage()
    assert (usage.documents.used, usage.embeddings.used) == (0, 0)


def test_error_in_metadata_names_the_document(target: Target) -> None:
    with pytest.raises(errors.MetadataError, match=r"document 'b': metadata\['k'\]"):
        target.put_documents([split("a", "x"), split("b", "x", k=float("nan"))], never)
