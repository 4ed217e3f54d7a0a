"""CSV and JSON lines to text: a paragraph for each record, a line for each of its fields."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from llmspell.errors import IngestError

__all__ = ["csv_to_text", "json_lines_to_text"]

_DELIMITERS: Final = ",;\t|"
_SAMPLE: Final = 1 << 14
_MAX_DEPTH: Final = 32


def csv_to_text(text: str, *, delimiter: str | None = None) -> str:
    """Read a table whose first row names its columns.

    Each row becomes a paragraph of lines ``column: value``, so that any chunk of it can be
    understood alone; empty fields are left out.

    Args:
        text: of the file.
        delimiter: between fields; found in the first rows where None.

    Raises:
        IngestError: a row can't be read; the message names its line.
    """
    delimiter = delimiter or _delimiter(text)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=False)
    try:
        names = [name.strip() for name in next(rows, [])]
        return _paragraphs(_fields(names, row) for row in rows)
    except csv.Error as error:
        raise IngestError(f"line {rows.line_num} of the table can't be read: {error}") from error


def json_lines_to_text(text: str) -> str:
    """Read a file that has a JSON value on each line.

    An object becomes a paragraph of lines ``key: value``, in which the keys of inner objects are
    joined by dots; any other value is its JSON.

    Raises:
        IngestError: a line isn't JSON, or is nested too deep; the message names it.
    """
    return _paragraphs(_json_fields(text))


def _delimiter(text: str) -> str:
    # Not by the module's sniffer, which takes letters for delimiters where there is one column.
    head = text[:_SAMPLE].partition("\n")[0]
    return max(_DELIMITERS, key=head.count)


def _fields(names: list[str], row: list[str]) -> Iterator[tuple[str, str]]:
    for position, value in enumerate(row):
        if value := value.strip():
            name = names[position] if position < len(names) else ""
            yield name or f"column {position + 1}", value


def _json_fields(text: str) -> Iterator[Iterator[tuple[str, str]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield _flat(json.loads(line), "", 0)
        except (ValueError, RecursionError) as error:
            raise IngestError(f"line {number} isn't JSON: {error}") from error


def _flat(value: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value and depth < _MAX_DEPTH:
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key), depth + 1)
    elif isinstance(value, str):
        if value.strip():
            yield path, value
    elif value is not None:
        yield path, json.dumps(value, ensure_ascii=False)


def _paragraphs(records: Iterable[Iterable[tuple[str, str]]]) -> str:
    parts = []
    for fields in records:
        lines = [f"{name}: {value}" if name else value for name, value in fields]
        if lines:
            parts.append("\n".join(lines))
    return "\n\n".join(parts)
