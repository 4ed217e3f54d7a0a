"""The text of HTML, with Markdown marks for its structure.

It runs in a worker of the sandbox, and imports nothing of llmspell. It goes over a page once, tag
by tag as the HTML standard tells these apart, and builds no tree: a tree takes 24 times the page in
memory, and time by the square of its depth, which no count of tags beforehand bounds. What a search
needs of the tree, where blocks begin and end, the tags say alone.
"""

from __future__ import annotations

import html
import re
from typing import Final

_HEADINGS: Final = {b"h%d" % level: "#" * level + " " for level in range(1, 7)}
_LISTS: Final = {b"dl", b"menu", b"ol", b"ul"}
_TIGHT: Final = {b"caption", b"dd", b"dt", b"li", b"summary", b"tr"}
_PREFORMATTED: Final = {b"listing", b"pre"}
_BLOCKS: Final = frozenset(
    (
        *(*_HEADINGS, *_LISTS, *_TIGHT, *_PREFORMATTED),
        *(b"address", b"article", b"aside", b"blockquote", b"body", b"center", b"details"),
        *(b"dialog", b"div", b"fieldset", b"figcaption", b"figure", b"footer", b"form", b"header"),
        *(b"hgroup", b"hr", b"legend", b"main", b"nav", b"p", b"search", b"section", b"table"),
        *(b"tbody", b"tfoot", b"thead"),
    )
)
# Behind whose end a mark that had no text is void.
_MARKED: Final = {*_HEADINGS, *_LISTS, b"li"}
# Elements that no reader sees.
_UNREAD: Final = {b"object", b"select", b"svg", b"template"}
# What can't be in a drawing: it ends one that has no end, and in a piece of a page within one it is
# seen (HTML standard, "the rules for parsing tokens in foreign content").
_NOT_DRAWN: Final = frozenset(
    (
        *_HEADINGS,
        *(b"b", b"big", b"blockquote", b"body", b"br", b"center", b"code", b"dd", b"div", b"dl"),
        *(b"dt", b"em", b"embed", b"head", b"hr", b"i", b"img", b"li", b"listing", b"menu"),
        *(b"meta", b"nobr", b"ol", b"p", b"pre", b"ruby", b"s", b"small", b"span", b"strike"),
        *(b"strong", b"sub", b"sup", b"table", b"tt", b"u", b"ul", b"var"),
    )
)
# Elements that hold no tags: those which no reader sees, and those whose text is read.
_RAW_UNREAD: Final = {b"iframe", b"noembed", b"noframes", b"noscript", b"script", b"style"}
_RAW_READ: Final = {b"textarea", b"title", b"xmp"}
_RAW_ENDS: Final = {
    name: re.compile(rb"</%s(?=[ \t\n\f\r/>])" % name, re.IGNORECASE)
    for name in (*_RAW_UNREAD, *_RAW_READ)
}

# Each searches on from where it stands, gives nothing back, and where it fails the page is at its
# end: so all of them together look at each byte a few times, whatever the page.
_TAG: Final = re.compile(
    rb"""<(/?)([a-zA-Z][^\s/>]*+)(?:[^>=]++|=[ \t\n\f\r]*+(?:"[^"]*+"|'[^']*+')?+)*+>"""
)
_COMMENT_END: Final = re.compile(rb"--!?>")
_SPACE: Final = re.compile(r"[ \t\n\r\f]+")
_TICKS: Final = re.compile(r"`{3,}")
# More digits than any character has; Python refuses to read thousands.
_LONG_REFERENCE: Final = re.compile(r"&#([0-9]{9,}+)")


def read_html(data: bytes, max_chars: int, max_title: int) -> dict[str, str]:
    """Give title and text; takes time by the page's length alone.

    Args:
        data: a page in UTF-8.
        max_chars: of the text; ValueError beyond.
        max_title: characters after which a title is cut.
    """
    page = _Page(max_chars)
    at = 0
    while at < len(data):
        start = data.find(b"<", at)
        if start < 0:
            start = len(data)
        if start > at:
            page.text(data[at:start])
        at = _after_mark(page, data, start) if start < len(data) else start
    return {"title": page.title[:max_title], "text": page.finish()}


