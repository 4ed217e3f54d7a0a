"""Pages as their readers see them."""

from __future__ import annotations

import pytest

from llmspell import errors
from llmspell.rag.html import html_to_markdown

PAGE = """<!doctype html>
<html><head><title> Leave
  policy </title><style>p { color: red }</style></head>
<body><script>evil()</script>
<h1>Days <em>off</em></h1>
<p>You have <b>thir</b>ty days &amp; more,<br>each   year.</p>
<ul><li>one</li><li><a href="/x">two</a></li></ul>
<pre>
def f():
    return 1
</pre>
<table><tr><th>Year</th><th>Days</th></tr><tr><td>1</td><td>30</td></tr></table>
<noscript>Turn it on</noscript>
</body></html>"""


def test_page_becomes_structured_text_and_title() -> None:
    text, title = html_to_markdown(PAGE)
    assert title == "Leave policy"
    assert text == (
        "# Days off\n\n"
        "You have thirty days & more,\neach year.\n\n"
        "- one\n- two\n\n"
        "```\ndef f():\n    return 1\n```\n\n"
        "| Year | Days\n| 1 | 30"
    )


def test_fragment_without_a_title_is_read() -> None:
    assert html_to_markdown("<p>one<p>two") == ("one\n\ntwo", "")


def test_nothing_gives_nothing() -> None:
    assert html_to_markdown("") == ("", "")


def test_deep_nesting_is_read() -> None:
    depth = 1_900
    assert html_to_markdown("<div>" * depth + "x" + "</div>" * depth) == ("x", "")


def test_long_page_whose_elements_have_no_end_is_read() -> None:
    text, _ = html_to_markdown("<ul>" + "<li>one<p>two<br>" * 3_000)
    assert text.count("- one") == 3_000


def test_nesting_that_would_take_the_parser_minutes_is_refused() -> None:
    with pytest.raises(errors.IngestError, match="2,000 deep"):
        html_to_markdown("<div>" * 200_000)
