"""Documents are listed with what is known of them, and an ingest changes only what changed."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import llmspell
from llmspell import Database, Document, Tenant, TenantConfig, errors
from llmspell.storage import Moment, Put, Write
from llmspell.storage.views import Views
from llmspell.tenancy.target import Target
from tests.tenancy.texts import Lines, embed, split


class Named(Lines):
    embedder = "lines"


class Counting(Named):
    def __init__(self) -> None:
        self.embedded: list[str] = []

    def embed_query(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.embedded += texts
        return super().embed_query(texts)


@pytest.fixture
def texts() -> Counting:
    return Counting()


@pytest.fixture
def acme(tmp_path: Path, texts: Counting) -> Any:
    with llmspell.open(tmp_path / "data", texts=texts) as db:
        yield db.create_tenant(TenantConfig(id="acme"))


def rows(tenant: Tenant) -> dict[object, int]:
    with tenant._enter().store.moment() as moment:
        return {record.id: record.rowid for record, _ in moment.records(vectors=False)}


def test_no_more_of_a_document_is_read_than_it_may_have_characters(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme.ingest(Document("doc", "\n".join(["four"] * 50)))
    read: list[object] = []
    chunks = Moment.chunks

    def counted(self: Moment, *given: Any, **named: Any) -> Iterator[Any]:
        for one in chunks(self, *given, **named):
            read.append(one)
            yield one

    monkeypatch.setattr(Moment, "chunks", counted)
    assert len(acme.chunks("doc", max_chars=249)) == 50  # with the line breaks between them
    for most, number in ((248, 50), (14, 4), (13, 3), (1, 1)):
        read.clear()
        with pytest.raises(errors.InputError, match=f"'doc' has more than {most} characters"):
            acme.chunks("doc", max_chars=most)
        assert len(read) == number
    for wrong in (0, True, "9"):
        with pytest.raises(errors.InputError, match="max_chars"):
            acme.chunks("doc", max_chars=wrong)  # type: ignore[arg-type]


def test_only_chunks_that_changed_are_embedded_and_written(acme: Tenant, texts: Counting) -> None:
    acme.ingest(Document("doc", "one\ntwo\nthree"))
    before, ids = rows(acme), {chunk.text: chunk.id for chunk in acme.chunks("doc")}
    texts.embedded.clear()
    report = acme.ingest(Document("doc", "one\n2\nthree"))
    assert (report.replaced, report.chunks) == (1, 1)
    assert texts.embedded == ["2"]
    assert acme.usage().embeddings.used == 4
    after = rows(acme)
    for text in ("one", "three"):
        assert after[ids[text]] == before[ids[text]]
    assert [chunk.text for chunk in acme.chunks("doc")] == ["one", "2", "three"]


def test_chunk_that_moved_keeps_its_vector_and_gets_its_new_place(
    acme: Tenant, texts: Counting
) -> None:
    acme.ingest(Document("doc", "one\ntwo"))
    before = rows(acme)
    text = "zero\none\ntwo"
    acme.ingest(Document("doc", text))
    assert texts.embedded == ["one", "two", "zero"]
    chunks = acme.chunks("doc")
    assert [chunk.id for chunk in chunks] == ["doc#2", "doc#0", "doc#1"]
    assert [text[c.metadata["start"] : c.metadata["end"]] for c in chunks] == text.split("\n")  # type: ignore[misc]
    assert {id: rows(acme)[id] for id in before} == before
    assert acme.search("one", k=1, filter={"start": 5})[0].id == "doc#0"


def test_chunk_names_the_version_in_which_its_text_came(acme: Tenant) -> None:
    acme.ingest(Document("doc", "one\ntwo"))
    acme.ingest(Document("doc", "one\nthree"))
    versions = {chunk.text: chunk.metadata["version"] for chunk in acme.chunks("doc")}
    assert versions == {"one": 1, "three": 2}
    assert acme.document("doc").version == 2


def test_equal_lines_are_chunks_of_their_own(acme: Tenant, texts: Counting) -> None:
    acme.ingest(Document("doc", "same\nsame"))
    acme.ingest(Document("doc", "same\nsame\nsame"))
    assert texts.embedded == ["same"] * 3
    assert [chunk.metadata["start"] for chunk in acme.chunks("doc")] == [0, 5, 10]


def test_other_metadata_reach_every_chunk_without_embedding(acme: Tenant, texts: Counting) -> None:
    acme.ingest(Document("doc", "one\ntwo", {"lang": "en", "old": 1}))
    acme.update_metadata("doc#0", {"mine": True})
    acme.ingest(Document("doc", "one\ntwo", {"lang": "de", "n": 1}))
    assert len(texts.embedded) == 2
    first, second = (chunk.metadata for chunk in acme.chunks("doc"))
    assert (first["lang"], first["n"], first["mine"], "old" in first) == ("de", 1, True, False)
    assert "mine" not in second
    assert len(acme.search("one", filter={"lang": "de"})) == 2
    assert len(acme.search("one", filter={"lang": "en"})) == 0
    acme.ingest(Document("doc", "one\ntwo", {"lang": "de", "n": True}))
    assert [type(chunk.metadata["n"]) for chunk in acme.chunks("doc")] == [bool, bool]


def test_another_model_embeds_all_anew(acme: Tenant, texts: Counting) -> None:
    target = Target(acme._residence, acme._enter, change_model=True)
    made = split(Document("doc", "one\ntwo"), "lines")
    assert target.put_documents([made], embed) == 2
    assert target.put_documents([made], embed) == 0
    assert target.put_documents([replace(made, embedder="other")], embed) == 2
    assert target.put_documents([replace(made, embedder="")], embed) == 2
    assert target.put_documents([replace(made, embedder="")], embed) == 2


def test_what_an_ingest_wrote_to_a_chunk_is_no_update_s_to_change(acme: Tenant) -> None:
    acme.ingest(Document("doc", "one", source="file:doc"))
    acme.update_metadata("doc#0", {"source": "x", "version": 9, "document": "y"}, replace=True)
    assert acme.get("doc#0").metadata == {
        "document": "doc",
        "source": "file:doc",
        "version": 1,
        "start": 0,
        "end": 3,
    }


@pytest.mark.parametrize("name", ["document", "version", "start", "end"])
def test_metadata_that_an_ingest_would_overwrite_is_refused(acme: Tenant, name: str) -> None:
    with pytest.raises(errors.MetadataError, match=f"'doc': '{name}' .* another name"):
        acme.ingest(Document("doc", "one", {name: "mine"}))
    assert acme.documents().documents == []


def test_source_may_stand_in_the_metadata(acme: Tenant) -> None:
    acme.ingest(Document("doc", "one", {"source": "file:doc"}))
    acme.ingest(Document("none", "two", {"source": None}))
    assert acme.get("doc#0").metadata["source"] == acme.document("doc").source == "file:doc"
    assert acme.get("none#0").metadata["source"] == "none"
    for source in ("file:other", 3, ""):
        with pytest.raises(errors.MetadataError, match="'source' of its metadata"):
            acme.ingest(Document("doc", "one", {"source": source}, source="file:doc"))


def test_document_tells_what_is_known_of_it(acme: Tenant) -> None:
    acme.ingest(Document("doc", "one\ntwo", {"lang": "en"}, source="file:doc"))
    info = acme.document("doc")
    assert (info.id, info.version, info.source, info.chunks) == ("doc", 1, "file:doc", 2)
    assert info.metadata == {"lang": "en"}
    assert info.created_at == info.updated_at == acme.get("doc#0").created_at
    acme.ingest(Document("doc", "one", {"lang": "en"}))
    again = acme.document("doc")
    assert (again.version, again.source, again.chunks) == (2, "doc", 1)
    assert again.created_at == info.created_at < again.updated_at
    assert again.content_hash not in ("", info.content_hash)
    acme.ingest(Document("other", "one\ntwo"))
    acme.delete("other#0")
    assert acme.document("other").content_hash == ""
    assert [chunk.id for chunk in acme.chunks("other")] == ["other#1"]


def test_document_that_is_not_there_is_named(acme: Tenant) -> None:
    acme.ingest(Document("doc", "one"))
    acme.delete("doc")
    for call in (acme.document, acme.chunks):
        with pytest.raises(errors.IdNotFound, match="no document 'doc'"):
            call("doc")
        with pytest.raises(errors.InvalidId):
            call("")


def test_documents_are_listed_by_pages_in_the_order_of_their_ids(acme: Tenant) -> None:
    names = ["ä", "b", "a", "a\0", "c" * 500]
    acme.ingest([Document(name, name) for name in names])
    seen: list[str] = []
    cursor = None
    while True:
        page = acme.documents(cursor=cursor, limit=2)
        seen += [info.id for info in page.documents]
        cursor = page.cursor
        if cursor is None:
            break
        acme.ingest(Document("0", "behind the cursor"))
    assert seen == sorted(names, key=str.encode)
    assert acme.documents().documents[0].id == "0"
    with pytest.raises(errors.InputError, match="limit"):
        acme.documents(limit=0)
    with pytest.raises(errors.InvalidCursor):
        acme.documents(cursor="x")


def test_export_keeps_versions_sources_and_order(acme: Tenant, tmp_path: Path) -> None:
    acme.ingest(Document("doc", "one\ntwo", source="file:doc"))
    acme.ingest(Document("doc", "zero\none\ntwo", source="file:doc"))
    file = io.BytesIO()
    acme.export(file)
    file.seek(0)
    with llmspell.open(tmp_path / "other", texts=Named()) as db:
        copy = db.create_tenant(TenantConfig(id="copy"))
        copy.import_from(file)
        assert copy.document("doc") == acme.document("doc")
        assert [c.text for c in copy.chunks("doc")] == ["zero", "one", "two"]
        texts = Counting()
        made = split(Document("doc", "zero\none\n2", source="file:doc"), "lines")
        Target(copy._residence, copy._enter).put_documents([made], texts.embed_query)
        assert texts.embedded == ["2"]


def test_write_that_comes_between_embedding_and_writing_loses_nothing(acme: Tenant) -> None:
    acme.ingest(Document("doc", "one\ntwo\nthree"))
    target = Target(acme._residence, acme._enter)
    asked: list[list[str]] = []

    def meanwhile(texts: Sequence[str]) -> NDArray[np.float32]:
        asked.append(list(texts))
        if len(asked) == 1:
            thread = threading.Thread(target=acme.delete, args=("doc#0",))
            thread.start()
            thread.join()
        return embed(texts)

    assert target.put_documents([split(Document("doc", "one\ntwo\n3"), "lines")], meanwhile) == 2
    assert asked == [["3"], ["one"]]
    assert [chunk.text for chunk in acme.chunks("doc")] == ["one", "two", "3"]
    assert acme.usage().embeddings.used == 5


def test_chunk_that_expires_while_others_are_embedded_is_made_anew(
    acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme.ingest(Document("doc", "one\ntwo\nthree"))
    room = acme._enter()
    soon = room.views.now_us() + 60_000_000
    with room.store.moment() as moment:
        stored = moment.document("doc")
        assert stored is not None
        held, vector = next(moment.chunks(stored))
        put = Put(
            held.key,
            held.raw_metadata,
            held.raw_text,
            vector.tobytes(),
            is_chunk=True,
            expires_us=soon,
        )
        document = stored._replace(rows=(-1, *stored.rows[1:]))
    room.write(Write([put], vector[np.newaxis], documents={"doc": document}))
    asked: list[list[str]] = []

    def meanwhile(texts: Sequence[str]) -> NDArray[np.float32]:
        asked.append(list(texts))
        monkeypatch.setattr(Views, "now_us", lambda views: soon)
        return embed(texts)

    changed = split(Document("doc", "one\ntwo\n3"), "lines")
    Target(acme._residence, acme._enter).put_documents([changed], meanwhile)
    assert asked == [["3"], ["one"]]
    assert [chunk.text for chunk in acme.chunks("doc")] == ["one", "two", "3"]


edits = st.lists(
    st.tuples(
        st.sampled_from("de"),
        st.lists(st.sampled_from(["a", "b", "c", "dd", "e"]), max_size=6),
        st.integers(0, 1),
    ),
    max_size=8,
)


@settings(max_examples=25, deadline=None)
@given(edits=edits, lost=st.integers(0, 7))
def test_documents_are_as_a_dict_of_lines_has_them(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[str, list[str], int]], lost: int
) -> None:
    model: dict[str, tuple[list[str], int]] = {}
    with llmspell.open(tmp_path_factory.mktemp("data"), texts=Named()) as db:
        tenant = db.create_tenant(TenantConfig(id="acme"))
        for step, (name, lines, n) in enumerate(edits):
            if step == lost and model.get(name, ([], 0))[0]:
                tenant.delete(tenant.chunks(name)[0].id)
            tenant.ingest(Document(name, "\n".join(lines), {"n": n}))
            model[name] = lines, n
            text = "\n".join(lines)
            for info in tenant.documents().documents:
                held, of = model[info.id]
                chunks = tenant.chunks(info.id, vectors=True)
                assert [chunk.text for chunk in chunks] == held
                assert {chunk.metadata["n"] for chunk in chunks} <= {of}
                for chunk, expected in zip(chunks, embed(held), strict=True):
                    assert np.array_equal(chunk.vector, expected)
                if info.id == name:
                    spans = [(c.metadata["start"], c.metadata["end"]) for c in chunks]
                    assert [text[start:end] for start, end in spans] == held  # type: ignore[misc]
        assert tenant.count() == sum(len(lines) for lines, _ in model.values())
        assert tenant.usage().documents.used == len(model)
        assert tenant.scrub().is_sound


def test_the_async_handle_gives_the_same(tmp_path: Path) -> None:
    import asyncio

    async def main() -> None:
        async with llmspell.open(tmp_path / "data", texts=Named()) as db:
            acme = await db.create_tenant(TenantConfig(id="acme"))
            await acme.ingest(Document("doc", "one\ntwo"))
            assert (await acme.document("doc")).chunks == 2
            assert [c.text for c in await acme.chunks("doc")] == ["one", "two"]
            assert [i.id for i in (await acme.documents()).documents] == ["doc"]

    asyncio.run(main())


def test_tenants_do_not_see_each_other_s_documents(db: Database) -> None:
    one, two = (db.create_tenant(TenantConfig(id=name)) for name in ("one", "two"))
    one.ingest(Document("doc", "text"))
    assert two.documents().documents == []
    with pytest.raises(errors.IdNotFound):
        two.document("doc")
    cursor = None
    one.ingest(Document("more", "text"))
    cursor = one.documents(limit=1).cursor
    with pytest.raises(errors.InvalidCursor):
        two.documents(cursor=cursor)