def _after_mark(page: _Page, data: bytes, start: int) -> int:
    """Take what begins with ``<`` at ``start``, and give the place behind it."""
    next_one = data[start + 1 : start + 2]
    if data.startswith(b"<!--", start):
        found = _COMMENT_END.search(data, start + 2)  # "<!-->" is a whole comment
        return found.end() if found else len(data)
    if next_one in (b"!", b"?") or (next_one == b"/" and not data[start + 2 : start + 3].isalpha()):
        return data.find(b">", start) + 1 or len(data)
    if next_one != b"/" and not next_one.isalpha():
        page.text(b"<")
        return start + 1
    tag = _TAG.match(data, start)
    if tag is None:
        return len(data)
    name = tag[2].lower()
    if tag[1]:
        page.end(name)
        return tag.end()
    if name == b"plaintext":
        page.raw(b"xmp", data[tag.end() :])
        return len(data)
    if name not in _RAW_ENDS:
        page.begin(name, is_empty=data[tag.end() - 2] == ord("/"))
        return tag.end()
    found = _RAW_ENDS[name].search(data, tag.end())
    end = found.start() if found else len(data)
    if name in _RAW_READ:
        page.raw(name, data[tag.end() : end])
    return end


class _Page:
    """Collects blocks; white space within one collapses as a browser would show it."""

    def __init__(self, max_chars: int) -> None:
        self.title = ""
        self._max_chars = self._left = max_chars
        # In UTF-8: small strings in a list would take ten times as much.
        self._written = bytearray()
        self._line: list[str] = []
        self._prefix = ""
        self._is_tight = True
        self._is_preformatted = False
        self._unread = b""  # the element of which nothing is read,
        self._depth = 0  # and how often it stands within itself

    def text(self, raw: bytes) -> None:
        if not self._unread:
            self._line.append(_characters(raw))

    def raw(self, name: bytes, raw: bytes) -> None:
        """The content of an element that holds no tags."""
        if self._unread:
            return
        if name == b"title":
            self.title = self.title or _SPACE.sub(" ", _characters(raw)).strip()
        elif name == b"xmp":
            self._end_preformatted(raw.decode())
        else:
            self.text(raw)

    def begin(self, name: bytes, *, is_empty: bool) -> None:
        if self._unread == b"svg" and name in _NOT_DRAWN:
            self._unread = b""
        if self._unread:
            # A list of choices within another ends that one, and so does what can't be in it.
            if self._unread == b"select":
                if name in (b"select", b"input", b"textarea"):
                    self._unread = b""
            elif name == self._unread and not (is_empty and name == b"svg"):
                self._depth += 1
        elif name in _UNREAD:
            if not (is_empty and name == b"svg"):
                self._unread, self._depth = name, 1
        elif name == b"br":
            if self._is_preformatted:
                self._line.append("\n")
            else:
                self._block(is_tight=True)
        elif name in (b"td", b"th"):
            self._line.append(" | ")
        elif name in _BLOCKS and (not self._is_preformatted or name in _PREFORMATTED):
            prefix = _HEADINGS.get(name, "- " if name == b"li" else "")
            self._block(prefix=prefix, is_tight=name in _TIGHT)
            self._is_preformatted = name in _PREFORMATTED
        elif name in _BLOCKS:
            self._break_line()

    def end(self, name: bytes) -> None:
        if self._unread:
            self._depth -= name == self._unread
            if not self._depth:
                self._unread = b""
        elif name in _PREFORMATTED:
            self._block()
        elif name in _BLOCKS and self._is_preformatted:
            self._break_line()
        elif name in _BLOCKS:
            self._block(is_tight=name in _TIGHT)
            if name in _MARKED:
                self._prefix = ""

    def finish(self) -> str:
        self._block()
        return self._written.decode()

    def _break_line(self) -> None:
        """Begin a line of preformatted text, if one isn't begun."""
        if self._line and not self._line[-1].endswith("\n"):
            self._line.append("\n")

    def _block(self, *, prefix: str = "", is_tight: bool = False) -> None:
        """End the block at hand and begin one."""
        text = "".join(self._line)
        self._line.clear()
        if self._is_preformatted:
            self._is_preformatted = False
            self._end_preformatted(text)
        else:
            self._end(_SPACE.sub(" ", text).strip())
        self._prefix = prefix or self._prefix
        self._is_tight = self._is_tight and is_tight

    def _end_preformatted(self, text: str) -> None:
        if self._line:
            self._block()
        text = text.strip("\n")
        if text.strip():
            longest = max((len(run) for run in _TICKS.findall(text)), default=2)
            self._end("{0}\n{1}\n{0}".format("`" * (longest + 1), text))
            self._is_tight = False

    def _end(self, text: str) -> None:
        if not text:
            return
        self._left -= len(text)
        if self._left < 0:
            raise ValueError(f"more than {self._max_chars:,} characters")
        if self._written:
            self._written += b"\n" if self._is_tight else b"\n\n"
        self._written += f"{self._prefix}{text}".encode()
        self._prefix = ""
        self._is_tight = True


def _characters(raw: bytes) -> str:
    """Text with its references to characters resolved."""
    text = raw.decode()
    if "&" not in text:
        return text
    return html.unescape(_LONG_REFERENCE.sub(_short, text))


def _short(found: re.Match[str]) -> str:
    return "&#" + (found[1].lstrip("0")[:8] or "0")
