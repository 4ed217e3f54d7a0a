"""Declared types of metadata fields: what is written is held to them, and filters too.

A field is a dotted path, as in filters. None is of every type; a list is of a type where all of
its elements are.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from llmspell.config import FieldType
from llmspell.errors import FilterError, MetadataError
from llmspell.storage.kinds import Scalar, as_utc, from_iso

__all__ = ["NO_SCHEMA", "conform", "conform_operand", "is_unindexed"]

NO_SCHEMA: Final[Mapping[str, FieldType]] = {}


def is_unindexed(schema: Mapping[str, FieldType], path: str) -> bool:
    """Whether a path, or one that it lies in, is declared unindexed."""
    while path:
        if schema.get(path) == "unindexed":
            return True
        path = path.rpartition(".")[0]
    return False


def conform(metadata: dict[str, Any], schema: Mapping[str, FieldType]) -> dict[str, Any]:
    """Metadata with ISO 8601 strings of fields declared ``"time"`` turned into times.

    Raises:
        MetadataError: a value isn't of the type that its field is declared to have.
    """
    return _conform_mapping(metadata, schema, "", "metadata") if schema else metadata


def _conform_mapping(
    values: dict[str, Any], schema: Mapping[str, FieldType], prefix: str, where: str
) -> dict[str, Any]:
    return {
        name: _conform_value(value, schema, prefix + name, f"{where}[{name!r}]")
        for name, value in values.items()
    }


def _conform_value(value: Any, schema: Mapping[str, FieldType], path: str, where: str) -> Any:
    declared = schema.get(path)
    if declared == "unindexed":
        return value
    if isinstance(value, list):
        return [_conform_value(one, schema, path, f"{where}[{i}]") for i, one in enumerate(value)]
    if declared is None:
        if isinstance(value, dict):
            return _conform_mapping(value, schema, path + ".", where)
        return value
    if value is None:
        return None
    if declared == "time" and isinstance(value, str):
        try:
            return from_iso(value)
        except ValueError as error:
            raise MetadataError(
                f"{where}: field {path!r} is declared time, got {value!r}: {error}"
            ) from None
    if not _is_of(value, declared):
        raise MetadataError(
            f"{where}: field {path!r} is declared {declared}, got {type(value).__name__} {value!r}"
        )
    return value


def conform_operand(
    value: Scalar, schema: Mapping[str, FieldType], path: str, where: str, *, is_bound: bool
) -> Scalar:
    """The operand of a comparison with a field, a time in UTC.

    Args:
        is_bound: it is a bound of a range, which may lie between the values of a field.

    Raises:
        FilterError: no value of the field's declared type equals it, or has an order with it.
    """
    declared = schema.get(path)
    try:
        if isinstance(value, datetime):
            value = as_utc(value)
        elif declared == "time" and isinstance(value, str):
            value = from_iso(value)
    except ValueError as error:
        raise FilterError(f"{where}: got {value!r}: {error}") from None
    if declared is None or value is None:
        return value
    if is_bound and declared == "int" and isinstance(value, float):
        return value
    if declared == "int" and isinstance(value, float) and value.is_integer():
        return value
    if not _is_of(value, declared):
        raise FilterError(
            f"{where}: field {path!r} is declared {declared}, "
            f"which never matches {type(value).__name__} {value!r}"
        )
    return value


_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "time": (datetime,),
}


def _is_of(value: object, declared: str) -> bool:
    if isinstance(value, bool):
        return declared == "bool"
    return isinstance(value, _TYPES[declared])
