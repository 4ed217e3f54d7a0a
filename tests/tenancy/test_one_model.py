"""The vectors of a tenant's documents are of one model, and texts are asked by that one."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import llmspell
from llmspell import Database, Document, Ingest, QuotaLimits, Tenant, TenantConfig
from llmspell.errors import CorruptFile, DimensionMismatch, EmbedderMismatch
from llmspell.storage.embedders import EMBEDDERS
from llmspell.storage.tables import META
from llmspell.storage.verify import verify
from llmspell.tenancy.ports import EmbeddingModel
from tests.tenancy.texts import DIM, Lines

OLD, NEW = "test/old", "test/new"


class Model(Lines):
    """Lines that name what embeds them. Both models have one dimension, as many real ones do."""

    def __init__(self, name: str, dim: int = DIM) -> None:
        self.embedding_model = EmbeddingModel("test", name, dim)
        self.embedder = self.embedding_model.name
        self.asked: list[str] = []

    def embed_query(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked.extend(texts)
        return super().embed_query(texts)


@pytest.fixture
def new() -> Model:
    return Model("new")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two documents, embedded by the old model."""
    with llmspell.open(tmp_path / "data", texts=Model("old")) as db:
        acme = db.create_tenant(TenantConfig(id="acme", quotas=QuotaLimits.unlimited()))
        acme.ingest([Document("a", "one\ntwo"), Document("b", "three")])
        assert acme.search("three", k=1)[0].id == "b#0"
    return tmp_path / "data"


def held(tenant: Tenant) -> dict[str, int] | None:
    return tenant._enter().store.embedders()


def test_a_text_is_not_asked_by_another_model(data: Path, new: Model) -> None:
    with llmspell.open(data, texts=new) as db:
        acme = db.tenant("acme")
        before = acme.usage().embeddings.used
        for ask in (acme.search, acme.retrieve):
            with pytest.raises(EmbedderMismatch) as caught:
                ask("three", k=1)
            assert (caught.value.held, caught.value.asked) == ({OLD: 2}, NEW)
            for part in ("'acme'", "2 by 'test/old'", "'test/new'", "Open the database with"):
                assert part in str(caught.value)
        with pytest.raises(EmbedderMismatch):
            acme.retrieve(["one", "two"], mode="dense")
        assert (new.asked, acme.usage().embeddings.used) == ([], before)
        # What needs no model of a text goes on.
        assert acme.retrieve("three", mode="lexical").ids == ["b#0"]
        assert acme.retrieve("three", vector=acme.get("b#0").vector)[0].id == "b#0"
        assert acme.search(acme.get("a#1").vector, k=1)[0].id == "a#1"


def test_another_model_ingests_nothing_unless_it_is_to_replace_the_first(
    data: Path, new: Model
) -> None:
    with llmspell.open(data, texts=new) as db:
        acme = db.tenant("acme")
        for document in (Document("c", "four"), Document("a", "one\ntwo")):
            with pytest.raises(EmbedderMismatch, match="change_model=True"):
                acme.ingest(document)
        assert (new.asked, held(acme)) == ([], {OLD: 2})
        assert acme.ingest(Document("a", "one\ntwo"), change_model=True).replaced == 1
        # Half-way neither model can ask, whichever opens the tenant.
        with pytest.raises(EmbedderMismatch, match=r"1 by 'test/new', 1 by 'test/old'"):
            acme.search("three")
        with pytest.raises(EmbedderMismatch, match=r"what 'test/new' didn't embed"):
            acme.search("three")
        with pytest.raises(EmbedderMismatch):
            acme.ingest(Document("c", "four"))
        acme.delete("b")
        assert held(acme) == {NEW: 1}
        acme.ingest(Document("c", "four"))
        assert acme.search("four", k=1)[0].id == "c#0"
    with llmspell.open(data, texts=Model("old")) as db, pytest.raises(EmbedderMismatch):
        db.tenant("acme").search("four")


@pytest.mark.parametrize("how", ["documents", "chunks", "filter"])
def test_a_tenant_without_documents_takes_any_model(data: Path, new: Model, how: str) -> None:
    with llmspell.open(data, texts=new) as db:
        acme = db.tenant("acme")
        if how == "documents":
            acme.delete(["a", "b"])
        elif how == "chunks":
            acme.delete(["a#0", "a#1", "b#0"])
        else:
            acme.delete(filter={})
        assert held(acme) == {}
        acme.ingest(Document("a", "one"))
        assert (held(acme), acme.search("one", k=1)[0].id) == ({NEW: 1}, "a#0")


