"""Filters: three msgpack values are a schema, a filter, and the metadata of records.

A filter that is taken keeps the records that the row-by-row model of tests/storage keeps.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

import msgpack

from llmspell.config import Schema
from llmspell.errors import ConfigError, FilterError, MetadataError
from llmspell.storage.filters import parse
from llmspell.storage.payload import PayloadIndex
from llmspell.tenancy.inputs import plain_metadata
from tests.storage.test_filter_model import keeps

COMBINERS = ("$and", "$or", "$nor")


def run(data: bytes) -> None:
    """Parse the filter; where it is taken, ask an index and the model for the records."""
    unpacker = msgpack.Unpacker(io.BytesIO(data), timestamp=3, strict_map_key=False)
    values: list[Any] = []
    with contextlib.suppress(StopIteration, ValueError, TypeError, OverflowError):
        for _ in range(3):
            values.append(next(unpacker))
    if len(values) < 2:
        return
    try:
        schema = Schema(values[0])
    except ConfigError:
        schema = Schema()
    try:
        tree = parse(values[1], schema)
    except FilterError:
        return
    assert parse(values[1], schema) == tree
    rows = _rows(values[2] if len(values) > 2 else None, schema)
    index = PayloadIndex(schema)
    index.add_many(rows, rows.values())
    kept = index.matching(tree).tolist()
    assert index.count(tree) == len(kept) and set(kept) <= rows.keys()
    if not schema:
        source = _with_operators(values[1])
        assert kept == [row for row, metadata in rows.items() if keeps(source, metadata)]


def _rows(given: Any, schema: Schema) -> dict[int, Any]:
    rows = {}
    for row, metadata in enumerate(given if isinstance(given, list) else [], 1):
        if isinstance(metadata, dict):
            try:
                rows[row] = plain_metadata(metadata, schema)
            except MetadataError:
                continue
    return rows


def _with_operators(source: Any) -> Any:
    """A filter that was taken, as the model reads it: with ``$eq`` written out, times in UTC."""
    written: dict[str, Any] = {}
    for name, operand in source.items():
        if name in COMBINERS:
            written[name] = [_with_operators(part) for part in operand]
        elif name == "$not":
            written[name] = _with_operators(operand)
        else:
            written[name] = _operators(operand)
    return written


def _operators(operand: Any) -> Any:
    if not isinstance(operand, dict):
        return {"$eq": operand}
    return {name: _operators(one) if name == "$not" else one for name, one in operand.items()}
