"""HTML to text that keeps the structure: headings, lists, paragraphs and preformatted blocks."""

from __future__ import annotations

import importlib
import re
from typing import Any, Final

from llmspell.errors import IngestError, MissingDependency

__all__ = ["html_to_markdown"]

_UNREAD: Final = "script, style, noscript, template, svg, iframe, object, select, head"
_HEADINGS: Final = {f"h{level}": "#" * level + " " for level in range(1, 7)}
_BLOCKS: Final = {
    *_HEADINGS,
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "caption",
    "dd",
    "details",
    "dialog",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "header",
    "hr",
    "li",
    "main",
    "nav",
    "ol",
    "p",
    "pre",
    "section",
    "summary",
    "table",
    "tbody",
    "tfoot",
    "thead",
    "tr",
    "ul",
}
_TIGHT: Final = {"li", "dt", "dd", "tr", "caption", "summary"}
_TAG: Final = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
# Elements that need no end, so that their beginnings say nothing about depth.
_UNNESTED: Final = frozenset(
    (
        *("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source"),
        *("track", "wbr", "p", "li", "dt", "dd", "option", "optgroup", "tr", "td", "th", "thead"),
        *("tbody", "tfoot", "colgroup", "rt", "rp"),
    )
)
# Parsing takes time by the square of the depth, as the HTML standard has it: 0.2 s at 8,000, half a
# minute and more at 100,000, which is half a megabyte. Browsers stop at 512.
_MAX_DEPTH: Final = 2_000
_SPACE: Final = re.compile(r"[ \t\n\r\f]+")


def html_to_markdown(html: str) -> tuple[str, str]:
    """Read a page as its text, with Markdown marks for headings, list items and code blocks.

    Scripts, styles and other parts that no reader sees are left out.

    Returns:
        The text and the title, which is empty where the page has none.

    Raises:
        IngestError: the page is nested too deep to be a page.
        MissingDependency: the extra ``rag`` isn't installed.
    """
    if _depth(html) > _MAX_DEPTH:
        raise IngestError(f"HTML nested more than {_MAX_DEPTH:,} deep")
    try:
        lexbor = importlib.import_module("selectolax.lexbor")
    except ImportError as error:
        raise MissingDependency("rag", "selectolax") from error
    tree = lexbor.LexborHTMLParser(html)
    title_node = tree.css_first("title")
    title = _SPACE.sub(" ", title_node.text()).strip() if title_node else ""
    for node in tree.css(_UNREAD):
        node.decompose()
    writer = _Writer()
    if tree.body is not None:
        _write(tree.body, writer)
    return writer.finish(), title


def _depth(html: str) -> int:
    depth = deepest = 0
    for end, name in _TAG.findall(html):
        if name.lower() not in _UNNESTED:
            depth = max(depth - 1, 0) if end else depth + 1
            deepest = max(deepest, depth)
    return deepest


class _Writer:
    """Collects blocks; white space within one collapses as a browser would show it."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._line: list[str] = []
        self._prefix = ""
        self._tight = True

    def text(self, text: str) -> None:
        self._line.append(text)

    def block(self, *, prefix: str = "", tight: bool = False) -> None:
        """End the block at hand and begin one."""
        self._end(_SPACE.sub(" ", "".join(self._line)).strip())
        self._prefix = prefix or self._prefix
        self._tight = self._tight and tight

    def preformatted(self, text: str) -> None:
        self.block()
        self._end(f"```\n{text.strip(chr(10))}\n```")

    def finish(self) -> str:
        self.block()
        return "".join(self._parts)

    def _end(self, text: str) -> None:
        self._line.clear()
        if not text:
            return
        if self._parts:
            self._parts.append("\n" if self._tight else "\n\n")
        self._parts.append(self._prefix + text)
        self._prefix = ""
        self._tight = True


def _write(root: Any, writer: _Writer) -> None:
    # By hand and not by recursion: a page may be nested deeper than Python's stack.
    stack: list[tuple[Any, bool]] = [(root, False)]
    while stack:
        node, leaving = stack.pop()
        tag = node.tag
        if tag == "-text":
            writer.text(node.text_content or "")
        elif tag == "br":
            writer.block(tight=True)
        elif tag == "pre":
            writer.preformatted(node.text())
        elif tag in _BLOCKS:
            tight = tag in _TIGHT
            if leaving:
                writer.block(tight=tight)
                continue
            prefix = _HEADINGS.get(tag, "- " if tag == "li" else "")
            writer.block(prefix=prefix, tight=tight)
            stack.append((node, True))
            stack.extend((child, False) for child in reversed(_children(node)))
        else:
            if tag in ("td", "th"):
                writer.text(" | ")
            stack.extend((child, False) for child in reversed(_children(node)))


def _children(node: Any) -> list[Any]:
    return list(node.iter(include_text=True))
