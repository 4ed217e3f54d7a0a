"""The text of DOCX files. It runs in a worker of the sandbox, and imports nothing of llmspell."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import Any, Final

import docx
from docx.oxml.ns import qn
from docx.text.paragraph import Paragraph

# What stands around blocks, rows, cells and runs without being any: controls of forms, changes that
# were tracked, marks of other programs.
_AROUND: Final = {
    *map(qn, ("w:customXml", "w:ins", "w:moveTo", "w:sdt", "w:sdtContent", "w:smartTag")),
}
# What is no text of the document as it stands: properties, what was deleted, and what is there once
# more for older programs.
_NOT_READ: Final = {
    *map(qn, ("w:del", "w:moveFrom", "w:pPr", "w:rPr", "w:sdtPr")),
    "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback",
}
_CHARACTERS: Final = {
    **dict.fromkeys(map(qn, ("w:tab", "w:ptab")), "\t"),
    **dict.fromkeys(map(qn, ("w:br", "w:cr")), "\n"),
    qn("w:noBreakHyphen"): "-",
}
_P, _T, _TABLE, _ROW, _CELL = map(qn, ("w:p", "w:t", "w:tbl", "w:tr", "w:tc"))


def read_docx(data: bytes, max_unpacked: int, max_chars: int, max_title: int) -> dict[str, Any]:
    """Give title and text, with Markdown marks; raises ValueError beyond a limit."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(part.file_size for part in archive.infolist()) > max_unpacked:
            raise ValueError(f"it unpacks to more than {max_unpacked:,} bytes")
    document = docx.Document(io.BytesIO(data))
    blocks: list[tuple[str, bool]] = []
    left = max_chars
    for block in _within(document.element.body, (_P, _TABLE)):
        if block.tag == _TABLE:
            text, is_item = _table(block), False
        else:
            text, is_item = _paragraph(Paragraph(block, document))
        left -= len(text)
        if left < 0:
            raise ValueError(f"more than {max_chars:,} characters")
        if text:
            blocks.append((text, is_item))
    title = (document.core_properties.title or "")[:max_title]
    return {"title": title, "text": _joined(blocks)}


def _within(element: Any, wanted: tuple[str, ...]) -> Iterator[Any]:
    """The elements of some tags that stand in one, or in what is around them there."""
    for child in element:
        if child.tag in wanted:
            yield child
        elif child.tag in _AROUND:
            yield from _within(child, wanted)


def _text(element: Any) -> Iterator[str]:
    """All that is read in an element, in its order; each paragraph in it on a line of its own."""
    for child in element:
        if child.tag == _T:
            yield child.text or ""
        elif child.tag in _CHARACTERS:
            yield _CHARACTERS[child.tag]
        elif child.tag not in _NOT_READ:
            if child.tag == _P:
                yield "\n"
            yield from _text(child)


def _paragraph(paragraph: Any) -> tuple[str, bool]:
    text = "".join(_text(paragraph._p)).strip()
    if not text:
        return "", False
    style = (paragraph.style.name or "") if paragraph.style is not None else ""
    if style == "Title":
        return f"# {text}", False
    if style.startswith("Heading ") and style[8:].isdigit():
        return f"{'#' * min(int(style[8:]), 6)} {text}", False
    return (f"- {text}", True) if style.startswith("List") else (text, False)


def _table(table: Any) -> str:
    rows = [
        [" ".join("".join(_text(cell)).split()) for cell in _within(row, (_CELL,))]
        for row in _within(table, (_ROW,))
    ]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows if any(cells))


def _joined(blocks: list[tuple[str, bool]]) -> str:
    parts: list[str] = []
    was_item = False
    for text, is_item in blocks:
        if parts:
            parts.append("\n" if was_item and is_item else "\n\n")
        parts.append(text)
        was_item = is_item
    return "".join(parts)
