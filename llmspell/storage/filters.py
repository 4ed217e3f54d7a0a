"""The language of metadata filters: a mapping, parsed into a tree.

``{"lang": "en"}`` means equality; ``{"year": {"$gte": 2020, "$lt": 2025}}`` puts operators on a
field; several keys of one mapping must all hold; ``$and``, ``$or`` and ``$not`` combine filters.
``{"author.name": "Ada"}`` looks into a nested mapping. A list in the metadata holds where one of
its elements does. A field that is missing equals nothing but None, and is ``$ne`` to the rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from llmspell.errors import FilterError

__all__ = [
    "AllOf",
    "AnyOf",
    "Exists",
    "Filter",
    "In",
    "Not",
    "Range",
    "Scalar",
    "Tagged",
    "parse",
    "tag",
]

Scalar: TypeAlias = str | int | float | bool | None
Tagged: TypeAlias = tuple[str, Scalar]

MAX_DEPTH: Final = 32


@dataclass(frozen=True, slots=True)
class In:
    """The field has one of the values, each with its kind as :func:`tag` gives it."""

    field: str
    values: tuple[Tagged, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """The field compares to a number or a string; ``operator`` is one of gt, gte, lt, lte."""

    field: str
    operator: str
    bound: str | int | float


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


Filter: TypeAlias = In | Range | Exists | Not | AllOf | AnyOf

_COMBINERS: Final = ("$and", "$or", "$not")
_OPERATORS: Final = ("$eq", "$ne", "$in", "$nin", "$gt", "$gte", "$lt", "$lte", "$exists", "$not")


def tag(value: Scalar) -> Tagged:
    """A value with its kind: equal numbers are one value, as in Python, but True is not 1."""
    if isinstance(value, bool):
        return "b", value
    if isinstance(value, (int, float)):
        return "n", value
    return ("s", value) if isinstance(value, str) else ("0", None)


def parse(source: object) -> Filter:
    """Turn a filter mapping into a tree.

    Raises:
        FilterError: it can't be understood; the message begins with the path to the bad part.
    """
    return _parse_mapping(source, "filter", 0)


def _parse_mapping(source: object, where: str, depth: int) -> Filter:
    if not isinstance(source, Mapping):
        raise FilterError(f"{where}: expected a mapping, got {_show(source)}")
    if depth > MAX_DEPTH:
        raise FilterError(f"{where}: nested more than {MAX_DEPTH} deep")
    parts: list[Filter] = []
    for key, value in source.items():
        inside = f"{where}[{key!r}]"
        if not isinstance(key, str) or not key:
            raise FilterError(f"{inside}: a field name must be a str that isn't empty")
        if key in ("$and", "$or"):
            if not isinstance(value, (list, tuple)) or not value:
                raise FilterError(f"{inside}: expected a list of filters, got {_show(value)}")
            branches = tuple(
                _parse_mapping(branch, f"{inside}[{i}]", depth + 1)
                for i, branch in enumerate(value)
            )
            parts.append(AllOf(branches) if key == "$and" else AnyOf(branches))
        elif key == "$not":
            parts.append(Not(_parse_mapping(value, inside, depth + 1)))
        elif key.startswith("$"):
            raise FilterError(f"{inside}: unknown; expected a field or {', '.join(_COMBINERS)}")
        else:
            parts.append(_parse_condition(key, value, inside, depth + 1))
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def _parse_condition(field: str, condition: object, where: str, depth: int) -> Filter:
    if not isinstance(condition, Mapping):
        return In(field, (tag(_scalar(condition, where)),))
    if not condition:
        raise FilterError(f"{where}: no operator; expected some of {', '.join(_OPERATORS)}")
    if depth > MAX_DEPTH:
        raise FilterError(f"{where}: nested more than {MAX_DEPTH} deep")
    parts = tuple(
        _parse_operator(field, name, operand, f"{where}[{name!r}]", depth)
        for name, operand in condition.items()
    )
    return parts[0] if len(parts) == 1 else AllOf(parts)


def _parse_operator(field: str, name: object, operand: object, where: str, depth: int) -> Filter:
    match name:
        case "$eq":
            return In(field, (tag(_scalar(operand, where)),))
        case "$ne":
            return Not(In(field, (tag(_scalar(operand, where)),)))
        case "$in":
            return In(field, _scalars(operand, where))
        case "$nin":
            return Not(In(field, _scalars(operand, where)))
        case "$gt" | "$gte" | "$lt" | "$lte":
            return Range(field, str(name)[1:], _bound(operand, where))
        case "$exists":
            if not isinstance(operand, bool):
                raise FilterError(f"{where}: expected True or False, got {_show(operand)}")
            return Exists(field) if operand else Not(Exists(field))
        case "$not":
            return Not(_parse_condition(field, operand, where, depth + 1))
    raise FilterError(f"{where}: unknown operator; expected one of {', '.join(_OPERATORS)}")


def _scalar(value: object, where: str) -> Scalar:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float) and not math.isnan(value):
        return value
    raise FilterError(f"{where}: expected a str, number, bool or None, got {_show(value)}")


def _scalars(values: object, where: str) -> tuple[Tagged, ...]:
    if isinstance(values, str) or not isinstance(values, (Sequence, set, frozenset)):
        raise FilterError(f"{where}: expected a list of values, got {_show(values)}")
    return tuple(tag(_scalar(value, f"{where}[{i}]")) for i, value in enumerate(values))


def _bound(value: object, where: str) -> str | int | float:
    bound = _scalar(value, where)
    if bound is None or isinstance(bound, bool):
        raise FilterError(f"{where}: only numbers and strings have an order, got {_show(value)}")
    return bound


def _show(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
