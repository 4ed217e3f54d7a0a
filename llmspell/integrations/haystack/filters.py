"""Haystack's filters: what Haystack says matches, found by llmspell's index where that can be.

A filter of llmspell's own is made that keeps at least all that match; Haystack's function is then
asked of what is left. So the result is Haystack's to the last corner, such as dates in strings, and
True that equals 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from llmspell.config import FieldType
from llmspell.integrations.haystack.framework import (
    Document,
    FilterError,
    document_matches_filter,
)
from llmspell.integrations.narrowing import (
    MAX_DEPTH,
    Condition,
    Order,
    among,
    both,
    compared,
    either,
    filterable,
    or_inexact,
)

__all__ = ["asks_for_embedding", "matcher", "narrowed"]

_LOGICAL: Final = ("AND", "OR", "NOT")
_RANGES: Final[dict[str, Order]] = {">": "$gt", ">=": "$gte", "<": "$lt", "<=": "$lte"}
_COMPARISONS: Final = ("==", "!=", *_RANGES, "in", "not in")


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


def narrowed(filters: Mapping[str, Any], schema: Mapping[str, FieldType]) -> Condition:
    """A filter of llmspell's that keeps all documents that match; None where it would keep any.

    Args:
        filters: checked by :func:`matcher`.
        schema: of the tenant; fields that it declares are left to Haystack.
    """
    return or_inexact(_narrowed(filters, schema, 0))


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
) -> Condition:
    if "field" in condition:
        return _compared(condition, schema)
    operator = condition["operator"]
    if operator == "NOT" or depth > MAX_DEPTH:
        return None
    parts = [_narrowed(one, schema, depth + 1) for one in condition["conditions"]]
    return both(parts) if operator == "AND" else either(parts)


def _compared(condition: Mapping[str, Any], schema: Mapping[str, FieldType]) -> Condition:
    path = _path(condition["field"])
    if path is None or not filterable(path, schema):
        return None
    operator, value = condition["operator"], condition["value"]
    if operator in ("==", "in"):
        values = [value] if operator == "==" else value
        # A time equals the same time written otherwise.
        return None if any(map(_is_date, values)) else among(path, values)
    if operator in _RANGES:
        return {path: {"$in": []}} if value is None else compared(path, _RANGES[operator], value)
    return None


def _path(field: str) -> str | None:
    """The field of records that holds a field of documents; None where it isn't metadata."""
    if field in Document.__dataclass_fields__:
        return None
    root, dot, rest = field.partition(".")
    if not dot:
        return field  # Haystack takes a name alone for one of the metadata
    return rest if root == "meta" else None


def _is_date(value: object) -> bool:
    """Whether Haystack may read a time of it."""
    return isinstance(value, str) and len(value) >= 10 and value[:4].isdigit() and value[4] == "-"
