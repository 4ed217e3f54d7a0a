"""CSV and JSON lines to text: a paragraph for each record, a line for each of its fields."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from llmspell.errors import IngestError

__all__ = ["csv_to_text", "json_lines_to_text"]

_DELIMITERS: Final = ",;\t|"
_SAMPLE: Final = 1 << 14
_MAX_DEPTH: Final = 32
# A name is said again with each value: what is read may be so many times the file, or so long.
_MAX_GROWTH: Final = 4
_MAX_CHARS: Final = 8 << 20
# JSON can name them, and no encoding of Unicode holds them.
_SURROGATES: Final = re.compile("[\ud800-\udfff]")


def csv_to_text(text: str, *, delimiter: str | None = None) -> str:
    """Read a table whose first row names its columns.

    Each row becomes a paragraph of lines ``column: value``, so that any chunk of it can be
    understood alone; empty fields are left out.

    Args:
        text: of the file.
        delimiter: between fields; found in the first rows where None.

    Raises:
        IngestError: a row can't be read; the message names its line. Or with the names of its
            columns the text is more than four times the file, and than 8,388,608 characters.
    """
    delimiter = delimiter or _delimiter(text)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=False)
    found = _Paragraphs(len(text))
    try:
        names = [name.strip() for name in next(rows, [])]
        for row in rows:
            found.add(_fields(names, row))
    except csv.Error as error:
        raise IngestError(f"line {rows.line_num} of the table can't be read: {error}") from error
    return found.text()


def json_lines_to_text(text: str) -> str:
    """Read a file that has a JSON value on each line.

    An object becomes a paragraph of lines ``key: value``, in which the keys of inner objects are
    joined by dots; any other value is its JSON. Half a surrogate pair, which JSON can name and no
    text holds, becomes U+FFFD.

    Raises:
        IngestError: a line isn't JSON, or is nested too deep; the message names it. Or with the
            keys the text is more than four times the file, and than 8,388,608 characters.
    """
    found = _Paragraphs(len(text))
    for number, line in enumerate(_lines(text), 1):
        if not line.strip():
            continue
        try:
            found.add(_flat(json.loads(line), "", 0))
        except IngestError:
            raise
        except (ValueError, RecursionError) as error:
            raise IngestError(f"line {number} isn't JSON: {error}") from error
    return _SURROGATES.sub("\ufffd", found.text())


def _lines(text: str) -> Iterator[str]:
    """Lines one by one, for a list of short ones takes twenty times the text."""
    start = 0
    while (end := text.find("\n", start)) >= 0:
        yield text[start:end]
        start = end + 1
    yield text[start:]


def _delimiter(text: str) -> str:
    # Not by the module's sniffer, which takes letters for delimiters where there is one column.
    head = text[:_SAMPLE].partition("\n")[0]
    return max(_DELIMITERS, key=head.count)


def _fields(names: list[str], row: list[str]) -> Iterator[tuple[str, str]]:
    for position, value in enumerate(row):
        if value := value.strip():
            name = names[position] if position < len(names) else ""
            yield name or f"column {position + 1}", value


def _flat(value: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value and depth < _MAX_DEPTH:
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key), depth + 1)
    elif isinstance(value, str):
        if value.strip():
            yield path, value
    elif value is not None:
        yield path, json.dumps(value, ensure_ascii=False)


class _Paragraphs:
    """Collects one for each record, up to a length that is bounded by that of the file."""

    def __init__(self, size: int) -> None:
        self._most = self._left = max(_MAX_GROWTH * size, _MAX_CHARS)
        # In UTF-8: small strings in a list would take ten times as much.
        self._written = bytearray()

    def add(self, fields: Iterable[tuple[str, str]]) -> None:
        border = "\n\n" if self._written else ""
        for name, value in fields:
            line = f"{name}: {value}" if name else value
            self._left -= len(line)
            if self._left < 0:
                raise IngestError(
                    f"with the names of their fields its records have more than {self._most:,} "
                    "characters"
                )
            self._written += f"{border}{line}".encode(errors="surrogatepass")
            border = "\n"

    def text(self) -> str:
        return self._written.decode(errors="surrogatepass")
