"""Ingesting into a real tenant on disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import llmspell
from llmspell import Blob, Chunking, Document, QuotaLimits, TenantConfig, errors
from llmspell.rag import MemoryGuard
from llmspell.rag.embedding import CallableEmbedder, Task
from llmspell.rag.embedding.local import LocalEmbedder
from llmspell.rag.loaders import load
from llmspell.rag.pipeline import Pipeline
from llmspell.tenancy import current_operation

PAGES = {
    "leave.md": "# Leave\n\nEvery employee has thirty days of paid holiday in a year.",
    "travel.html": "<title>Travel</title><h1>Trains</h1><p>Tickets are for second class.",
    "coffee.txt": "The espresso machine is cleaned on Fridays.",
    "tools.py": 'def reset(user):\n    """Send the user a link to choose a new password."""\n',
}

INGEST_AND_DIE = """
import os, signal, sys
import llmspell
from llmspell import Document

def die(state):
    if state.documents == 100:
        os.kill(os.getpid(), signal.SIGKILL)

with llmspell.open(sys.argv[1]) as db:
    documents = [Document(f"doc-{n}", f"Text number {n}.") for n in range(150)]
    db.tenant("acme").ingest(documents, progress=die)
"""


@pytest.fixture
def handbook(tmp_path: Path) -> Path:
    folder = tmp_path / "handbook"
    folder.mkdir()
    for name, text in PAGES.items():
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("How long may I be on vacation?", "leave.md"),
        ("Which class may I ride in on the railway?", "travel.html"),
        ("When is the coffee maker serviced?", "coffee.txt"),
        ("I can't log in any more", "tools.py"),
    ],
)
def test_folder_of_every_kind_of_file_is_searched_by_meaning(
    tmp_path: Path, handbook: Path, question: str, answer: str
) -> None:
    with llmspell.open(tmp_path / "data") as db:
        acme = db.create_tenant(TenantConfig(id="acme"))
        assert acme.ingest(handbook).added == len(PAGES)
        (hit,) = acme.search(question, k=1)
        assert hit.id == f"{handbook.as_posix()}/{answer}#0"
        assert hit.metadata["document"] == f"{handbook.as_posix()}/{answer}"


def test_ingesting_again_after_reopening_changes_nothing(tmp_path: Path, handbook: Path) -> None:
    with llmspell.open(tmp_path / "data") as db:
        db.create_tenant(TenantConfig(id="acme")).ingest(handbook)
        used = db.tenant("acme").usage()
    with llmspell.open(tmp_path / "data") as db:
        report = db.tenant("acme").ingest(handbook)
        assert (report.unchanged, report.chunks) == (len(PAGES), 0)
        assert db.tenant("acme").usage().embeddings.used == used.embeddings.used == len(PAGES)


def test_bytes_that_are_there_are_not_read_again_until_they_or_what_is_said_of_them_change(
    tmp_path: Path, handbook: Path, embedder: LocalEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[str] = []

    def counted(item: Blob, **settings: Any) -> Any:
        parsed.append(item.name or item.id)
        return load(item, **settings)

    monkeypatch.setattr("llmspell.rag.reading.load", counted)
    with llmspell.open(tmp_path / "data", texts=Pipeline(embedder)) as db:
        acme = db.create_tenant(TenantConfig(id="acme"))
        acme.ingest(handbook)
        assert sorted(parsed) == sorted(PAGES)
        parsed.clear()
        for name in PAGES:
            os.utime(handbook / name, (0, 0))
        report = acme.ingest([handbook, handbook / "leave.md"])
        assert (report.unchanged, parsed) == (len(PAGES), [])
        assert report.skipped == (
            f"{handbook.as_posix()}/leave.md: the same id came before in this ingest",
        )
        # The same text, by other bytes.
        (handbook / "leave.md").write_bytes(b"\xef\xbb\xbf" + PAGES["leave.md"].encode())
        report = acme.ingest(handbook)
        assert (report.replaced, report.kept, parsed) == (1, 1, ["leave.md"])
        blob = Blob("b", b"Doors close at nine.", {"lang": "en"}, name="b.txt", source="s")
        acme.ingest(blob)
        others = [
            replace(blob, metadata={"lang": "de"}),
            replace(blob, media_type="text/markdown"),
            replace(blob, name="b.html"),
            replace(blob, source="t"),
        ]
        assert [acme.ingest(other).replaced for other in others] == [1] * 4
        assert acme.ingest(others[-1]).unchanged == 1


def test_embedding_quota_refuses_a_whole_batch_before_it_is_embedded(tmp_path: Path) -> None:
    with llmspell.open(tmp_path / "data") as db:
        quotas = QuotaLimits(max_embeddings_per_day=2)
        acme = db.create_tenant(TenantConfig(id="acme", quotas=quotas))
        documents = [llmspell.Document(str(n), f"Text {n}.") for n in range(3)]
        with pytest.raises(errors.QuotaExceeded) as refusal:
            acme.ingest(documents)
        assert refusal.value.quota == "max_embeddings_per_day"
        assert acme.count() == 0
        assert acme.ingest(documents[:2]).added == 2


def test_killed_ingest_goes_on_where_it_was(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with llmspell.open(data) as db:
        db.create_tenant(TenantConfig(id="acme"))
    command = [sys.executable, "-c", INGEST_AND_DIE, str(data)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    with llmspell.open(data) as db:
        acme = db.tenant("acme")
        documents = [llmspell.Document(f"doc-{n}", f"Text number {n}.") for n in range(150)]
        report = acme.ingest(documents)
        assert (report.unchanged, report.added) == (128, 22)
        assert acme.count() == 150
        assert acme.ingest(documents).unchanged == 150


def test_file_that_cannot_be_taken_leaves_the_rest_of_its_folder(
    tmp_path: Path, handbook: Path
) -> None:
    (handbook / os.fsdecode(b"a\xff.txt")).write_text("Its name is not UTF-8.")
    deep = handbook.joinpath(*["d" * 150] * 4)
    deep.mkdir(parents=True)
    (deep / "a.txt").write_text("Its path is longer than an id may be.")
    (handbook / "b.html").write_text("<meta charset=undefined><p>Rooms are booked by phone.")
    with llmspell.open(tmp_path / "data") as db:
        acme = db.create_tenant(TenantConfig(id="acme"))
        report = acme.ingest(handbook)
        assert report.added == len(PAGES) + 1
        unnamed, long = sorted(report.skipped)
        assert unnamed.startswith(
            f"{handbook.as_posix()}/a\\udcff.txt: an id must be valid Unicode"
        )
        assert long.startswith(f"{deep.as_posix()}/a.txt: a str id must have 1 to 510")
        assert acme.ingest(handbook).unchanged == report.added
        with pytest.raises(errors.InvalidId):
            acme.ingest(llmspell.Document("\udcff", "An id that the caller chose."))


def test_document_that_lost_a_chunk_and_then_its_text_leaves_nothing(
    tmp_path: Path, embedder: LocalEmbedder
) -> None:
    texts = Pipeline(embedder, chunking=Chunking(size=32, overlap=0))
    with llmspell.open(tmp_path / "data", texts=texts) as db:
        acme = db.create_tenant(TenantConfig(id="acme"))
        acme.ingest(llmspell.Document("doc", "The machine is cleaned on Fridays. " * 16))
        assert acme.count() > 2
        acme.delete("doc#0")
        report = acme.ingest(llmspell.Document("doc", " "))
        assert (report.replaced, report.skipped) == (1, ())
        assert acme.count() == 0


def test_bytes_are_ingested_under_their_id_and_source(tmp_path: Path) -> None:
    with llmspell.open(tmp_path / "data") as db:
        acme = db.create_tenant(TenantConfig(id="acme"))
        blob = llmspell.Blob("prices", b"item,price\ntea,3\n", name="p.csv", source="s3://shop/p")
        assert acme.ingest(blob).added == 1
        (hit,) = acme.search("What does tea cost?", k=1)
        assert (hit.id, hit.text) == ("prices#0", "item: tea\nprice: 3")
        assert hit.metadata["source"] == "s3://shop/p"
        assert acme.ingest(blob).unchanged == 1


def test_splitting_by_meaning_charges_what_it_embeds(
    tmp_path: Path, embedder: LocalEmbedder
) -> None:
    texts = Pipeline(embedder, chunking=Chunking(method="semantic", size=64, overlap=0))
    with llmspell.open(tmp_path / "data", texts=texts) as db:
        acme = db.create_tenant(TenantConfig(id="acme"))
        text = "The soup simmers all day. " * 8 + "The bank raised its rate. " * 8
        report = acme.ingest(llmspell.Document("doc", text))
        assert acme.usage().embeddings.used > report.chunks > 1


def test_ingest_within_the_source_of_another_works_for_its_own_tenant(
    tmp_path: Path, embedder: LocalEmbedder
) -> None:
    worked: set[tuple[str, str]] = set()

    def model(texts: Sequence[str], task: Task) -> list[list[float]]:
        operation = current_operation()
        assert operation is not None
        worked.update((operation.tenant_id, text[0]) for text in texts)
        return [[len(text), 1.0] for text in texts]

    counted = CallableEmbedder(model, model_id="m", dim=2, tokenizer=embedder.tokenizer)
    texts = Pipeline(counted, memory=MemoryGuard(14_000))
    with llmspell.open(tmp_path / "data", texts=texts) as db:
        a, b = (db.create_tenant(TenantConfig(id=name)) for name in "ab")

        def documents(name: str, count: int) -> Iterator[Document]:
            for number in range(count):
                if name == "a":
                    b.ingest(documents(f"b{number}", 3))
                yield Document(f"{name}-{number}", f"{name} is about Fridays. " * 40)

        a.ingest(documents("a", 3))
        assert worked == {("a", "a"), ("b", "b")}
        assert (a.usage().embeddings.used, b.usage().embeddings.used) == (3, 9)
