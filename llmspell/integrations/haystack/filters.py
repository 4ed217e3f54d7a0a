"""Haystack's filters: what Haystack says matches, found by llmspell's index where that can be.

A filter of llmspell's own is made that keeps at least all that match; Haystack's function is then
asked of what is left. So the result is Haystack's to the last corner, such as dates in strings, and
True that equals 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from llmspell.config import FieldType
from llmspell.integrations.haystack.framework import (
    Document,
    FilterError,
    document_matches_filter,
)
from llmspell.integrations.metadata import INEXACT

__all__ = ["asks_for_embedding", "matcher", "narrowed"]

_LOGICAL: Final = ("AND", "OR", "NOT")
_RANGES: Final = {">": "$gt", ">=": "$gte", "<": "$lt", "<=": "$lte"}
_COMPARISONS: Final = ("==", "!=", *_RANGES, "in", "not in")
#: llmspell's filters nest up to 32 deep.
MAX_DEPTH: Final = 20


def matcher(filters: Mapping[str, Any]) -> Callable[[Document], bool]:
    """What tells whether a document matches.

    Raises:
        FilterError: Haystack's; the filter can't be understood. What is returned raises it for a
            document that can't be compared.
    """
    _check(filters)

    def matches(document: Document) -> bool:
        try:
            return bool(document_matches_filter(filters, document))
        except TypeError as error:
            raise FilterError(f"{filters}: not comparable with document {document.id}") from error

    return matches


def narrowed(filters: Mapping[str, Any], schema: Mapping[str, FieldType]) -> dict[str, Any] | None:
    """A filter of llmspell's that keeps all documents that match; None where it would keep any.

    Args:
        filters: checked by :func:`matcher`.
        schema: of the tenant; fields that it declares are left to Haystack.
    """
    kept = _narrowed(filters, schema, 0)
    return None if kept is None else {"$or": [kept, {INEXACT: True}]}


def asks_for_embedding(filters: Mapping[str, Any]) -> bool:
    """Whether a filter looks at embeddings."""
    if "field" in filters:
        return str(filters["field"]).partition(".")[0] == "embedding"
    return any(map(asks_for_embedding, filters["conditions"]))


def _check(condition: object) -> None:
    if not isinstance(condition, Mapping):
        raise FilterError(f"a filter must be a dict, got {condition!r}")
    for key in ("operator", "value") if "field" in condition else ("operator", "conditions"):
        if key not in condition:
            raise FilterError(f"{key!r} is missing in {condition}")
    operator = condition["operator"]
    known = _COMPARISONS if "field" in condition else _LOGICAL
    if operator not in known:
        raise FilterError(f"unknown operator {operator!r}; expected one of {', '.join(known)}")
    if "field" not in condition:
        if not isinstance(condition["conditions"], (list, tuple)):
            raise FilterError(f"'conditions' must be a list in {condition}")
        for one in condition["conditions"]:
            _check(one)
        return
    if not isinstance(condition["field"], str):
        raise FilterError(f"'field' must be a str in {condition}")
    # Each of these is an error whatever the documents are; Haystack finds it at the first of them.
    value = condition["value"]
    if operator in ("in", "not in") and not isinstance(value, list):
        raise FilterError(f"{operator!r} takes a list, got {value!r}")
    if operator in _RANGES and isinstance(value, (list, str)):
        document_matches_filter(
            {"field": "meta.at", "operator": operator, "value": value},
            Document(id="-", meta={"at": datetime(2000, 1, 1)}),
        )


def _narrowed(
    condition: Mapping[str, Any], schema: Mapping[str, FieldType], depth: int
) -> dict[str, Any] | None:
    if "field" in condition:
        return _compared(condition, schema)
    operator = condition["operator"]
    if operator == "NOT" or depth > MAX_DEPTH:
        return None
    parts = [_narrowed(one, schema, depth + 1) for one in condition["conditions"]]
    some = [part for part in parts if part is not None]
    if operator == "AND":
        return {"$and": some} if some else None
    return {"$or": some} if some and len(some) == len(parts) else None


def _compared(
    condition: Mapping[str, Any], schema: Mapping[str, FieldType]
) -> dict[str, Any] | None:
    path = _path(condition["field"], schema)
    if path is None:
        return None
    operator, value = condition["operator"], condition["value"]
    if operator in ("==", "in"):
        values = [
            equal for one in ([value] if operator == "==" else value) for equal in _equal(one)
        ]
        return None if _UNKNOWN in values else {path: {"$in": values}}
    if operator in _RANGES:
        if value is None:
            return {path: {"$in": []}}
        if _is_number(value):
            # To Python, True is a number too.
            bools = {path: {"$in": [True, False]}}
            return {"$or": [{path: {_RANGES[operator]: value}}, bools]}
    return None


def _path(field: str, schema: Mapping[str, FieldType]) -> str | None:
    """The field of records that holds a field of documents; None where it isn't metadata."""
    if field in Document.__dataclass_fields__:
        return None
    root, dot, rest = field.partition(".")
    if dot and root != "meta":
        return None
    path = rest if dot else field  # Haystack takes a name alone for one of the metadata
    if not all(path.split(".")) or path.startswith(("$", "_")):
        return None
    declared = any(path == one or path.startswith(f"{one}.") for one in schema)
    return None if declared or any("\ud800" <= char <= "\udfff" for char in path) else path


_UNKNOWN: Final = object()


def _equal(value: object) -> list[Any]:
    """All that Haystack takes for equal to a value, or what says that it can't be told."""
    if isinstance(value, str) and not _is_date(value):
        return [value] if not any("\ud800" <= char <= "\udfff" for char in value) else [_UNKNOWN]
    if isinstance(value, bool):
        return [value, int(value)]
    if _is_number(value):
        return [value, bool(value)] if value in (0, 1) else [value]
    return [_UNKNOWN]


def _is_number(value: Any) -> bool:
    if type(value) is int:
        return -(1 << 63) <= value < 1 << 63
    return type(value) is float and math.isfinite(value)


def _is_date(text: str) -> bool:
    """Whether Haystack may read a time of it, which equals the same time written otherwise."""
    return len(text) >= 10 and text[:4].isdigit() and text[4] == "-"
