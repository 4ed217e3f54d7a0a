"""The language of metadata filters: a mapping, parsed into a tree.

``{"lang": "en"}`` means equality; ``{"year": {"$gte": 2020, "$lt": 2025}}`` puts operators on a
field; several keys of one mapping must all hold; ``$and``, ``$or``, ``$nor`` and ``$not`` combine
filters. ``{"author.name": "Ada"}`` looks into a nested mapping. A list in the metadata holds where
one of its elements does. A field that is missing equals nothing but None, and is ``$ne`` to the
rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from llmspell.config import FieldType
from llmspell.errors import FilterError
from llmspell.storage.kinds import Scalar, Tagged, tag
from llmspell.storage.schema import NO_SCHEMA, conform_operand, is_unindexed

__all__ = ["AllOf", "AnyOf", "Exists", "Filter", "In", "Not", "Prefix", "Range", "parse"]

MAX_DEPTH: Final = 32


@dataclass(frozen=True, slots=True)
class In:
    """The field has one of the values, each with its kind as :func:`tag` gives it."""

    field: str
    values: tuple[Tagged, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """The field compares to a number, a string or a time; ``operator`` is gt, gte, lt or lte."""

    field: str
    operator: str
    bound: Tagged


@dataclass(frozen=True, slots=True)
class Prefix:
    """The field is a string that begins so."""

    field: str
    prefix: str


@dataclass(frozen=True, slots=True)
class Exists:
    """The field is there, whatever its value."""

    field: str


@dataclass(frozen=True, slots=True)
class Not:
    """The filter doesn't hold."""

    part: Filter


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every part holds; true where there is none."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """A part holds."""

    parts: tuple[Filter, ...]


Filter: TypeAlias = In | Range | Prefix | Exists | Not | AllOf | AnyOf

_COMBINERS: Final = ("$and", "$or", "$nor", "$not")
_RANGES: Final = ("$gt", "$gte", "$lt", "$lte")
_OPERATORS: Final = ("$eq", "$ne", "$in", "$nin", *_RANGES, "$prefix", "$exists", "$not")


def parse(source: object, schema: Mapping[str, FieldType] = NO_SCHEMA) -> Filter:
    """Turn a filter mapping into a tree.

    Args:
        source: the mapping.
        schema: declared types of fields, see :class:`llmspell.TenantConfig`.

    Raises:
        FilterError: it can't be understood, or an operand can never match the declared type of
            its field; the message begins with the path to the bad part.
    """
    return _Parser(schema).mapping(source, "filter", 0)


class _Parser:
    __slots__ = ("_schema",)

    def __init__(self, schema: Mapping[str, FieldType]) -> None:
        self._schema = schema

    def mapping(self, source: object, where: str, depth: int) -> Filter:
        if not isinstance(source, Mapping):
            raise FilterError(f"{where}: expected a mapping, got {_show(source)}")
        _check_depth(where, depth)
        parts: list[Filter] = []
        for key, value in source.items():
            inside = f"{where}[{key!r}]"
            if not isinstance(key, str) or not key:
                raise FilterError(f"{inside}: a field name must be a str that isn't empty")
            if key == "$and":
                parts.append(AllOf(self._branches(value, inside, depth)))
            elif key == "$or":
                parts.append(AnyOf(self._branches(value, inside, depth)))
            elif key == "$nor":
                parts.append(Not(AnyOf(self._branches(value, inside, depth))))
            elif key == "$not":
                parts.append(Not(self.mapping(value, inside, depth + 1)))
            elif key.startswith("$"):
                raise FilterError(f"{inside}: unknown; expected a field or {', '.join(_COMBINERS)}")
            elif is_unindexed(self._schema, key):
                raise FilterError(f"{inside}: the field is declared unindexed; no filter sees it")
            else:
                parts.append(self._condition(key, value, inside, depth + 1))
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def _branches(self, value: object, where: str, depth: int) -> tuple[Filter, ...]:
        if not isinstance(value, (list, tuple)) or not value:
            raise FilterError(f"{where}: expected a list of filters, got {_show(value)}")
        return tuple(
            self.mapping(branch, f"{where}[{i}]", depth + 1) for i, branch in enumerate(value)
        )

    def _condition(self, field: str, condition: object, where: str, depth: int) -> Filter:
        if not isinstance(condition, Mapping):
            return In(field, (self._value(field, condition, where),))
        if not condition:
            raise FilterError(f"{where}: no operator; expected some of {', '.join(_OPERATORS)}")
        _check_depth(where, depth)
        parts = tuple(
            self._operator(field, name, operand, f"{where}[{name!r}]", depth)
            for name, operand in condition.items()
        )
        return parts[0] if len(parts) == 1 else AllOf(parts)

    def _operator(
        self, field: str, name: object, operand: object, where: str, depth: int
    ) -> Filter:
        match name:
            case "$eq":
                return In(field, (self._value(field, operand, where),))
            case "$ne":
                return Not(In(field, (self._value(field, operand, where),)))
            case "$in":
                return In(field, self._values(field, operand, where))
            case "$nin":
                return Not(In(field, self._values(field, operand, where)))
            case "$gt" | "$gte" | "$lt" | "$lte":
                return Range(field, str(name)[1:], self._bound(field, operand, where))
            case "$prefix":
                if not isinstance(operand, str):
                    raise FilterError(f"{where}: expected a str, got {_show(operand)}")
                if self._schema.get(field, "string") != "string":
                    raise FilterError(
                        f"{where}: field {field!r} is declared {self._schema[field]}, "
                        "only strings have a prefix"
                    )
                return Prefix(field, str(_scalar(operand, where)))
            case "$exists":
                if not isinstance(operand, bool):
                    raise FilterError(f"{where}: expected True or False, got {_show(operand)}")
                return Exists(field) if operand else Not(Exists(field))
            case "$not":
                if not isinstance(operand, Mapping):
                    # Of a value there is $ne.
                    raise FilterError(
                        f"{where}: expected a mapping of operators, got {_show(operand)}"
                    )
                return Not(self._condition(field, operand, where, depth + 1))
        raise FilterError(f"{where}: unknown operator; expected one of {', '.join(_OPERATORS)}")

    def _value(self, field: str, value: object, where: str) -> Tagged:
        scalar = _scalar(value, where)
        return tag(conform_operand(scalar, self._schema, field, where, is_bound=False))

    def _values(self, field: str, values: object, where: str) -> tuple[Tagged, ...]:
        if isinstance(values, (str, bytes)) or not isinstance(values, (Sequence, AbstractSet)):
            raise FilterError(f"{where}: expected a list of values, got {_show(values)}")
        return tuple(self._value(field, value, f"{where}[{i}]") for i, value in enumerate(values))

    def _bound(self, field: str, value: object, where: str) -> Tagged:
        bound = _scalar(value, where)
        if bound is None or isinstance(bound, bool):
            raise FilterError(
                f"{where}: only numbers, strings and times have an order, got {_show(value)}"
            )
        return tag(conform_operand(bound, self._schema, field, where, is_bound=True))


def _check_depth(where: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise FilterError(f"{where}: nested more than {MAX_DEPTH} deep")


def _scalar(value: object, where: str) -> Scalar:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise FilterError(f"{where}: invalid Unicode: {error}") from None
        return value
    if value is None or isinstance(value, (bool, int, datetime)):
        return value
    if isinstance(value, float) and not math.isnan(value):
        return value
    raise FilterError(f"{where}: expected a str, number, bool, time or None, got {_show(value)}")


def _show(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
