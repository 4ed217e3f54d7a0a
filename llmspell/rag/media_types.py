"""What some bytes are: by their first ones, by a server's word, by a file's extension."""

from __future__ import annotations

import csv
import json
import re
from pathlib import PurePosixPath
from typing import Final

from llmspell.rag.decoding import is_binary

__all__ = [
    "CSV",
    "DOCX",
    "HTML",
    "JSON_LINES",
    "MARKDOWN",
    "PDF",
    "PLAIN",
    "PYTHON",
    "SHEBANG_TYPES",
    "TSV",
    "bare_type",
    "charset_of",
    "container_type",
    "is_page",
    "media_type_of",
    "sniff",
]

PLAIN: Final = "text/plain"
MARKDOWN: Final = "text/markdown"
HTML: Final = "text/html"
CSV: Final = "text/csv"
TSV: Final = "text/tab-separated-values"
JSON_LINES: Final = "application/jsonl"
PYTHON: Final = "text/x-python"
PDF: Final = "application/pdf"
DOCX: Final = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

_EXTENSIONS: Final = {
    **dict.fromkeys((".txt", ".text", ".rst", ".log"), PLAIN),
    **dict.fromkeys((".md", ".markdown"), MARKDOWN),
    **dict.fromkeys((".html", ".htm", ".xhtml"), HTML),
    **dict.fromkeys((".py", ".pyi", ".pyw"), PYTHON),
    ".csv": CSV,
    **dict.fromkeys((".tsv", ".tab"), TSV),
    **dict.fromkeys((".jsonl", ".ndjson"), JSON_LINES),
    **dict.fromkeys((".sh", ".bash"), "text/x-shellscript"),
    **dict.fromkeys((".c", ".h"), "text/x-c"),
    **dict.fromkeys((".cc", ".cpp", ".cxx", ".hh", ".hpp"), "text/x-c++"),
    ".go": "text/x-go",
    ".java": "text/x-java",
    **dict.fromkeys((".js", ".mjs", ".cjs", ".jsx"), "text/javascript"),
    ".rb": "text/x-ruby",
    ".rs": "text/x-rust",
    **dict.fromkeys((".ts", ".mts", ".cts"), "text/x-typescript"),
    ".tsx": "text/x-tsx",
}
_KNOWN: Final = frozenset(_EXTENSIONS.values())
# What else servers and systems say for the same.
_ALIASES: Final = {
    "application/javascript": "text/javascript",
    "application/json-lines": JSON_LINES,
    "application/jsonlines": JSON_LINES,
    "application/x-jsonlines": JSON_LINES,
    "application/x-ndjson": JSON_LINES,
    "application/x-python": PYTHON,
    "application/x-sh": "text/x-shellscript",
    "application/xhtml+xml": HTML,
    "text/x-markdown": MARKDOWN,
}
_HTML_START: Final = re.compile(
    r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.{0,2000}?-->\s*)?<(?:!doctype\s+html|html)\b",
    re.IGNORECASE | re.DOTALL,
)
_MARKDOWN_START: Final = re.compile(r"\s*# [^\n]+\n[ \t]*\n")
_MARKDOWN_HEADING: Final = re.compile(r"^#{1,6} [^\n]+\n[ \t]*$", re.MULTILINE)
_COLUMN: Final = re.compile(r"[^\W\d][^.!?\n]{0,63}")
_LEAST_ROWS: Final = 3
_ROWS_LOOKED_AT: Final = 20
_SHEBANGS: Final = (
    (re.compile(r"#!.*\bpython"), PYTHON),
    (re.compile(r"#!.*\b(?:ba|da|z)?sh\b"), "text/x-shellscript"),
    (re.compile(r"#!.*\bnode\b"), "text/javascript"),
    (re.compile(r"#!.*\bruby\b"), "text/x-ruby"),
)
#: Sources that are known by their first line.
SHEBANG_TYPES: Final = tuple(kind for _, kind in _SHEBANGS)
#: Readers of PDF take what comes before its mark for no part of it, and what comes behind its end
#: (PDF 1.7, appendix H).
_PDF_AROUND: Final = 1_024
_PDF_START: Final = re.compile(rb"[\xef\xbb\xbf\s]*%PDF-")
_PDF_END: Final = re.compile(rb"startxref\s+\d+\s+%%EOF")
#: Characters of a line that is looked at.
_LOOKED_AT: Final = 1 << 16


