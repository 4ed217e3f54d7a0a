"""Pages of the web come by the broker, and by it alone."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

import llmspell
from llmspell import TenantConfig, WebPage, errors
from llmspell.rag import Pipeline
from llmspell.rag.sources import Skipped
from llmspell.rag.web import fetch
from llmspell.security import Attempt, Broker
from llmspell.tenancy.documents import Blob
from tests.security.broker.servers import LOOPBACK, Server, ok, redirect

PAGE = b"<title>Leave</title><h1>Leave</h1><p>Thirty days of holiday."


def broker(attempts: list[Attempt] | None = None) -> Broker:
    return Broker([LOOPBACK], on_attempt=None if attempts is None else attempts.append)


def test_page_is_ingested_under_its_url_with_the_one_that_answered_as_source(
    tmp_path: Path,
) -> None:
    def respond(request: bytes) -> bytes:
        if b" /old " in request:
            return redirect("/new.html")
        return ok(PAGE, "Content-Type: text/html; charset=utf-8")

    attempts: list[Attempt] = []
    texts = Pipeline(web=broker(attempts))
    with Server(respond) as server, llmspell.open(tmp_path / "data", texts=texts) as db:
        acme = db.create_tenant(TenantConfig(id="acme"))
        url = server.url("/old", LOOPBACK)
        assert acme.ingest(WebPage(url, metadata={"lang": "en"})).added == 1
        (chunk,) = acme.chunks(url)
        assert chunk.text == "# Leave\n\nThirty days of holiday."
        assert chunk.metadata["source"] == server.url("/new.html", LOOPBACK)
        assert (chunk.metadata["title"], chunk.metadata["lang"]) == ("Leave", "en")
        assert acme.ingest(WebPage(url, metadata={"lang": "en"})).unchanged == 1
    sandbox = texts._reader._parsers._sandbox
    assert sandbox is not None
    assert sandbox.counters.calls.value == len(sandbox._tools) <= 1, "parsed once, confined"
    assert {attempt.tenant for attempt in attempts} == {"acme"}


@pytest.mark.parametrize(
    ("header", "body", "text"),
    [
        ("text/plain; charset=iso-8859-15", "naïve €".encode("iso-8859-15"), "naïve €"),
        ("text/plain; charset=nonsense", "naïve €".encode(), "naïve €"),
        ('text/plain; charset="UTF-8"', "naïve €".encode(), "naïve €"),
        ("text/html; charset=gb2312", "<p>€ 东".encode("gb18030"), "<p>€ 东"),
    ],
)
def test_charset_of_the_server_counts(header: str, body: bytes, text: str) -> None:
    from llmspell.rag.loaders import load

    with Server(ok(body, f"Content-Type: {header}")) as server:
        blob = fetch(WebPage(server.url("/a", LOOPBACK)), broker())
    assert isinstance(blob, Blob)
    assert load(blob).text == text  # type: ignore[union-attr]


def test_compressed_page_is_unpacked_within_limits() -> None:
    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(bytes(40 << 20)) + packer.flush()
    small = zlib.compressobj(wbits=31)
    page = small.compress(PAGE) + small.flush()

    def respond(request: bytes) -> bytes:
        return ok(packed if b" /bomb " in request else page, "Content-Encoding: gzip")

    with Server(respond) as server:
        found = fetch(WebPage(server.url("/page", LOOPBACK)), broker())
        assert isinstance(found, Blob)
        assert found.data == PAGE
        bomb = fetch(WebPage(server.url("/bomb", LOOPBACK), "bomb"), broker())
    assert isinstance(bomb, Skipped)
    assert str(bomb) == "bomb: a response that decompresses to more than 33,554,432 bytes"


def test_page_that_fails_or_is_not_allowed_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    def respond(request: bytes) -> bytes:
        return ok(b"gone", status="404 Not Found") if b" /gone " in request else ok(PAGE)

    texts = Pipeline(web=broker())
    with Server(respond) as server, llmspell.open(tmp_path / "data", texts=texts) as db:
        acme = db.create_tenant(TenantConfig(id="acme"))
        gone = server.url("/gone", LOOPBACK)
        pages = [gone, "http://169.254.169.254/latest", "http://localhost/", "ftp://a.test/"]
        fine = server.url("/fine", LOOPBACK)
        report = acme.ingest(map(WebPage, [*pages, fine]))
        assert report.added == 1
        assert [one.partition(": ")[0] for one in report.skipped] == pages
        assert "answered 404" in report.skipped[0]
        assert len(server.requests) == 2


def test_page_without_a_broker_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with llmspell.open(tmp_path / "data") as db:
        acme = db.create_tenant(TenantConfig(id="acme"))
        with pytest.raises(errors.ConfigError, match="Pipeline\\(web="):
            acme.ingest(WebPage("https://example.org/"))
