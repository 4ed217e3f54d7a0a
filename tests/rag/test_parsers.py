"""PDF and DOCX files are read by processes that can do nothing but compute."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

import llmspell
from llmspell import Blob, TenantConfig, errors
from llmspell.rag.loaders import load
from llmspell.rag.media_types import DOCX, PDF
from llmspell.rag.parsers import Parsers
from llmspell.rag.parsers import parsers as module
from llmspell.rag.sources import Pending, Skipped
from llmspell.security import Sandbox, SecurityLevel
from llmspell.security.host import probe
from llmspell.tenancy.documents import Document
from tests.rag.files import docx_bomb, docx_file, pdf

LEAVE = pdf(["Every employee has thirty", "days of paid holiday."], ["Second page."], title="Leave")


@pytest.fixture(scope="module")
def parsers() -> Iterator[Parsers]:
    missing = probe().missing_for(SecurityLevel.SAFE)
    if missing:
        pytest.skip(f"this host can't confine tools: {missing}")
    made = Parsers()
    yield made
    made.close()


def test_pdf_is_read_page_by_page_with_its_title(parsers: Parsers) -> None:
    parsed = parsers.parse(LEAVE, PDF)
    assert parsed.text == "Every employee has thirty\ndays of paid holiday.\n\nSecond page."
    assert (parsed.media_type, parsed.title) == ("text/plain", "Leave")


def test_docx_is_read_with_headings_lists_and_tables(parsers: Parsers) -> None:
    parsed = parsers.parse(docx_file(), DOCX)
    assert parsed.text == (
        "# Leave\n\nThirty days of paid holiday in a year.\n\n## Who asks whom\n\n"
        "- first your team\n- then the office\n\n| who | days |\n| all | 30 |"
    )
    assert (parsed.media_type, parsed.title) == ("text/markdown", "House rules")


def test_parsers_run_confined(parsers: Parsers) -> None:
    parsers.parse(LEAVE, PDF)
    assert all(tool.is_confined for tool in parsers._tools.values())
    assert parsers._sandbox is not None
    assert parsers._sandbox.counters.unsandboxed.value == 0


@pytest.mark.parametrize(
    ("data", "media_type", "what"),
    [
        (b"%PDF-1.7\nnonsense", PDF, "the PDF file can't be read"),
        (LEAVE[:200], PDF, "the PDF file can't be read"),
        (b"PK\3\4word/document.xml", DOCX, "the DOCX file can't be read"),
        (docx_file()[:-400], DOCX, "the DOCX file can't be read"),
        (docx_bomb(65 << 20), DOCX, "unpacks to more than 67,108,864 bytes"),
        (docx_bomb(40 << 20), DOCX, "the DOCX file takes too much to read"),
    ],
)
def test_damaged_or_hostile_file_is_named_and_does_no_harm(
    parsers: Parsers, data: bytes, media_type: str, what: str
) -> None:
    with pytest.raises(errors.IngestError, match=what):
        parsers.parse(data, media_type)
    assert parsers.parse(LEAVE, PDF).title == "Leave"


def test_limits_of_pages_and_characters_hold(
    parsers: Parsers, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = module._KINDS
    for limits, what in (((1, 1_000), "2 pages, more than 1"), ((9, 40), "more than 40 char")):
        monkeypatch.setattr(module, "_KINDS", {**kinds, PDF: kinds[PDF]._replace(limits=limits)})
        with pytest.raises(errors.IngestError, match=what):
            parsers.parse(LEAVE, PDF)


def test_file_that_a_worker_can_not_be_given_is_refused(parsers: Parsers) -> None:
    with pytest.raises(errors.IngestError, match="larger than 16,773,120 bytes"):
        parsers.parse(LEAVE + bytes(16 << 20), PDF)


def test_content_tells_what_a_file_is_whatever_its_name(parsers: Parsers, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(LEAVE)
    document = load(Pending("notes.txt", path), parsers=parsers)
    assert isinstance(document, Document)
    assert document.metadata == {"media_type": PDF, "title": "Leave"}
    document = load(Blob("a", docx_file(), {"title": "mine"}, PDF), parsers=parsers)
    assert isinstance(document, Document)
    assert document.metadata == {"media_type": DOCX, "title": "mine"}
    skipped = load(Blob("b", b"%PDF-1.7"), parsers=parsers)
    assert isinstance(skipped, Skipped)


def test_host_that_can_not_confine_is_named_unless_its_owner_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Sandbox, "_missing", lambda self, needs: ["Landlock"])
    refused = Parsers()
    with pytest.raises(errors.SandboxUnavailable, match="Landlock"):
        refused.parse(LEAVE, PDF)
    refused.close()
    allowed = Parsers(allow_unsandboxed=True)
    assert allowed.parse(LEAVE, PDF).title == "Leave"
    assert allowed.parse(docx_file(), DOCX).title == "House rules"
    allowed.close()
    assert "runs without a sandbox" in caplog.text


def test_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name in ("pypdfium2", "docx") else find(name, *rest),
    )
    for data, media_type in ((LEAVE, PDF), (docx_file(), DOCX)):
        with pytest.raises(errors.MissingDependency, match=r"llmspell\[documents\]"):
            Parsers().parse(data, media_type)


def test_folder_of_documents_is_searched(parsers: Parsers, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "leave.pdf").write_bytes(LEAVE)
    (folder / "rules.docx").write_bytes(docx_file())
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7")
    with llmspell.open(tmp_path / "data") as db:
        acme = db.create_tenant(TenantConfig(id="acme"))
        report = acme.ingest(folder)
        assert report.added == 2
        assert report.skipped[0].startswith(f"{folder.as_posix()}/broken.pdf: the PDF file can't")
        hit = acme.search("second page", k=1)[0]
        assert hit.metadata["title"] == "Leave"
        assert acme.ingest(folder).unchanged == 2
