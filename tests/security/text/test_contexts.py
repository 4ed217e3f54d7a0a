from __future__ import annotations

import html
import sqlite3
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell.errors import ConfigError, InputError, TextRefused
from llmspell.security import (
    escape_html,
    latin_skeleton,
    quote_identifier,
    quote_like,
    quote_literal,
    sanitize_html,
)

NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12)
DIALECTS = ["duckdb", "mysql", "postgres", "snowflake", "sqlite", "tsql"]


@given(NAMES | st.sampled_from(['"; DROP TABLE t; --', 'a"b', "a]b", "a`b", "a.b", "''", "\\"]))
def test_a_quoted_name_is_that_name_to_the_database(name: str) -> None:
    with sqlite3.connect(":memory:") as db:
        db.execute(f"CREATE TABLE {quote_identifier(name, dialect='sqlite')} (x)")
        assert db.execute("SELECT name FROM sqlite_master").fetchall() == [(name,)]
    db.close()


@given(NAMES | st.sampled_from(["'; DROP TABLE t; --", "\\'", "a\r\n\tb", "--", "/*", "%"]))
def test_a_quoted_literal_is_that_text_to_the_database(text: str) -> None:
    with sqlite3.connect(":memory:") as db:
        assert db.execute(f"SELECT {quote_literal(text, dialect='sqlite')}").fetchone() == (text,)
    db.close()


@pytest.mark.parametrize("dialect", DIALECTS)
@given(text=NAMES)
def test_quotes_are_closed_once_in_every_dialect(dialect: str, text: str) -> None:
    quoted = quote_identifier(text[:12], dialect=dialect)  # type: ignore[arg-type]
    close = quoted[-1]
    assert close not in quoted[1:-1].replace(close * 2, "")
    if "\\" in text and dialect in ("mysql", "postgres"):
        with pytest.raises(TextRefused, match="backslash"):
            quote_literal(text, dialect=dialect)  # type: ignore[arg-type]
        return
    inside = quote_literal(text, dialect=dialect)[1:-1]  # type: ignore[arg-type]
    if dialect == "snowflake":
        inside = inside.replace("\\\\", "").replace("\\'", "")
    assert "'" not in inside.replace("''", "")


@pytest.mark.parametrize(
    "name, reason",
    [("", "length"), ("x" * 64, "length"), ("é" * 32, "length"), ("a\x00b", "control"),
     ("a\nb", "control"), ("a\ud800", "control")],
)  # fmt: skip
def test_names_that_databases_cut_or_misread_are_refused(name: str, reason: str) -> None:
    with pytest.raises(TextRefused) as refused:
        quote_identifier(name, dialect="postgres")
    assert refused.value.reason == reason


def test_a_backslash_whose_meaning_is_a_setting_is_refused() -> None:
    for text, dialect in (("a\\' OR 1=1 --", "mysql"), ("\\", "postgres"), ("a\nb", "mysql")):
        with pytest.raises(TextRefused, match="parameter"):
            quote_literal(text, dialect=dialect)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="sqlite"):
        quote_literal("a", dialect="dbase")  # type: ignore[arg-type]


@given(st.text("a%_!", max_size=6), st.text("ab%_!", max_size=6))
def test_a_quoted_like_matches_that_text_alone(pattern: str, text: str) -> None:
    with sqlite3.connect(":memory:") as db:
        query = "SELECT ? LIKE ? ESCAPE '!'"
        assert db.execute(query, (text, quote_like(pattern))).fetchone()[0] == (text == pattern)
    db.close()


@given(st.text())
def test_escaped_text_is_that_text_to_a_parser(text: str) -> None:
    escaped = escape_html(text)
    assert not set("<>\"'") & set(escaped)
    assert html.unescape(escaped) == html.unescape(html.escape(text))


@pytest.mark.parametrize(
    "markup, clean",
    [
        ("<b>bold</b> <script>alert(1)</script>", "<b>bold</b> "),
        ("<img src=x onerror=alert(1)>", ""),
        (
            "<a>x<img src='https://evil.example/?q=secret'></a><bdo dir=rtl>cba</bdo>",
            '<a rel="noopener noreferrer nofollow">x</a>cba',
        ),
        ("<svg><script>1</script></svg>", ""),
        ("<a href='javascript:alert(1)'>x</a>", '<a rel="noopener noreferrer nofollow">x</a>'),
        ("<a href='data:text/html,x'>x</a>", '<a rel="noopener noreferrer nofollow">x</a>'),
        ("<style>*{}</style>a<!-- c -->", "a"),
        (
            "<math><mtext><table><mglyph><style><!--</style><img title='--><img src=1 onerror=1>'>",
            None,
        ),
        ("<iframe src=//evil></iframe><p>ok", "<p>ok</p>"),
        ("a < b & c", "a &lt; b &amp; c"),
    ],
)
def test_markup_keeps_nothing_that_runs(markup: str, clean: str | None) -> None:
    result = sanitize_html(markup)
    assert clean is None or result == clean
    assert "onerror" not in result.replace("&quot;", "").split("title=")[0]
    assert sanitize_html(result) == result


def test_tags_that_stay_are_the_callers() -> None:
    assert sanitize_html("<b>a</b><i>b</i>", tags={"i"}) == "a<i>b</i>"
    with pytest.raises(TextRefused, match="script"):
        sanitize_html("", tags={"script"})
    with pytest.raises(TextRefused, match="limit"):
        sanitize_html("<div>" * 20_001)
    with pytest.raises(TextRefused, match="character 3"):
        sanitize_html("<b>\udc80")


def test_a_skeleton_is_as_long_as_its_text() -> None:
    text = "раурal ① ﬀ 日本 😀 pаss"
    assert len(latin_skeleton(text)) == len(text)
    assert latin_skeleton("раураl") == "paypal"


def test_images_stay_where_they_are_asked_for() -> None:
    assert sanitize_html("<img src=x onerror=alert(1)>", tags={"img"}) == '<img src="x">'


@pytest.mark.parametrize("wrong", [None, 5, b"x"])
def test_what_is_no_text_is_named(wrong: Any) -> None:
    for use in (
        escape_html,
        sanitize_html,
        lambda text: quote_identifier(text, dialect="sqlite"),
        lambda text: quote_literal(text, dialect="sqlite"),
    ):
        with pytest.raises(InputError, match="is a str, not"):
            use(wrong)


@pytest.mark.parametrize("tags", ["b", [1]])
def test_tags_are_names(tags: Any) -> None:
    with pytest.raises(ConfigError, match="tags must be a list of str"):
        sanitize_html("", tags=tags)
