"""Pages as their readers see them."""

from __future__ import annotations

import pytest

from llmspell.rag.parsers.html_reader import read_html

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


def read(page: str) -> tuple[str, str]:
    found = read_html(page.encode(), 1_000_000, 1_000)
    return found["text"], found["title"]


def test_page_becomes_structured_text_and_title() -> None:
    text, title = read(PAGE)
    assert title == "Leave policy"
    assert text == (
        "# Days off\n\n"
        "You have thirty days & more,\neach year.\n\n"
        "- one\n- two\n\n"
        "```\ndef f():\n    return 1\n```\n\n"
        "| Year | Days\n| 1 | 30"
    )


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("", ""),
        ("<p>one<p>two", "one\n\ntwo"),
        ("a < b <3 </> <!> <? x> c", "a < b <3 c"),
        ("a<!-- > b -->c<!-->d<!--->e<!--x--!>f", "acdef"),
        ("<a title='>' href=\"x>y\" b=c'>link</a>", "link"),
        (
            "<p>caf&eacute; &#233; &#xe9; &#0000000000233; &#99999999999; &nope;",
            "café é é é \ufffd &nope;",
        ),
        ("<P>a</P><SCRIPT>if (1 < 2) '</p>'</Script >b", "a\n\nb"),
        ("<textarea>a <b> &amp;</textarea> <xmp><i></xmp>", "a <b> &\n\n```\n<i>\n```"),
        ("<h2></h2><p>no heading", "no heading"),
        ("<ul><li></ul><p>no item", "no item"),
        ("<li><p>item", "- item"),
        ("<svg><title>no</title><text>no</text></svg>a<svg/>b", "ab"),
        ("<p>a<svg><path d=1><g>no<p>b<svg/>c", "a\n\nbc"),
        ("<svg><foreignObject><div>a</div></foreignObject></svg>b", "a\n\nb"),
        ("<noscript><noscript>no</noscript>yes", "yes"),
        ("<pre><div>a</div><div>b\n</div>c<p>d</pre>", "```\na\nb\nc\nd\n```"),
        ("<template><template>no</template>no</template>yes", "yes"),
        ("<select><option>no<select>yes", "yes"),
        ("<pre>a<br>b\n  <b>c</b>\n```\n</pre>d", "````\na\nb\n  c\n```\n````\n\nd"),
        ("<plaintext>a <b>", "```\na <b>\n```"),
        ("a <b", "a"),
        ("a <!-- b", "a"),
        ("a <script> b", "a"),
    ],
)
def test_tags_are_told_from_text_as_the_standard_does(page: str, text: str) -> None:
    assert read(page) == (text, "")


def test_text_after_deep_nesting_is_read() -> None:
    assert read("<div>" * 100_000 + "x" + "</div>" * 100_000 + "y") == ("x\n\ny", "")


def test_long_page_whose_elements_have_no_end_is_read() -> None:
    assert read("<ul>" + "<li>one<p>two<br>" * 3_000)[0].count("- one") == 3_000


def test_page_with_too_much_text_is_refused() -> None:
    assert read_html(b"<p>four<p>five", 8, 9)["text"] == "four\n\nfive"
    with pytest.raises(ValueError, match="more than 8 characters"):
        read_html(b"<p>four<p>fives", 8, 9)
