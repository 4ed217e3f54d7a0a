"""Ingesting and embedding through the pipeline, with the real model."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llmspell import errors
from llmspell.rag.chunking import Chunking
from llmspell.rag.embedding import CallableEmbedder, Task
from llmspell.rag.embedding.local import LocalEmbedder
from llmspell.rag.pipeline import Pipeline
from llmspell.security import Sandbox
from llmspell.tenancy.documents import (
    Blob,
    Document,
    IngestProgress,
    SplitDocument,
    WebPage,
)
from llmspell.tenancy.ports import Embed, IngestSource
from tests.rag.files import docx_file, pdf


class Room:
    """An ingest target in memory, with an optional limit on embeddings."""

    def __init__(self, limit: int = 1 << 40) -> None:
        self.limit = limit
        self.charged: list[int] = []
        self.batches: list[list[str]] = []
        self.documents: dict[str, SplitDocument] = {}
        self.vectors: dict[str, NDArray[np.float32]] = {}

    def document_hash(self, document_id: str) -> bytes | None:
        document = self.documents.get(document_id)
        return document.content_hash if document else None

    def put_documents(self, batch: Sequence[SplitDocument], embed: Embed) -> int:
        texts = [chunk.text for document in batch for chunk in document.chunks]
        used = sum(self.charged)
        if used + len(texts) > self.limit:
            raise errors.QuotaExceeded(
                quota="max_embeddings_per_day",
                limit=self.limit,
                used=used,
                requested=len(texts),
                retry_after=1.0,
            )
        rows = iter(embed(texts) if texts else ())
        self.charged.append(len(texts))
        self.batches.append([document.id for document in batch])
        for document in batch:
            self.documents[document.id] = document
            self.vectors[document.id] = np.array([next(rows) for _ in document.chunks])
        return len(texts)


DOCUMENTS = [
    Document("leave", "Every employee has thirty days of paid holiday in a year.", {"lang": "en"}),
    Document("travel", "Train tickets are booked in second class.", {"lang": "en"}),
    Document("coffee", "The espresso machine is cleaned on Fridays.", {"lang": "en"}),
]


@pytest.fixture(scope="module")
def pipeline(embedder: LocalEmbedder) -> Pipeline:
    return Pipeline(embedder)


def many(count: int) -> Iterator[Document]:
    for n in range(count):
        yield Document(f"doc-{n}", f"This is the short text of document {n}.")


def test_ingested_text_is_found_by_meaning(pipeline: Pipeline) -> None:
    room = Room()
    report = pipeline.ingest(room, DOCUMENTS)
    assert (report.added, report.replaced, report.unchanged, report.chunks) == (3, 0, 0, 3)
    query = pipeline.embed_query(["How long may I be on vacation?"])[0]
    scores = {id: float((vectors @ query)[0]) for id, vectors in room.vectors.items()}
    assert max(scores, key=lambda id: scores[id]) == "leave"
    assert room.documents["leave"].metadata == {"lang": "en"}


def test_ingesting_the_same_again_changes_nothing(pipeline: Pipeline) -> None:
    room = Room()
    pipeline.ingest(room, DOCUMENTS)
    batches, charged = list(room.batches), list(room.charged)
    report = pipeline.ingest(room, DOCUMENTS)
    assert (report.added, report.replaced, report.unchanged, report.chunks) == (0, 0, 3, 0)
    assert (room.batches, room.charged) == (batches, charged)


@pytest.mark.parametrize(
    "changed",
    [
        Document("leave", "Every employee has thirty-one days of paid holiday.", {"lang": "en"}),
        Document("leave", DOCUMENTS[0].text, {"lang": "de"}),
        Document("leave", DOCUMENTS[0].text, {"lang": "en"}, "text/markdown"),
    ],
)
def test_changed_text_metadata_or_type_replaces_the_document(
    pipeline: Pipeline, changed: Document
) -> None:
    room = Room()
    pipeline.ingest(room, DOCUMENTS)
    report = pipeline.ingest(room, [*DOCUMENTS[1:], changed])
    assert (report.added, report.replaced, report.unchanged) == (0, 1, 2)
    assert room.documents["leave"].metadata == changed.metadata


def test_the_same_model_name_at_another_provider_replaces_the_document(
    embedder: LocalEmbedder,
) -> None:
    def lengths(texts: Sequence[str], task: Task) -> list[list[float]]:
        return [[len(text), 1.0] for text in texts]

    room = Room()
    here, there = (
        Pipeline(
            CallableEmbedder(
                lengths, model_id="m", dim=2, tokenizer=embedder.tokenizer, provider=provider
            )
        )
        for provider in ("one.example", "other.example")
    )
    here.ingest(room, DOCUMENTS)
    assert here.ingest(room, DOCUMENTS).unchanged == 3
    assert there.ingest(room, DOCUMENTS).replaced == 3


def test_changed_settings_replace_the_document(pipeline: Pipeline, embedder: LocalEmbedder) -> None:
    room = Room()
    pipeline.ingest(room, DOCUMENTS)
    smaller = Pipeline(embedder, chunking=Chunking(size=128, overlap=16))
    assert smaller.ingest(room, DOCUMENTS).replaced == 3


def test_hash_does_not_depend_on_the_order_of_metadata(pipeline: Pipeline) -> None:
    room = Room()
    pipeline.ingest(room, Document("a", "text", {"x": 1, "y": [1, {"z": None}]}))
    again = pipeline.ingest(room, Document("a", "text", {"y": [1, {"z": None}], "x": 1}))
    assert again.unchanged == 1


def test_time_in_metadata_is_told_from_what_looks_like_one(pipeline: Pipeline) -> None:
    room = Room()
    time = datetime(2026, 1, 2, tzinfo=UTC)
    pipeline.ingest(room, Document("a", "text", {"at": time}))
    for at in ({"$time": time.isoformat()}, time.isoformat(), time.timestamp()):
        assert pipeline.ingest(room, Document("a", "text", {"at": at})).replaced == 1
    shifted = time.astimezone(timezone(timedelta(hours=2)))
    pipeline.ingest(room, Document("a", "text", {"at": time}))
    assert pipeline.ingest(room, Document("a", "text", {"at": shifted})).unchanged == 1


def test_metadata_that_can_not_be_stored_is_refused_by_its_name(pipeline: Pipeline) -> None:
    deep: dict[str, Any] = {}
    for _ in range(50_000):
        deep = {"in": deep}
    for bad in (deep, {"a": b"x"}, {1: "x"}, {"a": "\ud800"}, {"a": float("nan")}):
        for source in (Document("note", "text", bad), Blob("note", b"text", bad)):  # type: ignore[arg-type]
            with pytest.raises(errors.MetadataError, match="document 'note': metadata"):
                pipeline.ingest(Room(), source)


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        (Document("a", b"text"), "text of a Document must be str, got bytes"),  # type: ignore[arg-type]
        (Document("a", "x", None), "metadata of a Document must be Mapping, got NoneType"),  # type: ignore[arg-type]
        (Document("a", "x", source=3), "source of a Document must be str, got int"),  # type: ignore[arg-type]
        (Blob("a", "text"), "data of a Blob must be bytes or bytearray, got str"),  # type: ignore[arg-type]
        (Blob(7, b"text"), "id of a Blob must be str, got int"),  # type: ignore[arg-type]
        (WebPage(b"https://a.test"), "url of a WebPage must be str, got bytes"),  # type: ignore[arg-type]
    ],
)
def test_source_of_a_wrong_type_is_named(
    pipeline: Pipeline, source: IngestSource, wrong: str
) -> None:
    for call in (pipeline.read, lambda source: pipeline.ingest(Room(), [source])):
        with pytest.raises(errors.InputError, match=wrong):
            call(source)


def test_what_is_no_source_is_named_wherever_it_comes_from(pipeline: Pipeline) -> None:
    for bad in (3, None, b"a"):
        for source in ([bad], iter([bad])):
            with pytest.raises(errors.IngestError, match="a source must be a path"):
                pipeline.ingest(Room(), source)  # type: ignore[arg-type]


def test_file_spans_point_into_the_file(pipeline: Pipeline, tmp_path: Path) -> None:
    text = "".join(f"## Part {n}\n\n{'Words about it. ' * 60}\n\n" for n in range(5))
    (tmp_path / "handbook.md").write_text(text)
    room = Room()
    report = pipeline.ingest(room, tmp_path)
    (document,) = room.documents.values()
    assert document.id == f"{tmp_path.as_posix()}/handbook.md"
    assert report.chunks == len(document.chunks) == len(room.vectors[document.id]) > 1
    for chunk in document.chunks:
        assert text[chunk.start : chunk.end] == chunk.text


def test_chunks_of_every_type_are_slices_of_the_text_as_it_is_read_and_say_where_from(
    embedder: LocalEmbedder, tmp_path: Path
) -> None:
    words = [f"Sentence number {n} tells about the weather in spring." for n in range(12)]
    prose = " ".join(words)
    files = {
        "a.txt": prose.encode(),
        "a.md": f"# One\n\n{prose}\n\n## Two\n\n{prose}".encode(),
        "a.html": f"<title>Page</title><h1>One</h1><p>{prose}<p>{prose}".encode(),
        "a.pdf": pdf(words, words, title="Paper"),
        "a.docx": docx_file(),
        "a.csv": ("id,text\n" + "".join(f"{n},{word}\n" for n, word in enumerate(words))).encode(),
        "a.jsonl": "\n".join(f'{{"text": "{word}"}}' for word in words).encode(),
        "a.py": "\n\n".join(f"def f{n}():\n    return '{w}'" for n, w in enumerate(words)).encode(),
        "a.js": "\n".join(f"let s{n} = '{word}';" for n, word in enumerate(words)).encode(),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    pipeline = Pipeline(embedder, chunking=Chunking(size=48, overlap=8))
    room = Room()
    assert pipeline.ingest(room, tmp_path).added == len(files)
    for path in sorted(tmp_path.iterdir()):
        document = room.documents[path.as_posix()]
        read = pipeline.read(path)
        assert (read.id, read.metadata) == (document.id, document.metadata)
        assert document.metadata["media_type"]
        assert document.chunks
        for chunk in document.chunks:
            assert read.text[chunk.start : chunk.end] == chunk.text
    with pytest.raises(errors.IngestError, match="ingest takes many"):
        pipeline.read(tmp_path)
    with pytest.raises(errors.IngestError, match="binary"):
        pipeline.read(Blob("a", b"\0\1"))
    for media_type in ("text/plain", "text/html"):
        with pytest.raises(errors.IngestError, match="isn't valid Unicode"):
            pipeline.read(Document("a", "\ud800", media_type=media_type))


@pytest.mark.parametrize(
    ("media_type", "text"),
    [
        ("text/html; charset=utf-8", "a,b\n\n1,2"),
        ("application/xhtml+xml", "a,b\n\n1,2"),
        ("Text/CSV", "<p>a: 1\nb</p>: 2"),
    ],
)
def test_type_of_a_document_may_be_written_as_servers_do(
    pipeline: Pipeline, media_type: str, text: str
) -> None:
    content = "<p>a,b</p>\n1,2"
    assert pipeline.read(Document("a", content, media_type=media_type)).text == text


def test_html_is_read_as_text_with_its_title(pipeline: Pipeline) -> None:
    page = "<title>Rules</title><script>no()</script><h1>Leave</h1><p>Thirty days.</p>"
    room = Room()
    pipeline.ingest(room, Document("rules", page, media_type="text/html"))
    document = room.documents["rules"]
    assert document.metadata == {"title": "Rules"}
    assert [chunk.text for chunk in document.chunks] == ["# Leave\n\nThirty days."]


def test_file_may_have_16_mib_unless_told_otherwise(pipeline: Pipeline) -> None:
    most = 16 << 20
    with pytest.raises(errors.IngestError, match="larger than 16,777,216 bytes"):
        pipeline.read(Blob("a", b"x" * (most + 1)))
    assert len(pipeline.read(Blob("a", b"x" * most)).text) == most


def test_what_is_skipped_is_reported_with_the_reason(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Some text.")
    (tmp_path / "b.bin").write_bytes(b"\0\1\2")
    (tmp_path / "c.txt").write_text(" \n")
    (tmp_path / "d.html").write_text("<p>" + "x" * ((8 << 20) + 1))
    report = pipeline.ingest(Room(), [tmp_path, tmp_path / "a.txt"])
    base = tmp_path.as_posix()
    assert report.added == 1
    assert report.skipped == (
        f"{base}/b.bin: binary",
        f"{base}/c.txt: no text in it",
        f"{base}/d.html: the HTML file can't be read: read_html: ValueError: "
        "more than 8,388,608 characters",
        f"{base}/a.txt: the same id came before in this ingest",
    )
    assert "1 added" in str(report)
    assert "4 skipped" in str(report)


@pytest.mark.parametrize("lacks", ["extra", "sandbox"])
def test_file_that_can_not_be_read_here_is_skipped_among_others_and_raised_alone(
    embedder: LocalEmbedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacks: str
) -> None:
    error: type[errors.LlmspellError]
    if lacks == "extra":
        error, reason = errors.MissingDependency, r"llmspell[documents]"
        find = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: None if name == "pypdfium2" else find(name)
        )
    else:
        error, reason = errors.SandboxUnavailable, "can't confine its parser: Landlock"
        monkeypatch.setattr(Sandbox, "_missing", lambda self, needs: ["Landlock"])
    leave, note = tmp_path / "leave.pdf", tmp_path / "note.txt"
    leave.write_bytes(pdf(["Thirty days."]))
    note.write_text("Some text.")
    pipeline = Pipeline(embedder)
    sources: list[IngestSource] = [tmp_path, [leave, note], iter([leave, note])]
    for source in sources:
        report = pipeline.ingest(Room(), source)
        assert report.added == 1
        (skipped,) = report.skipped
        assert skipped.startswith(f"{leave.as_posix()}: ")
        assert reason in skipped
    alone: list[IngestSource] = [leave, [leave], Blob("a", leave.read_bytes())]
    for source in alone:
        with pytest.raises(error, match=re.escape(reason)):
            pipeline.ingest(Room(), source)


def test_source_whose_grammar_is_not_installed_is_skipped_among_others(
    embedder: LocalEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = Pipeline(embedder, chunking=Chunking(method="code"))
    source = Document("main.rs", "fn main() {}", media_type="text/x-rust")
    monkeypatch.setitem(sys.modules, "tree_sitter_rust", None)
    monkeypatch.setattr("llmspell.rag.chunking.has_grammar", lambda media_type: False)
    report = pipeline.ingest(Room(), [source, DOCUMENTS[0]])
    assert (report.added, len(report.skipped)) == (1, 1)
    assert report.skipped[0].startswith("main.rs: ")
    assert "llmspell[code]" in report.skipped[0]
    with pytest.raises(errors.MissingDependency):
        pipeline.ingest(Room(), source)


def test_library_that_all_need_is_not_passed_over(
    embedder: LocalEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "semantic_text_splitter", None)
    with pytest.raises(errors.MissingDependency, match=r"llmspell\[rag\]"):
        Pipeline(embedder).ingest(Room(), DOCUMENTS)


def test_document_that_became_blank_loses_its_chunks(pipeline: Pipeline) -> None:
    room = Room()
    pipeline.ingest(room, Document("a", "text"))
    report = pipeline.ingest(room, Document("a", " "))
    assert report.replaced == 1
    assert len(room.documents["a"].chunks) == 0


def test_documents_are_embedded_and_written_in_batches(
    pipeline: Pipeline,
) -> None:
    room = Room()
    pipeline.ingest(room, many(150))
    assert room.charged == [64, 64, 22]
    assert [len(batch) for batch in room.batches] == [64, 64, 22]


def test_size_of_a_batch_can_be_set(embedder: LocalEmbedder) -> None:
    room = Room()
    Pipeline(embedder, batch_chunks=20).ingest(room, many(30))
    assert room.charged == [20, 10]
    for wrong in (0, True, 1.5):
        with pytest.raises(errors.ConfigError, match="batch_chunks must be an int of 1 or more"):
            Pipeline(embedder, batch_chunks=wrong)  # type: ignore[arg-type]


def test_documents_that_became_blank_wait_in_batches_too(embedder: LocalEmbedder) -> None:
    room, pipeline = Room(), Pipeline(embedder, batch_chunks=20)
    pipeline.ingest(room, many(30))
    room.batches.clear()
    pipeline.ingest(room, [Document(one.id, " ") for one in many(30)])
    assert [len(batch) for batch in room.batches] == [20, 10]


def test_refused_batch_leaves_what_came_before_and_is_continued(pipeline: Pipeline) -> None:
    room = Room(limit=100)
    with pytest.raises(errors.QuotaExceeded) as refusal:
        pipeline.ingest(room, many(150))
    assert (refusal.value.used, refusal.value.requested) == (64, 64)
    (note,) = refusal.value.__notes__
    assert note.startswith("64 documents of this ingest are written")
    assert len(room.documents) == 64
    room.limit = 1_000
    report = pipeline.ingest(room, many(150))
    assert (report.unchanged, report.added) == (64, 86)
    assert sum(room.charged) == 150


def test_large_document_is_written_in_one_batch(embedder: LocalEmbedder) -> None:
    room = Room()
    text = "\n\n".join(f"Paragraph {n} has a few words in it." * 2 for n in range(140))
    Pipeline(embedder, chunking=Chunking(size=32, overlap=0)).ingest(room, Document("big", text))
    assert len(room.documents["big"].chunks) > 64
    assert room.batches == [["big"]]


def test_progress_is_told_after_every_document(pipeline: Pipeline) -> None:
    told: list[IngestProgress] = []
    report = pipeline.ingest(Room(), [*DOCUMENTS, Document("x", "")], progress=told.append)
    assert [state.documents for state in told] == [1, 2, 3, 4]
    assert {state.total for state in told} == {4}
    assert max(state.chunks for state in told) == report.chunks == 3
    told.clear()
    pipeline.ingest(Room(), many(2), progress=told.append)
    assert [state.total for state in told] == [None, None]


def test_progress_bar_is_drawn_when_asked(
    pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rich")
    pipeline.ingest(Room(), DOCUMENTS, progress=True)
    captured = capsys.readouterr()
    assert "3/3" in captured.err
    assert captured.out == ""


def test_report_names_the_seconds_of_each_stage(pipeline: Pipeline) -> None:
    report = pipeline.ingest(Room(), DOCUMENTS)
    assert set(report.stages) == {"load", "split", "embed", "write"}
    assert 0 < sum(report.stages.values()) <= report.seconds


def test_query_longer_than_the_model_takes_is_cut(pipeline: Pipeline) -> None:
    vectors = pipeline.embed_query(["word " * 2_000])
    assert np.linalg.norm(vectors[0]) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("document", "error"),
    [
        (Document("a", "lone \ud800 surrogate"), errors.IngestError),
        (Document("a", "text", {"x": object()}), errors.InputError),  # type: ignore[dict-item]
    ],
)
def test_document_that_cannot_be_stored_is_refused(
    pipeline: Pipeline, document: Document, error: type[Exception]
) -> None:
    room = Room()
    with pytest.raises(error, match="'a'"):
        pipeline.ingest(room, document)
    assert room.charged == []


def test_chunks_longer_than_the_model_takes_are_refused(
    embedder: LocalEmbedder, pipeline: Pipeline
) -> None:
    with pytest.raises(errors.ConfigError, match="at most 512"):
        Pipeline(embedder, chunking=Chunking(size=513))


def test_nothing_is_loaded_before_the_first_use(run_python: Callable[[str], str]) -> None:
    code = """
import sys
from llmspell.rag import Pipeline
Pipeline()
heavy = {"onnxruntime", "tokenizers", "semantic_text_splitter", "rich"}
print(sorted(heavy & set(sys.modules)))
"""
    assert run_python(code) == "[]\n"
