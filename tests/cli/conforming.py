"""Checks JSON against the TypedDicts that describe it."""

from __future__ import annotations

import types
import typing
from typing import Any

__all__ = ["mismatch"]


def mismatch(value: Any, kind: Any, where: str = "$") -> str | None:
    """Where and how ``value`` differs from ``kind``; None where it conforms."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return None
    if typing.is_typeddict(kind):
        return _mismatch_of_keys(value, kind, where)
    if origin in (typing.Union, types.UnionType):
        found = [mismatch(value, one, where) for one in arguments]
        return None if None in found else f"{where}: {value!r} is none of {arguments}"
    if origin is list:
        if not isinstance(value, list):
            return f"{where}: {value!r} is not a list"
        return _first(mismatch(one, arguments[0], f"{where}[]") for one in value)
    if origin is dict:
        if not isinstance(value, dict):
            return f"{where}: {value!r} is not an object"
        return _first(mismatch(one, arguments[1], f"{where}.{key}") for key, one in value.items())
    wanted = (int, float) if kind is float else kind
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
        return f"{where}: {value!r} is not {kind}"
    return None


def _mismatch_of_keys(value: Any, kind: Any, where: str) -> str | None:
    if not isinstance(value, dict):
        return f"{where}: {value!r} is not an object"
    hints = typing.get_type_hints(kind)
    if value.keys() != hints.keys():
        return f"{where}: keys differ by {sorted(value.keys() ^ hints.keys())}"
    return _first(mismatch(value[key], hint, f"{where}.{key}") for key, hint in hints.items())


def _first(found: typing.Iterator[str | None]) -> str | None:
    return next((one for one in found if one is not None), None)
