"""The cache of a database: what is charged, whose it is, and what goes with a tenant."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import llmspell
from llmspell import (
    Chunking,
    Database,
    Document,
    EmbeddingCacheSettings,
    QuotaLimits,
    TenantConfig,
    errors,
)
from llmspell.rag import LocalEmbedder, Pipeline
from llmspell.rag.cache import warm_embeddings
from llmspell.rag.embedding import CallableEmbedder
from llmspell.tenancy.ports import EmbeddingModel
from tests.tenancy.texts import DIM, Lines, embed


class Counting(Lines):
    """Lines that name their model, and remember what they embed."""

    embedding_model = EmbeddingModel("test", "lines", DIM)

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed_query(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked.extend(texts)
        return super().embed_query(texts)


@pytest.fixture
def texts() -> Counting:
    return Counting()


def opened(path: Path, texts: Lines, **given: object) -> Database:
    asked = EmbeddingCacheSettings(**given)  # type: ignore[arg-type]
    return llmspell.open(path / "data", texts=texts, embedding_cache=asked)


@pytest.fixture
def db(tmp_path: Path, texts: Counting) -> Iterator[Database]:
    with opened(tmp_path, texts, shared_by=frozenset({"wiki-a", "wiki-b"})) as database:
        yield database


def test_text_that_is_there_is_neither_embedded_nor_charged(db: Database, texts: Counting) -> None:
    quotas = QuotaLimits(max_embeddings_per_day=4)
    tenant = db.create_tenant(TenantConfig(id="acme", quotas=quotas))
    tenant.ingest(Document("doc", "one\ntwo"))
    for _ in range(5):
        assert len(tenant.search("query", k=1)) == 1
    tenant.ingest(Document("doc", "two\none"))
    assert texts.asked == ["one", "two", "query"]
    assert tenant.usage().embeddings.used == 3
    tenant.search(["query", "fourth", "fourth"])
    assert tenant.usage().embeddings.used == 4
    with pytest.raises(errors.QuotaExceeded):
        tenant.search("fifth")
    tenant.search("fourth")


def test_no_tenant_has_what_another_embedded(db: Database, texts: Counting) -> None:
    for name in ("acme", "other"):
        tenant = db.create_tenant(TenantConfig(id=name))
        tenant.ingest(Document("doc", "secret"))
        assert tenant.usage().embeddings.used == 1
    assert texts.asked == ["secret"] * 2


def test_tenants_that_share_embed_a_text_once(db: Database, texts: Counting) -> None:
    for name in ("wiki-a", "wiki-b"):
        db.create_tenant(TenantConfig(id=name)).ingest(Document("doc", "public"))
    assert texts.asked == ["public"]
    assert db.tenant("wiki-b").usage().embeddings.used == 0


def test_entries_go_with_their_tenant(db: Database, texts: Counting) -> None:
    assert db.embedding_cache is not None
    tenant = db.create_tenant(TenantConfig(id="acme"))
    tenant.ingest(Document("doc", "secret"))
    db.embedding_cache.flush()
    (kept,) = db.path.rglob("embeddings")
    assert db.embedding_cache.stats().disk_entries == 1
    db.drop_tenant("acme")
    assert not kept.exists()
    stats = db.embedding_cache.stats()
    assert (stats.memory_entries, stats.memory_bytes, stats.disk_entries) == (0, 0, 0)
    db.create_tenant(TenantConfig(id="acme")).ingest(Document("doc", "secret"))
    assert texts.asked == ["secret"] * 2


def test_entries_outlive_the_database(tmp_path: Path, texts: Counting) -> None:
    with opened(tmp_path, texts) as db:
        db.create_tenant(TenantConfig(id="acme")).ingest(Document("doc", "one"))
        db.tenant("acme").search("query")
    with opened(tmp_path, texts) as db:
        db.tenant("acme").search("query")
        assert db.embedding_cache is not None
        assert db.embedding_cache.stats().disk_hits == 1
    assert texts.asked == ["one", "query"]


def test_copies_of_a_tenant_leave_the_cache_behind(
    db: Database, texts: Counting, tmp_path: Path
) -> None:
    tenant = db.create_tenant(TenantConfig(id="acme"))
    tenant.ingest(Document("doc", "one"))
    tenant.search("asked")
    assert db.embedding_cache is not None
    db.embedding_cache.flush()
    asked = embed(["asked"])[0].tobytes()
    (kept,) = db.path.rglob("embeddings")
    assert asked in (kept / "data.mdb").read_bytes()  # as it would be in a copy of it

    db.snapshot_tenant("acme", tmp_path / "folder")
    db.snapshot_tenant("acme", tmp_path / "acme.tar")
    tenant.export(tmp_path / "acme.export")
    copies = [tmp_path / "acme.tar", tmp_path / "acme.export", *(tmp_path / "folder").rglob("*")]
    assert {path.name for path in copies} >= {"manifest.json", "data.mdb"}
    for path in copies:
        assert path.is_file()
        assert asked not in path.read_bytes()

    clone = db.clone_tenant("acme", "copy")
    restored = db.restore_tenant(tmp_path / "acme.tar", tenant_id="restored")
    assert list(db.path.rglob("embeddings")) == [kept]
    for copy in (clone, restored):
        assert len(copy.search("asked")) == 1
    assert texts.asked == ["one"] + ["asked"] * 3
    assert not db.scrub().damages
    # One that is replaced goes like one that is dropped.
    replaced = db.restore_tenant(tmp_path / "acme.tar", replace=True)
    assert not kept.exists()
    replaced.search("asked")
    assert texts.asked == ["one"] + ["asked"] * 4


def test_services_that_name_no_model_arent_cached(tmp_path: Path) -> None:
    with opened(tmp_path, Lines()) as db:
        tenant = db.create_tenant(TenantConfig(id="acme"))
        tenant.ingest(Document("doc", "one"))
        tenant.search("query")
        tenant.search("query")
        assert tenant.usage().embeddings.used == 3
        assert db.embedding_cache is not None
        assert db.embedding_cache.stats().misses == 0


def test_sentences_by_which_a_document_is_split_are_embedded_once(tmp_path: Path) -> None:
    asked: list[str] = []
    model = LocalEmbedder()

    def counted(texts: Sequence[str], task: str) -> NDArray[np.float32]:
        asked.extend(texts)
        return model.embed(texts)

    embedder = CallableEmbedder(
        counted, model_id="counted", dim=model.dim, tokenizer=model.tokenizer
    )
    pipeline = Pipeline(embedder, chunking=Chunking(method="semantic", size=64, overlap=0))
    soup = [f"The soup of day {day} simmers for hours on the stove." for day in range(4)]
    bank = [f"The bank raised its rate by {part} parts of a hundred." for part in range(4)]
    settings = EmbeddingCacheSettings()
    with llmspell.open(tmp_path / "data", texts=pipeline, embedding_cache=settings) as db:
        acme = db.create_tenant(TenantConfig(id="acme"))
        acme.ingest(Document("doc", " ".join(soup + bank)))
        assert set(soup + bank) <= set(asked)
        assert acme.usage().embeddings.used == len(asked)
        del asked[:]
        # One sentence is edited: of all the others the vectors are there.
        edited = "The soup of the last day was cold when it was served."
        acme.ingest(Document("doc", " ".join([*soup[:3], edited, *bank])))
        assert edited in asked
        assert not set(soup + bank) & set(asked)
        other = db.create_tenant(TenantConfig(id="other"))
        other.ingest(Document("doc", " ".join(soup + bank)))
        assert set(soup + bank) <= set(asked)
        assert db.embedding_cache is not None
        assert db.embedding_cache.stats().misses == sum(
            tenant.usage().embeddings.used for tenant in (acme, other)
        )


def test_refused_ingest_charges_nothing(db: Database, texts: Counting) -> None:
    quotas = QuotaLimits(max_embeddings_per_day=1)
    tenant = db.create_tenant(TenantConfig(id="acme", quotas=quotas))
    with pytest.raises(errors.QuotaExceeded):
        tenant.ingest(Document("doc", "one\ntwo"))
    assert texts.asked == []
    tenant.ingest(Document("doc", "one"))
    assert tenant.usage().embeddings.used == 1


def test_warmed_queries_are_there_when_they_are_asked(
    db: Database, texts: Counting, tmp_path: Path
) -> None:
    tenant = db.create_tenant(TenantConfig(id="acme"))
    tenant.ingest(Document("doc", "text"))
    plain = tmp_path / "queries.txt"
    plain.write_text("first\n\nsecond\nfirst\n", encoding="utf-8")
    assert warm_embeddings(tenant, plain) == 2
    log = tmp_path / "log.jsonl"
    records: list[dict[str, object]] = [{"q": "third"}, {"q": 3}, {"other": 1}, {"q": "first"}]
    log.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    assert warm_embeddings(tenant, log, field="q") == 2
    log.write_text('{"query": "third"}\n{"q": "never asked"}', encoding="utf-8")
    assert warm_embeddings(tenant, log) == 1
    assert warm_embeddings(tenant, ["fourth", "fifth"], limit=1) == 1
    del texts.asked[:]
    for query in ("first", "second", "third", "fourth"):
        tenant.search(query)
    assert texts.asked == []
    assert tenant.usage().embeddings.used == 5


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff"])
def test_log_that_cant_be_read_is_refused(db: Database, tmp_path: Path, content: bytes) -> None:
    tenant = db.create_tenant(TenantConfig(id="acme"))
    (tmp_path / "log.jsonl").write_bytes(content)
    with pytest.raises(errors.IngestError, match=r"log\.jsonl"):
        warm_embeddings(tenant, tmp_path / "log.jsonl")
    with pytest.raises(errors.IngestError):
        warm_embeddings(tenant, tmp_path / "missing.txt")


def test_metrics_say_where_vectors_were(db: Database) -> None:
    tenant = db.create_tenant(TenantConfig(id="acme"))
    tenant.ingest(Document("doc", "one"))
    tenant.search("one more")
    tenant.search("one more")
    shown = db.metrics()
    assert 'llmspell_embedding_cache_texts_total{result="memory"} 1.0' in shown
    assert 'llmspell_embedding_cache_texts_total{result="miss"} 2.0' in shown
    assert 'llmspell_embedding_cache_entries{tier="memory"} 2.0' in shown
    assert 'llmspell_embedding_cache_lost_total{reason="corrupt"} 0.0' in shown


def test_other_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigError, match="EmbeddingCacheSettings"):
        llmspell.open(tmp_path / "data", embedding_cache=True)  # type: ignore[arg-type]


def test_real_model_gives_the_same_vectors_from_the_cache(tmp_path: Path) -> None:
    asked = EmbeddingCacheSettings()
    with llmspell.open(tmp_path / "data", embedding_cache=asked) as db:
        tenant = db.create_tenant(TenantConfig(id="acme"))
        tenant.ingest(Document("doc", "Octopuses have three hearts."))
        first = tenant.search("how many hearts has an octopus?")
        again = tenant.search("how many hearts has an octopus?")
        assert [(one.id, one.score) for one in first] == [(one.id, one.score) for one in again]
        assert tenant.usage().embeddings.used == 2
