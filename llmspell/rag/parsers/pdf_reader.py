"""The text of PDF files. It runs in a worker of the sandbox, and imports nothing of llmspell."""

from __future__ import annotations

from typing import Any

import pypdfium2


def read_pdf(data: bytes, max_pages: int, max_chars: int, max_title: int) -> dict[str, Any]:
    """Give title and text, a page behind the other; raises ValueError beyond a limit."""
    texts: list[str] = []
    left = max_chars
    with pypdfium2.PdfDocument(data) as document:
        pages = len(document)
        if pages > max_pages:
            raise ValueError(f"{pages:,} pages, more than {max_pages:,}")
        title = document.get_metadata_value("Title")
        for number in range(pages):
            text = _page_text(document, number)
            left -= len(text)
            if left < 0:
                raise ValueError(f"more than {max_chars:,} characters")
            texts.append(text)
    return {"title": _valid(title)[:max_title], "text": "\n\n".join(filter(None, texts))}


def _page_text(document: Any, number: int) -> str:
    page = document[number]
    try:
        text_page = page.get_textpage()
        try:
            text = text_page.get_text_bounded()
        finally:
            text_page.close()
    finally:
        page.close()
    # PDFium marks with U+FFFE where a word was divided at the end of a line.
    return _valid(text.replace("\ufffe\r\n", "").replace("\ufffe", "")).strip()


def _valid(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    return text.encode("utf-8", "replace").decode()
