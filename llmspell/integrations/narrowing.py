"""Filters of llmspell's that keep at least what a comparison of Python's keeps.

A framework's own function decides then what of that matches. Records of whose metadata the fields
hold only a part are always kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from llmspell.config import FieldType
from llmspell.integrations.metadata import INEXACT

__all__ = [
    "MAX_DEPTH",
    "Condition",
    "Order",
    "among",
    "both",
    "compared",
    "either",
    "filterable",
    "is_number",
    "or_inexact",
]

Condition = dict[str, Any] | None
"""A filter, or None where it can't be told what it would keep."""

Order = Literal["$gt", "$gte", "$lt", "$lte"]

#: Of 32 that a filter may be nested.
MAX_DEPTH: Final = 20


def filterable(path: str, schema: Mapping[str, FieldType]) -> bool:
    """Whether a field of metadata can be asked for as it is.

    Not where the tenant declares it: its records may hold another type than was written, and its
    filters refuse other types.
    """
    if not all(path.split(".")) or path.startswith(("$", "_")) or not _is_unicode(path):
        return False
    return not any(path == one or path.startswith(f"{one}.") for one in schema)


def among(path: str, values: Sequence[object]) -> Condition:
    """Where a field equals one of some values, or has an element that does."""
    wanted: list[Any] = []
    for value in values:
        if isinstance(value, str) and _is_unicode(value):
            wanted.append(value)
        elif isinstance(value, bool):
            wanted += [value, int(value)]  # which are equal to Python
        elif is_number(value):
            wanted += [value, bool(value)] if value in (0, 1) else [value]
        else:
            return None
    return {path: {"$in": wanted}}


def compared(path: str, order: Order, bound: object) -> Condition:
    """Where a field is above or below a number."""
    if not is_number(bound):
        return None
    # To Python, True is a number too.
    return {"$or": [{path: {order: bound}}, {path: {"$in": [True, False]}}]}


def both(parts: Sequence[Condition]) -> Condition:
    """Where all of some conditions hold."""
    known = [part for part in parts if part is not None]
    return {"$and": known} if known else None


def either(parts: Sequence[Condition]) -> Condition:
    """Where one of some conditions holds."""
    known = [part for part in parts if part is not None]
    return {"$or": known} if known and len(known) == len(parts) else None


def or_inexact(condition: Condition) -> Condition:
    """As the condition, and records whose fields don't show all of their metadata."""
    return None if condition is None else {"$or": [condition, {INEXACT: True}]}


def is_number(value: object) -> bool:
    """Whether it is a number that a filter takes, and no bool."""
    if type(value) is int:
        return -(1 << 63) <= value < 1 << 63
    return type(value) is float and math.isfinite(value)


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)
