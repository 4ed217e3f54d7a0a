"""PDF, DOCX and HTML are read by processes that can do nothing but compute."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

import llmspell
from llmspell import Blob, TenantConfig, errors
from llmspell.rag.loaders import load
from llmspell.rag.media_types import DOCX, HTML, PDF
from llmspell.rag.parsers import Parsers
from llmspell.rag.parsers import parsers as module
from llmspell.rag.sources import Pending, Skipped
from llmspell.security import Sandbox
from llmspell.tenancy.documents import Document
from tests.rag.files import docx_bomb, docx_file, docx_laughs, docx_with, pdf

LEAVE = pdf(["Every employee has thirty", "days of paid holiday."], ["Second page."], title="Leave")


@pytest.fixture(scope="module")
def parsers(confines: None) -> Iterator[Parsers]:
    made = Parsers()
    with pytest.MonkeyPatch.context() as patch:
        # The minute of a file of 16 MiB is too long for those here.
        patch.setattr(module, "CPU_MS", 5_000)
        made.parse(b"", HTML)
        made.parse(LEAVE, PDF)
        made.parse(docx_file(), DOCX)
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


def test_text_of_docx_is_read_wherever_it_stands_and_once(parsers: Parsers) -> None:
    def paragraph(text: str) -> str:
        return f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"

    def table(*cells: str) -> str:
        shown = "".join(f"<w:tc>{cell}</w:tc>" for cell in cells)
        return f"<w:tbl><w:tr>{shown}</w:tr></w:tbl>"

    wide = '<w:tcPr><w:gridSpan w:val="100000000"/></w:tcPr>'
    compatible = "http://schemas.openxmlformats.org/markup-compatibility/2006"
    box = f"<w:txbxContent>{paragraph('boxed')}</w:txbxContent>"
    inner = (
        f"<w:sdt><w:sdtContent>{paragraph('of a form')}</w:sdtContent></w:sdt>"
        "<w:p><w:ins><w:r><w:t>inserted</w:t></w:r></w:ins>"
        "<w:del><w:r><w:delText>deleted</w:delText></w:r></w:del></w:p>"
        "<w:p><w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>c</w:t></w:r></w:p>"
        f'<w:p><w:r><mc:AlternateContent xmlns:mc="{compatible}"><mc:Choice>{box}</mc:Choice>'
        f"<mc:Fallback>{box}</mc:Fallback></mc:AlternateContent></w:r></w:p>"
        + table(wide + paragraph("wide"), table(paragraph("in"), paragraph("ner")) + "<w:p/>")
    )
    text = parsers.parse(docx_with(inner), DOCX).text.partition("\n\n# Leave")[0]
    assert text == "of a form\n\ninserted\n\na\tb\nc\n\nboxed\n\n| wide | in ner |"


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf\n", b"HTTP/1.1 200 OK\r\n\r\n", b"\0\1\2\3"])
def test_pdf_is_known_behind_what_is_no_part_of_it(parsers: Parsers, before: bytes) -> None:
    document = load(Blob("upload.txt", before + LEAVE), parsers=parsers)
    assert isinstance(document, Document)
    assert (document.media_type, document.metadata["title"]) == ("text/plain", "Leave")


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
        (docx_laughs(), DOCX, "the DOCX file (takes too much to|can't be) read"),
        (pdf(["spam"] * 1_000_000, is_packed=True), PDF, "the PDF file takes too much to read"),
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
    for limits, what in (((1, 999, 9), "2 pages, more than 1"), ((9, 40, 9), "more than 40 c")):
        monkeypatch.setattr(module, "_KINDS", {**kinds, PDF: kinds[PDF]._replace(limits=limits)})
        with pytest.raises(errors.IngestError, match=what):
            parsers.parse(LEAVE, PDF)


HOSTILE_HTML = {
    "never closed": "<div>" * 100_000,
    "closed by what was not opened": "<div></b>" * 60_000,
    "closed in a comment": "<div><!--</div>-->" * 60_000,
    "closed in an attribute": "<div a='</div>'>" * 60_000,
    "closed in a script": "<div><script></div></script>" * 60_000,
    "closed in itself": "<div/>" * 80_000,
    "ends that nothing implies": "<li><ul>" * 60_000,
    "foreign content": "<math><mi>" * 60_000,
    "formatting made anew in each block": "".join(f"<p><b id={n}>" for n in range(30_000)),
    "tables in cells": "<table><tr><td>" * 30_000,
    "choices": "<select><option>" * 40_000,
    "raw text never closed": "<script></script" * 100_000,
    "attributes": "<p " + " ".join(f"a{n}=1" for n in range(80_000)) + ">",
    "attribute without end": '<a b="' * 80_000,
    "quotes in quotes": "<a b=\"><a b='>" * 100_000,
    "comments without end": "<!--" * 100_000,
    "marks": "<" * 100_000,
    "references": "&#" + "9" * 100_000 + "&a" * 100_000,
    "white space": " " * 300_000 + "x",
}


@pytest.mark.parametrize("trick", HOSTILE_HTML)
def test_hostile_page_is_read_in_time_by_its_length(parsers: Parsers, trick: str) -> None:
    # What builds a tree takes more time than a worker has here for some of these.
    page = f"<p>before{HOSTILE_HTML[trick]}"
    assert parsers.parse(page.encode(), HTML).text.startswith("before")


def test_limits_are_as_the_reference_says() -> None:
    assert (module.MAX_PAGES, module.MAX_UNPACKED) == (10_000, 64 << 20)
    assert (module.CPU_MS, module.SECONDS) == (60_000, 120.0)


def test_page_with_more_text_than_there_may_be_is_named(parsers: Parsers) -> None:
    with pytest.raises(errors.IngestError, match=r"HTML file can't be read.*8,388,608 char"):
        parsers.parse(b"<p>" + b"x" * (8 << 20) + b"x", HTML)
    parsed = parsers.parse(b"<title>" + b"t" * (1 << 20) + b"</title>text", HTML)
    assert (parsed.text, parsed.title) == ("text", "t" * 1_000)


HOSTILE_ANSWERS = {
    "None": "something else",
    "[]": "something else",
    "'text'": "something else",
    "{'text': 'x'}": "something else",
    "{'text': 'x', 'title': 'x', 'more': 1}": "something else",
    "{'text': b'x', 'title': ''}": "isn't one",
    "{'text': 'x', 'title': ['x']}": "isn't one",
    "{'text': 'x' * (8 << 20) + 'x', 'title': ''}": "more than 8,388,608 characters",
    "{'text': 'x', 'title': 'x' * 1_001}": "a title of more than 1,000",
    "{'text': 'x' * (40 << 20), 'title': ''}": "can't be read|takes too much",
    "[0 for _ in iter(int, 1)]": "takes too much to read",
    "[bytes(1 << 20) for _ in range(99)]": "takes too much to read",
    "open('/etc/passwd').read()": "PermissionError|NotFound",
    "__import__('os')._exit(0)": "can't be read",
}


@pytest.fixture(scope="module")
def other_parsers() -> Iterator[Parsers]:
    made = Parsers()
    yield made
    made.close()


@pytest.fixture
def hostile(parsers: Parsers, other_parsers: Parsers, monkeypatch: pytest.MonkeyPatch) -> Parsers:
    """Its worker does what a file says, as one does whose parser a file has taken over."""
    source = Path(__file__).with_name("hostile_reader.py")
    kinds = module._KINDS
    monkeypatch.setattr(module, "_KINDS", {**kinds, HTML: kinds[HTML]._replace(source=source)})
    monkeypatch.setattr(module, "CPU_MS", 300)
    return other_parsers


@pytest.mark.parametrize("answer", HOSTILE_ANSWERS)
def test_whatever_a_worker_gives_that_is_no_text_is_refused(hostile: Parsers, answer: str) -> None:
    with pytest.raises(errors.IngestError, match=HOSTILE_ANSWERS[answer]):
        hostile.parse(answer.encode(), HTML)


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
    with pytest.raises(errors.SandboxUnavailable, match=r"Landlock.*Pipeline\(allow_uns"):
        refused.parse(LEAVE, PDF)
    refused.close()
    allowed = Parsers(allow_unsandboxed=True)
    assert allowed.parse(LEAVE, PDF).title == "Leave"
    assert allowed.parse(docx_file(), DOCX).title == "House rules"
    allowed.close()
    assert "runs without a sandbox" in caplog.text


def test_page_is_read_alike_where_nothing_can_be_confined(
    parsers: Parsers, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = b"<title>T</title><h1>One</h1><p>two"
    confined = parsers.parse(page, HTML)
    monkeypatch.setattr(Sandbox, "_missing", lambda self, needs: ["Landlock"])
    here = Parsers()
    assert here.parse(page, HTML) == confined == ("# One\n\ntwo", "text/markdown", "T")
    with pytest.raises(errors.IngestError, match="HTML file can't be read: more than 8,388,608"):
        here.parse(b"x" * ((8 << 20) + 1), HTML)
    here.close()


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
