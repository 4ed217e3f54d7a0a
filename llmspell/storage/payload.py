"""The payload index: for each metadata field, which rows have which value."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from pyroaring import BitMap64

from llmspell.storage.filters import (
    AllOf,
    AnyOf,
    Exists,
    Filter,
    In,
    Not,
    Range,
    Scalar,
)

__all__ = ["PayloadIndex"]

# Equal numbers are one value, as in Python, but True is not 1.
_Value: TypeAlias = tuple[str, Any]


class _Field:
    """Rows by value, and the values in order for ranges."""

    __slots__ = ("_order", "rows")

    def __init__(self) -> None:
        self.rows: dict[_Value, BitMap64] = {}
        self._order: dict[str, list[Any]] = {}

    def add(self, value: _Value, row: int) -> None:
        rows = self.rows.get(value)
        if rows is None:
            rows = self.rows[value] = BitMap64()
            self._order.pop(value[0], None)
        rows.add(row)

    def remove(self, value: _Value, row: int) -> None:
        rows = self.rows.get(value)
        if rows is not None:
            rows.discard(row)
            if not rows:
                del self.rows[value]
                self._order.pop(value[0], None)

    def between(self, operator: str, bound: str | float) -> BitMap64:
        kind = "s" if isinstance(bound, str) else "n"
        order = self._order.get(kind)
        if order is None:
            order = self._order[kind] = sorted(v for k, v in self.rows if k == kind)
        match operator:
            case "gt":
                chosen = order[bisect_right(order, bound) :]
            case "gte":
                chosen = order[bisect_left(order, bound) :]
            case "lt":
                chosen = order[: bisect_left(order, bound)]
            case _:
                chosen = order[: bisect_right(order, bound)]
        return _union(self.rows[kind, value] for value in chosen)


class PayloadIndex:
    """A view of the records' metadata that answers filters with bitmaps of rows.

    Rows are added and removed with the metadata that they have. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all = BitMap64()
        self._fields: dict[str, _Field] = {}

    def __len__(self) -> int:
        return len(self._all)

    def add(self, row: int, metadata: Mapping[str, Any]) -> None:
        """Add a row."""
        with self._lock:
            self._all.add(row)
            for path, value in _flatten(metadata):
                self._fields.setdefault(path, _Field()).add(value, row)

    def remove(self, row: int, metadata: Mapping[str, Any]) -> None:
        """Remove a row that was added with this metadata."""
        with self._lock:
            self._all.discard(row)
            for path, value in _flatten(metadata):
                field = self._fields.get(path)
                if field is not None:
                    field.remove(value, row)
                    if not field.rows:
                        del self._fields[path]

    def matching(self, condition: Filter) -> BitMap64:
        """Rows that a filter keeps; the bitmap is the caller's own."""
        with self._lock:
            return self._evaluate(condition)

    def _evaluate(self, condition: Filter) -> BitMap64:
        match condition:
            case In(name, values):
                rows = self._fields[name].rows if name in self._fields else {}
                found = _union(rows[v] for v in {_tag(v) for v in values} if v in rows)
                return found | (self._all - self._having(name)) if None in values else found
            case Range(name, operator, bound):
                field = self._fields.get(name)
                return BitMap64() if field is None else field.between(operator, bound)
            case Exists(name):
                return self._having(name)
            case Not(part):
                return self._all - self._evaluate(part)
            case AllOf(parts):
                return BitMap64.intersection(self._all, *map(self._evaluate, parts))
            case AnyOf(parts):
                return _union(map(self._evaluate, parts))

    def _having(self, path: str) -> BitMap64:
        field = self._fields.get(path)
        return BitMap64() if field is None else _union(field.rows.values())


def _flatten(metadata: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, _Value]]:
    """Yield each dotted path with each of its values; a list counts as all of its elements."""
    for name, value in metadata.items():
        yield from _flatten_value(prefix + name, value)


def _flatten_value(path: str, value: Any) -> Iterator[tuple[str, _Value]]:
    if isinstance(value, dict):
        # Present, but equal to nothing.
        yield path, ("{", None)
        yield from _flatten(value, path + ".")
    elif isinstance(value, list):
        yield path, ("[", None)
        for element in value:
            yield from _flatten_value(path, element)
    else:
        yield path, _tag(value)


def _tag(value: Scalar) -> _Value:
    if isinstance(value, bool):
        return "b", value
    if isinstance(value, (int, float)):
        return "n", value
    return ("s", value) if isinstance(value, str) else ("0", None)


def _union(bitmaps: Iterable[BitMap64]) -> BitMap64:
    found = list(bitmaps)
    return BitMap64.union(*found) if found else BitMap64()