def test_a_model_of_another_dimension_is_refused_before_it_embeds(data: Path) -> None:
    wide = Model("wide", DIM + 1)
    with llmspell.open(data, texts=wide) as db:
        acme = db.tenant("acme")
        with pytest.raises(DimensionMismatch, match="another tenant"):
            acme.ingest(Document("a", "one"), change_model=True)
    assert wide.asked == []


def test_services_that_name_no_model_ask_and_ingest_as_they_like(data: Path) -> None:
    with llmspell.open(data, texts=Lines()) as db:
        acme = db.tenant("acme")
        acme.ingest(Document("c", "four"))
        assert (held(acme), acme.search("four", k=1)[0].id) == ({OLD: 2}, "c#0")


def forget(tenant: Tenant, value: bytes | None = None) -> None:
    """Leave the store as a release that counted no models would."""
    environment = tenant._enter().store._env
    meta = environment.databases[META]

    def write(txn: Any) -> None:
        txn.put(EMBEDDERS, value, db=meta) if value else txn.delete(EMBEDDERS, db=meta)

    environment.write(write)


def test_a_tenant_of_an_earlier_release_is_accepted_and_counted_with_the_next_document(
    data: Path, new: Model
) -> None:
    with llmspell.open(data, texts=new) as db:
        acme = db.tenant("acme")
        forget(acme)
        assert len(acme.search("three")) == 3
        acme.ingest(Document("c", "four"))
        assert held(acme) == {NEW: 1, OLD: 2}
        with pytest.raises(EmbedderMismatch):
            acme.search("three")


def test_models_are_as_the_walk_over_the_store_counts_them(data: Path) -> None:
    with llmspell.open(data, texts=Model("old")) as db:
        acme = db.tenant("acme")
        acme.delete("a#0")
        acme.ingest(Document("c", "four"))
        with acme._enter().store.moment() as moment:
            verify(moment, "cosine")
        copied = acme._enter().store._env.databases[META]
        with acme._enter().store._env.read() as txn:
            before = txn.get(EMBEDDERS, db=copied)
        acme.delete("c")
        assert before is not None
        forget(acme, before)
        with acme._enter().store.moment() as moment, pytest.raises(CorruptFile, match="embedders"):
            verify(moment, "cosine")


def test_an_export_of_another_model_is_imported_into_a_tenant_of_its_own(
    data: Path, new: Model
) -> None:
    file = io.BytesIO()
    with llmspell.open(data, texts=new) as db:
        acme = db.tenant("acme")
        acme.export(file)
        other = _other(db)
        other.ingest(Document("x", "five"))
        file.seek(0)
        with pytest.raises(EmbedderMismatch, match="into another tenant"):
            other.import_from(file)
        assert (other.count(), held(other)) == (1, {NEW: 1})
        other.delete("x")
        file.seek(0)
        assert other.import_from(file).documents == 2
        assert held(other) == {OLD: 2}
        file.seek(0)
        assert other.import_from(file, on_conflict="replace").documents == 2


def test_an_import_is_refused_where_another_model_ingests_beside_it(data: Path, new: Model) -> None:
    class Slow(io.BytesIO):
        """An export that is read a second time when the ingest has come between."""

        def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
            if whence == io.SEEK_SET and self.tell():
                other.ingest(Document("x", "five"))
            return super().seek(place, whence)

    file = io.BytesIO()
    with llmspell.open(data, texts=new) as db:
        db.tenant("acme").export(file)
        other = _other(db)
        with pytest.raises(EmbedderMismatch, match="into another tenant"):
            other.import_from(Slow(file.getvalue()))
        assert held(other) == {NEW: 1}


def test_operations_and_async_handles_take_the_change_of_a_model(data: Path, new: Model) -> None:
    async def change() -> None:
        async with llmspell.open(data, texts=new) as db:
            acme = await db.tenant("acme")
            assert (await acme.ingest(Document("a", "six"), change_model=True)).replaced == 1
            operation = Ingest(Document("b", "seven"), change_model=True)
            assert (await acme.execute(operation)).replaced == 1
            assert (await acme.search("seven", k=1))[0].id == "b#0"

    asyncio.run(change())


def _other(db: Database) -> Tenant:
    return db.create_tenant(TenantConfig(id="other", quotas=QuotaLimits.unlimited()))
