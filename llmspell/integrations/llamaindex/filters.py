"""LlamaIndex's filters: what LlamaIndex's own function says, narrowed by llmspell's index.

Its function takes one level; here filters of filters are taken too. Values that can't be compared
don't match, where its function raises TypeError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from llmspell.config import FieldType
from llmspell.errors import InputError
from llmspell.integrations.llamaindex.framework import (
    BaseNode,
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    build_metadata_filter_fn,
)
from llmspell.integrations.llamaindex.nodes import document_of
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

__all__ = ["matcher", "narrowed"]

_RANGES: Final[dict[FilterOperator, Order]] = {
    FilterOperator.GT: "$gt",
    FilterOperator.GTE: "$gte",
    FilterOperator.LT: "$lt",
    FilterOperator.LTE: "$lte",
}
_TEXTS: Final = (FilterOperator.TEXT_MATCH, FilterOperator.TEXT_MATCH_INSENSITIVE)
_LISTS: Final = (
    *(FilterOperator.IN, FilterOperator.NIN),
    *(FilterOperator.ANY, FilterOperator.ALL),
)
#: Names that LlamaIndex gives the id of a node's document among its metadata.
_DOCUMENT_KEYS: Final = ("document_id", "doc_id", "ref_doc_id")


def matcher(filters: MetadataFilters) -> Callable[[BaseNode], bool]:
    """What tells whether a node matches.

    Raises:
        InputError: a value that its operator can't take.
    """
    holds = _group(filters)
    return lambda node: holds(_metadata(node))


def narrowed(filters: MetadataFilters, schema: Mapping[str, FieldType]) -> Condition:
    """A filter of llmspell's that keeps all nodes that match; None where it would keep any."""
    return or_inexact(_narrowed(filters, schema, 0))


_Holds = Callable[[Mapping[str, Any]], bool]


def _group(filters: MetadataFilters) -> _Holds:
    parts = [
        _group(one) if isinstance(one, MetadataFilters) else _single(one) for one in filters.filters
    ]
    condition = filters.condition or FilterCondition.AND

    def holds(metadata: Mapping[str, Any]) -> bool:
        found = (part(metadata) for part in parts)
        if not parts or condition == FilterCondition.AND:
            return all(found)
        return any(found) if condition == FilterCondition.OR else not any(found)

    return holds


def _single(one: MetadataFilter) -> _Holds:
    operator, value = one.operator, one.value
    if operator in _TEXTS and not isinstance(value, str):
        raise InputError(f"{operator.value} on {one.key!r} takes a str, got {value!r}")
    if operator in _LISTS and not isinstance(value, (list, str)):
        raise InputError(f"{operator.value} on {one.key!r} takes a list, got {value!r}")
    if operator in _RANGES and not isinstance(value, (int, float, str)):
        raise InputError(f"{operator.value} on {one.key!r} takes a number or str, got {value!r}")
    alone = MetadataFilters(filters=[one])

    def holds(metadata: Mapping[str, Any]) -> bool:
        try:
            return bool(build_metadata_filter_fn(lambda _: metadata, alone)(""))
        except TypeError:
            return False

    return holds


def _metadata(node: BaseNode) -> Mapping[str, Any]:
    document = document_of(node)
    if document is None:
        return node.metadata
    return {**dict.fromkeys(_DOCUMENT_KEYS, document), **node.metadata}


def _narrowed(filters: MetadataFilters, schema: Mapping[str, FieldType], depth: int) -> Condition:
    if filters.condition == FilterCondition.NOT or depth > MAX_DEPTH:
        return None
    parts = [
        _narrowed(one, schema, depth + 1)
        if isinstance(one, MetadataFilters)
        else _compared(one, schema)
        for one in filters.filters
    ]
    return either(parts) if filters.condition == FilterCondition.OR else both(parts)


def _compared(one: MetadataFilter, schema: Mapping[str, FieldType]) -> Condition:
    key, value = one.key, one.value
    if key in _DOCUMENT_KEYS or not filterable(key, schema):
        return None
    if one.operator == FilterOperator.EQ:
        return among(key, [value])
    if one.operator == FilterOperator.IN and isinstance(value, list):
        return among(key, value)
    if one.operator in _RANGES:
        order = _RANGES[one.operator]
        return {key: {order: value}} if isinstance(value, str) else compared(key, order, value)
    return None
