"""The text of DOCX files. It runs in a worker of the sandbox, and imports nothing of llmspell."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import docx
from docx.table import Table


def read_docx(data: bytes, max_unpacked: int, max_chars: int, max_title: int) -> dict[str, Any]:
    """Give title and text, with Markdown marks; raises ValueError beyond a limit."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(part.file_size for part in archive.infolist()) > max_unpacked:
            raise ValueError(f"it unpacks to more than {max_unpacked:,} bytes")
    document = docx.Document(io.BytesIO(data))
    blocks: list[tuple[str, bool]] = []
    left = max_chars
    for block in document.iter_inner_content():
        text, is_item = _table(block) if isinstance(block, Table) else _paragraph(block)
        left -= len(text)
        if left < 0:
            raise ValueError(f"more than {max_chars:,} characters")
        if text:
            blocks.append((text, is_item))
    title = (document.core_properties.title or "")[:max_title]
    return {"title": title, "text": _joined(blocks)}


def _paragraph(paragraph: Any) -> tuple[str, bool]:
    text = paragraph.text.strip()
    if not text:
        return "", False
    style = (paragraph.style.name or "") if paragraph.style is not None else ""
    if style == "Title":
        return f"# {text}", False
    if style.startswith("Heading ") and style[8:].isdigit():
        return f"{'#' * min(int(style[8:]), 6)} {text}", False
    return (f"- {text}", True) if style.startswith("List") else (text, False)


def _table(table: Any) -> tuple[str, bool]:
    rows = ([cell.text.strip().replace("\n", " ") for cell in row.cells] for row in table.rows)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows if any(cells)), False


def _joined(blocks: list[tuple[str, bool]]) -> str:
    parts: list[str] = []
    was_item = False
    for text, is_item in blocks:
        if parts:
            parts.append("\n" if was_item and is_item else "\n\n")
        parts.append(text)
        was_item = is_item
    return "".join(parts)
