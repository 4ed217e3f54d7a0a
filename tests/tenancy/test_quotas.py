"""Every quota is reached through the public handle, exactly, and given back by what frees it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from llmspell import (
    Database,
    Document,
    QuotaLimits,
    Tenant,
    TenantConfig,
    errors,
)
from tests.tenancy.ledgers import shares_ledger
from tests.tenancy.texts import embed

UNLIMITED = dict.fromkeys(
    (
        "max_documents",
        "max_vectors",
        "max_storage_mb",
        "max_api_calls_per_minute",
        "max_embeddings_per_day",
    )
)


def vectors(count: int, dim: int = 16) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, dim)).astype(np.float32)


def limited(db: Database, **limits: int) -> Tenant:
    return db.create_tenant(TenantConfig(id="small", quotas=QuotaLimits(**{**UNLIMITED, **limits})))


def lines(name: str, count: int) -> Document:
    return Document(name, "\n".join(f"{name} line {i}" for i in range(count)))


def refused(call: Callable[[], object], quota: str) -> errors.QuotaExceeded:
    with pytest.raises(errors.QuotaExceeded) as caught:
        call()
    assert caught.value.quota == quota
    return caught.value


def test_vectors_beyond_the_limit_are_refused_as_a_batch(db: Database) -> None:
    tenant = limited(db, max_vectors=10)
    tenant.upsert(range(8), vectors(8))
    error = refused(lambda: tenant.upsert(range(8, 11), vectors(3)), "max_vectors")
    assert (error.limit, error.used, error.requested, error.retry_after) == (10, 8, 3, None)
    assert tenant.count() == 8
    tenant.upsert(range(8, 10), vectors(2))
    tenant.upsert(range(10), vectors(10))  # replaces: nothing new
    assert tenant.usage().vectors.used == 10
    tenant.delete([0, 1, 2])
    tenant.upsert(range(10, 13), vectors(3))
    assert tenant.usage().vectors.used == tenant.count() == 10


def test_storage_counts_id_vector_text_and_metadata(db: Database) -> None:
    tenant = limited(db, max_storage_mb=1)
    tenant.upsert("ab", vectors(1), {"k": 1}, "text")
    assert tenant.usage().storage.used == 3 + 64 + 4 + 4
    refused(lambda: tenant.upsert("b", vectors(1), texts="x" * (1 << 20)), "max_storage_mb")
    tenant.upsert("ab", vectors(1), texts="x" * 1000)
    assert tenant.usage().storage.used == 3 + 64 + 1 + 1000
    tenant.delete("ab")
    assert tenant.usage().storage.used == 0
    tenant.upsert("b", vectors(1), texts="x" * (1_000_000))


def test_documents_beyond_the_limit_are_refused(db: Database) -> None:
    tenant = limited(db, max_documents=2)
    tenant.ingest([lines("a", 2), lines("b", 2)])
    refused(lambda: tenant.ingest(lines("c", 2)), "max_documents")
    assert (tenant.usage().documents.used, tenant.count()) == (2, 4)
    tenant.ingest(lines("b", 3))
    tenant.delete("a")
    tenant.ingest(lines("c", 1))
    assert (tenant.usage().documents.used, tenant.count()) == (2, 4)


def test_embeddings_of_ingested_and_searched_texts_are_charged(db: Database) -> None:
    tenant = limited(db, max_embeddings_per_day=5)
    tenant.ingest(lines("a", 3))
    tenant.ingest(lines("a", 3))  # unchanged: nothing is embedded
    assert tenant.usage().embeddings.used == 3
    tenant.search(["one", "two"])
    error = refused(lambda: tenant.search("three"), "max_embeddings_per_day")
    assert error.retry_after is not None
    assert 0 < error.retry_after <= 86_400
    refused(lambda: tenant.ingest(lines("b", 1)), "max_embeddings_per_day")
    tenant.search(embed(["a line 0"])[0])


def test_batch_search_is_charged_for_each_query(db: Database) -> None:
    tenant = limited(db, max_api_calls_per_minute=6)
    tenant.upsert([1], vectors(1))
    tenant.search(vectors(4))
    error = refused(lambda: tenant.search(vectors(2)), "max_api_calls_per_minute")
    assert error.requested == 2
    assert error.retry_after is not None
    tenant.search(vectors(1)[0])
    refused(tenant.count, "max_api_calls_per_minute")


def test_operation_refused_for_its_input_gives_levels_back(db: Database) -> None:
    tenant = limited(db, max_vectors=10)
    with pytest.raises(errors.NonFiniteVector):
        tenant.upsert([1], [[np.nan] * 16])
    with pytest.raises(errors.MetadataError):
        tenant.upsert([1], vectors(1), [{"a": {1}}])  # type: ignore[dict-item]
    assert tenant.usage().vectors.used == 0


def test_full_map_gives_the_charge_back(db: Database, tmp_path: object) -> None:
    import llmspell

    with llmspell.open(db.path.with_name("tiny"), map_size=1 << 20) as tiny:
        tenant = tiny.create_tenant(TenantConfig(id="a", quotas=QuotaLimits.unlimited()))
        tenant.upsert([1], vectors(1))
        before = tenant.usage()
        with pytest.raises(errors.StorageFull):
            tenant.upsert(range(2000), vectors(2000, 16), texts=["x" * 1000] * 2000)
        assert tenant.usage() == before
        assert tenant.count() == 1
        tenant.upsert([2], vectors(1))
        assert len(tenant.search(vectors(1)[0])) == 2


def test_many_threads_never_get_one_more_than_the_limit(db: Database) -> None:
    tenant = limited(db, max_vectors=50)
    admitted = []

    def write(worker: int) -> None:
        for i in range(20):
            try:
                tenant.upsert([worker * 100 + i, worker * 100 + 50 + i], vectors(2))
                admitted.append(2)
            except errors.QuotaExceeded:
                continue

    workers = [threading.Thread(target=write, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sum(admitted) == tenant.count() == tenant.usage().vectors.used == 50


@shares_ledger
def test_usage_is_right_after_opening_again(db: Database) -> None:
    import llmspell

    tenant = limited(db, max_vectors=10)
    tenant.upsert(range(8), vectors(8), texts=["text"] * 8)
    before = tenant.usage()
    db.close()
    (db.path / "ledger").unlink()
    with llmspell.open(db.path) as again:
        tenant = again.tenant("small")
        assert tenant.count() == 8
        after = tenant.usage()
        assert (after.vectors, after.storage) == (before.vectors, before.storage)
        refused(lambda: tenant.upsert(range(20, 23), vectors(3)), "max_vectors")


@shares_ledger
def test_usage_needs_no_open_room_where_the_ledger_was_lost(db: Database) -> None:
    import llmspell

    tenant = limited(db, max_vectors=10)
    tenant.upsert(range(8), vectors(8), texts=["text"] * 8)
    before = tenant.usage()
    db.close()
    (db.path / "ledger").unlink()
    with llmspell.open(db.path) as again:
        after = again.tenant("small").usage()
        levels = ("documents", "vectors", "storage", "dimensions")
        assert [getattr(after, name) for name in levels] == [
            getattr(before, name) for name in levels
        ]
        assert after.vectors.used == 8


def test_refusals_are_counted_in_the_metrics(db: Database) -> None:
    tenant = limited(db, max_vectors=1)
    refused(lambda: tenant.upsert(range(2), vectors(2)), "max_vectors")
    text = db.metrics()
    assert 'llmspell_quota_refusals_total{quota="max_vectors"} 1.0' in text
    assert 'llmspell_operations_total{operation="upsert",outcome="refused"} 1.0' in text
    assert 'llmspell_tenant_vectors{tenant="small"} 0.0' in text