def container_type(data: bytes) -> str | None:
    """PDF or DOCX, where bytes are such a file, whatever its name is; None for all others."""
    if b"%PDF-" in data[:_PDF_AROUND] and _is_pdf(data):
        return PDF
    if data.startswith(b"PK\3\4") and b"word/document" in data:
        return DOCX
    return None


def _is_pdf(data: bytes) -> bool:
    """Whether bytes with the mark of PDF are no text that tells of it."""
    if _PDF_START.match(data) or is_binary(data):
        return True
    return _PDF_END.search(data[-_PDF_AROUND:]) is not None


def bare_type(declared: str) -> str:
    """A type as it is written here, without parameters such as a charset."""
    said = declared.partition(";")[0].strip().lower()
    return _ALIASES.get(said, said)


def media_type_of(name: str, declared: str | None = None) -> str | None:
    """The type that a declaration, else a name's extension says, if we know how to read it.

    Args:
        name: of a file or its path.
        declared: as in a ``Content-Type``, parameters and all; "application/octet-stream" and
            "text/plain", which servers say of anything, count less than an extension.
    """
    said = None
    if declared is not None:
        said = bare_type(declared)
        if said in _KNOWN and said != PLAIN:
            return said
    by_name = _EXTENSIONS.get(PurePosixPath(name).suffix.lower())
    return by_name or (PLAIN if said == PLAIN else None)


def charset_of(declared: str | None) -> str | None:
    """The charset that a ``Content-Type`` names, if it does."""
    for parameter in (declared or "").split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip("\"'") or None
    return None


def sniff(text: str) -> str:
    """The type of a text that nothing else tells."""
    if is_page(text):
        return HTML
    for pattern, media_type in _SHEBANGS:
        if pattern.match(text):
            return media_type
    if _is_json_lines(text):
        return JSON_LINES
    if _MARKDOWN_START.match(text) and _MARKDOWN_HEADING.search(text, 1, _LOOKED_AT):
        return MARKDOWN
    return _table_of(text) or PLAIN


def is_page(text: str) -> bool:
    """Whether it begins as a page does, which no other text has a reason to."""
    return _HTML_START.match(text) is not None


def _table_of(text: str) -> str | None:
    """CSV or TSV, where the first lines have as many fields each, the first of them names.

    No field begins with a space, as words behind a comma of prose do.
    """
    lines = text[:_LOOKED_AT].split("\n", _ROWS_LOOKED_AT + 1)[:_ROWS_LOOKED_AT]
    for delimiter, media_type in (("\t", TSV), (",", CSV), (";", CSV)):
        try:
            rows = [row for row in csv.reader(lines, delimiter=delimiter) if row]
        except csv.Error:
            continue
        if len(rows) < _LEAST_ROWS or len(rows[0]) < 2 or len(set(map(len, rows))) > 1:
            continue
        are_names = all(_COLUMN.fullmatch(name) for name in rows[0])
        if not are_names or len(set(rows[0])) < len(rows[0]):
            continue
        if not any(value.startswith(" ") for row in rows for value in row):
            return media_type
    return None


def _is_json_lines(text: str) -> bool:
    """Whether the first two lines are each a JSON object; a pretty-printed one is no such file."""
    lines = [line for line in text[:_LOOKED_AT].split("\n", 3)[:2] if line]
    if len(lines) < 2:
        return False
    try:
        return all(isinstance(json.loads(line), dict) for line in lines)
    except (ValueError, RecursionError):
        return False
