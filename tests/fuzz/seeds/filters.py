"""Filters: those of docs/reference/filters.md, and those that it refuses."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgpack

ROWS = [
    {"lang": "en", "year": 1815, "author": {"name": "Austen"}, "tags": ["novel"]},
    {"lang": "pl", "year": 1961.5, "author": {"name": "Lem"}, "tags": ["space", ["deep"]]},
    {"a": None, "b": True, "t": datetime(2024, 5, 1, tzinfo=UTC), "n": -(2**63), "f": 1e300},
    {"x": {"y": [{"z": 1}, {"z": "é"}]}, "x.y": 2, "": 3},
]
SCHEMA = {"lang": "string", "year": "float", "t": "time", "b": "bool", "n": "int", "f": "unindexed"}


def _given(source: Any, schema: Any = None) -> bytes:
    values = ({} if schema is None else schema, source, ROWS)
    return b"".join(msgpack.packb(value, datetime=True) for value in values)


def _nested(depth: int) -> Any:
    source: Any = {"a": 1}
    for _ in range(depth):
        source = {"$not": source}
    return source


def inputs() -> dict[str, bytes]:
    """Inputs by name."""
    time = datetime(2024, 5, 1, tzinfo=UTC)
    return {
        "empty": _given({}),
        "plain": _given({"lang": "en"}),
        "several-fields": _given({"lang": "en", "year": 1815}),
        "range": _given({"year": {"$gte": 1900, "$lt": 1965}}),
        "range-of-strings": _given({"lang": {"$gt": "e", "$lte": "pl"}}),
        "range-of-times": _given({"t": {"$gt": datetime(1, 1, 1, tzinfo=UTC), "$lte": time}}),
        "range-of-bools": _given({"b": {"$gt": True}}),
        "large-numbers": _given({"n": {"$lt": -1e18, "$gt": -(2.0**64)}, "f": {"$ne": 2**63}}),
        "infinite": _given({"year": {"$lt": float("inf")}}),
        "not-a-number": _given({"year": float("nan")}),
        "nested-field": _given({"author.name": "Lem", "x.y.z": 1}),
        "in": _given({"tags": {"$in": ["space", "deep", None, 1]}}),
        "in-nothing": _given({"tags": {"$in": []}}),
        "not-in": _given({"lang": {"$nin": ["en", True]}}),
        "none": _given({"a": None, "b": {"$ne": None}}),
        "prefix": _given({"lang": {"$prefix": "e"}}),
        "prefix-of-number": _given({"lang": {"$prefix": 1}}),
        "exists": _given({"a": {"$exists": True}, "q": {"$exists": False}}),
        "exists-of-number": _given({"a": {"$exists": 1}}),
        "not-of-operators": _given({"year": {"$not": {"$gt": 1900, "$lt": 2000}}}),
        "and": _given({"$and": [{"lang": "en"}, {"year": {"$lt": 1900}}]}),
        "or": _given({"$or": [{"lang": "pl"}, {"year": {"$lt": 1900}}]}),
        "nor": _given({"$nor": [{"lang": "pl"}, {"b": True}]}),
        "not": _given({"$not": {"lang": "en", "year": 1815}}),
        "and-of-nothing": _given({"$and": []}),
        "unknown-combiner": _given({"$xor": [{}]}),
        "unknown-operator": _given({"a": {"$regex": "x"}}),
        "no-operator": _given({"a": {}}),
        "empty-name": _given({"": 3}),
        "name-of-number": _given({7: 3}),
        "nested-to-limit": _given(_nested(32)),
        "nested-beyond-limit": _given(_nested(33)),
        "list-for-filter": _given([{"a": 1}]),
        "value-is-a-list": _given({"a": [1]}),
        "bytes": _given({"a": b"x"}),
        "schema": _given({"lang": "en", "year": {"$gt": 1}, "t": "2024-05-01T00:00:00Z"}, SCHEMA),
        "schema-against": _given({"lang": 1}, SCHEMA),
        "schema-prefix": _given({"year": {"$prefix": "1"}}, SCHEMA),
        "schema-unindexed": _given({"f": 1}, SCHEMA),
        "schema-bound-between": _given({"n": {"$lt": 1.5}}, SCHEMA),
        "schema-no-time": _given({"t": "yesterday"}, SCHEMA),
        "schema-odd": _given({"a": 1}, {"$a": "string", "b..c": 1}),
    }
