"""Texts are charged when they have been embedded for something that was done, and only then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import llmspell
from llmspell import Database, Document, QuotaLimits, Tenant, TenantConfig, errors
from llmspell.tenancy import Chunk, SplitDocument
from llmspell.tenancy.target import Target
from tests.tenancy.texts import DIM, Lines


class Counting(Lines):
    """Counts the texts that it embeds, and fails when told to."""

    def __init__(self) -> None:
        self.embedded = 0
        self.is_broken = False

    def embed_query(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self.is_broken:
            raise errors.EmbeddingError("the model failed")
        self.embedded += len(texts)
        return super().embed_query(texts)


@pytest.fixture
def texts() -> Counting:
    return Counting()


@pytest.fixture
def db(tmp_path: Path, texts: Counting) -> Iterator[Database]:
    with llmspell.open(tmp_path / "data", texts=texts) as database:
        yield database


def limited(db: Database, **limits: int | None) -> Tenant:
    return db.create_tenant(TenantConfig(id="small", quotas=QuotaLimits(**limits)))


def split(name: str, *texts: str) -> SplitDocument:
    return SplitDocument(name, b"h", {}, [Chunk(text, 0, len(text)) for text in texts])


def put(tenant: Tenant, texts: Counting, *batch: SplitDocument) -> None:
    Target(tenant._residence, tenant._enter).put_documents(batch, texts.embed_query)


@pytest.mark.parametrize("query", ["  ", ["fine", ""]])
def test_blank_query_is_refused_and_costs_nothing(db: Database, query: str | list[str]) -> None:
    tenant = limited(db, max_embeddings_per_day=1)
    tenant.ingest(Document("doc", "text"))
    with pytest.raises(errors.InputError, match=r"query \d is blank"):
        tenant.search(query)
    assert tenant.usage().embeddings.used == 1


def test_failed_embedding_costs_nothing(db: Database, texts: Counting) -> None:
    tenant = limited(db)
    tenant.ingest(Document("doc", "text"))
    texts.is_broken = True
    with pytest.raises(errors.EmbeddingError):
        tenant.search(["one", "two"])
    with pytest.raises(errors.EmbeddingError):
        tenant.ingest(Document("other", "text"))
    usage = tenant.usage()
    assert (usage.embeddings.used, usage.documents.used, usage.vectors.used) == (1, 1, 1)


@pytest.mark.parametrize(
    ("quota", "limit"),
    [("max_documents", 1), ("max_vectors", 2), ("max_embeddings_per_day", 2)],
)
def test_batch_beyond_a_limit_is_refused_before_it_is_embedded(
    db: Database, texts: Counting, quota: str, limit: int
) -> None:
    tenant = limited(db, **{quota: limit})
    with pytest.raises(errors.QuotaExceeded) as refusal:
        put(tenant, texts, split("a", "x", "y"), split("b", "z"))
    assert refusal.value.quota == quota
    assert texts.embedded == 0
    usage = tenant.usage()
    assert (usage.embeddings.used, usage.documents.used, usage.vectors.used) == (0, 0, 0)


def test_batch_refused_for_its_bytes_costs_nothing(db: Database, texts: Counting) -> None:
    tenant = limited(db, max_storage_mb=1)
    with pytest.raises(errors.QuotaExceeded) as refusal:
        put(tenant, texts, split("a", "x" * (1 << 20)))
    assert refusal.value.quota == "max_storage_mb"
    assert tenant.usage().embeddings.used == 0


def test_replacing_at_the_limit_is_admitted(db: Database, texts: Counting) -> None:
    tenant = limited(db, max_documents=2, max_vectors=4)
    put(tenant, texts, split("a", "x", "y"), split("b", "z"))
    tenant.upsert("b#1", np.ones((1, DIM), np.float32))
    tenant.delete("a#0")
    put(tenant, texts, split("a", "1", "2"), split("b", "3", "4"))
    usage = tenant.usage()
    assert (usage.documents.used, usage.vectors.used, usage.embeddings.used) == (2, 4, 7)
    with pytest.raises(errors.QuotaExceeded):
        put(tenant, texts, split("a", "1", "2"), split("b", "3", "4", "5"))
    assert tenant.usage() == usage
