"""Filling a cache before it is asked: with the queries of a file, or of a log."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from llmspell.errors import IngestError, InputError
from llmspell.tenancy.searching import embed_queries

if TYPE_CHECKING:
    from llmspell.tenancy import Tenant

__all__ = ["warm_embeddings"]

_BATCH: Final = 64


def warm_embeddings(
    tenant: Tenant,
    source: str | os.PathLike[str] | Iterable[str],
    *,
    field: str = "query",
    limit: int | None = None,
) -> int:
    """Embed queries that are to come, so that the first who ask them needn't wait.

    Args:
        tenant: whose cache it is; it is charged one API call, and the texts that are embedded.
        source: a file of UTF-8 with a query a line, or of JSON lines (``.jsonl``, such as a log of
            past queries), or the queries themselves. Blank ones, and lines of a log without
            ``field``, are passed over; each is embedded once.
        field: of a JSON line's object, in which the query stands.
        limit: the first so many; None for all.

    Returns:
        How many different queries there were; all of them are in the cache now, if it has room.

    Raises:
        IngestError: the file can't be read, or isn't UTF-8; a line of JSON isn't an object.
        InputError: limit is below 0.
        QuotaExceeded: those before were embedded.
    """
    if limit is not None and (not isinstance(limit, int) or limit < 0):
        raise InputError(f"limit must be an int of 0 or more, got {limit!r}")
    texts = islice(_different(_texts(source, field)), limit)
    count = 0
    with tenant.operation():
        while batch := list(islice(texts, _BATCH)):
            embed_queries(tenant, batch)
            count += len(batch)
    return count


def _different(texts: Iterable[str]) -> Iterator[str]:
    seen: set[str] = set()
    for text in texts:
        if text.strip() and text not in seen:
            seen.add(text)
            yield text


def _texts(source: str | os.PathLike[str] | Iterable[str], field: str) -> Iterator[str]:
    if not isinstance(source, (str, os.PathLike)):
        yield from source
        return
    path = Path(source)
    is_json = path.suffix.lower() in (".jsonl", ".ndjson")
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                if not is_json:
                    yield line.rstrip("\r\n")
                elif line.strip():
                    yield from _query_of(line, field, f"{path}, line {number}")
    except (OSError, UnicodeDecodeError) as error:
        raise IngestError(f"{path}: {error}") from error


def _query_of(line: str, field: str, where: str) -> Iterator[str]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise IngestError(f"{where} isn't JSON: {error}") from error
    if not isinstance(record, dict):
        raise IngestError(f"{where} isn't an object, but {type(record).__name__}")
    text = record.get(field)
    if isinstance(text, str):
        yield text
