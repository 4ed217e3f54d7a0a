"""Python values as JSON that gives them back just as they were, where plain JSON couldn't.

A value that JSON has not is an object with the key ``$``, which names its kind. Nothing is ever
executed or imported when it is read.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import numpy as np

from llmspell.errors import MetadataError

__all__ = ["dumps", "loads"]

_TAG: Final = "$"
MAX_DEPTH: Final = 100


def dumps(value: object) -> str:
    """The value as JSON in ASCII.

    Raises:
        MetadataError: it holds something else than None, bool, int, float, str, bytes, list, tuple,
            set, frozenset, dict, datetime, date, time, timedelta, Decimal, UUID and NumPy scalars,
            or is nested too deep; the message names the part.
    """
    return json.dumps(_encode(value, "metadata", 0), separators=(",", ":"))


def loads(text: str) -> Any:
    """The value that :func:`dumps` was given; a bool, int, float or str of a subclass as its base.

    Raises:
        ValueError: it isn't of :func:`dumps`.
    """
    try:
        return _decode(json.loads(text))
    except (ArithmeticError, AttributeError, KeyError, RecursionError, TypeError) as error:
        raise ValueError(f"not of this form: {error}") from error


def _encode(value: object, where: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise MetadataError(f"{where}: nested more than {MAX_DEPTH} deep")
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, str)):
        return value if value is None or isinstance(value, bool) else str(value)
    if isinstance(value, int):
        # As text: json reads no int of more than 4,300 digits, and neither does int().
        return int(value) if -(1 << 63) <= value < 1 << 63 else {_TAG: "int", "v": hex(value)}
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {_TAG: "float", "v": repr(float(value))}
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value) and _TAG not in value:
            return {k: _encode(v, f"{where}[{k!r}]", depth + 1) for k, v in value.items()}
        pairs = [
            [_encode(k, f"{where}: key {k!r}", depth + 1), _encode(v, f"{where}[{k!r}]", depth + 1)]
            for k, v in value.items()
        ]
        return {_TAG: "dict", "v": pairs}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [_encode(one, f"{where}[{i}]", depth + 1) for i, one in enumerate(value)]
        kind = next(k for k in (list, tuple, set, frozenset) if isinstance(value, k))
        return items if kind is list else {_TAG: kind.__name__, "v": items}
    for held, (name, to_text, _) in _AS_TEXT.items():
        if isinstance(value, held):
            return {_TAG: name, "v": to_text(value)}
    raise MetadataError(f"{where}: {type(value).__name__} can't be kept; give plain data")


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(one) for one in value]
    if not isinstance(value, dict):
        return value
    if _TAG not in value:
        return {key: _decode(one) for key, one in value.items()}
    kind, held = value[_TAG], value["v"]
    if kind == "dict":
        return {_decode(key): _decode(one) for key, one in held}
    return _FROM[kind](held)


def _span(value: Any) -> list[int]:
    return [value.days, value.seconds, value.microseconds]


# A datetime is a date too, and comes before it.
_AS_TEXT: Final[dict[type, tuple[str, Callable[[Any], Any], Callable[[Any], Any]]]] = {
    bytes: ("bytes", lambda raw: base64.b64encode(raw).decode(), base64.b64decode),
    datetime: ("datetime", datetime.isoformat, datetime.fromisoformat),
    date: ("date", date.isoformat, date.fromisoformat),
    time: ("time", time.isoformat, time.fromisoformat),
    timedelta: ("timedelta", _span, lambda parts: timedelta(*parts)),
    Decimal: ("decimal", str, Decimal),
    UUID: ("uuid", str, UUID),
}

_FROM: Final[dict[str, Callable[[Any], Any]]] = {
    "int": lambda text: int(text, 16),
    "float": float,
    "tuple": lambda items: tuple(map(_decode, items)),
    "set": lambda items: set(map(_decode, items)),
    "frozenset": lambda items: frozenset(map(_decode, items)),
    **{name: back for name, _, back in _AS_TEXT.values()},
}
