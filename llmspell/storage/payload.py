"""The payload index: for each metadata field, which rows have which value."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap64

from llmspell.storage.filters import (
    AllOf,
    AnyOf,
    Exists,
    Filter,
    In,
    Not,
    Range,
    Tagged,
    tag,
)

__all__ = ["PayloadIndex"]

MAX_MATCHES: Final = 64
NONE: Final = tag(None)
EMPTY: Final = BitMap64()

# Most values of a field such as a time belong to one row: a bitmap for each would cost 200 bytes.
_Rows: TypeAlias = int | BitMap64


class _Field:
    """Rows by value, and the values in order for ranges."""

    __slots__ = ("_order", "rows")

    def __init__(self) -> None:
        self.rows: dict[Tagged, _Rows] = {}
        self._order: dict[str, list[Any]] = {}

    def add(self, value: Tagged, row: int) -> None:
        rows = self.rows.get(value)
        if rows is None:
            self.rows[value] = row
            self._order.pop(value[0], None)
        elif isinstance(rows, BitMap64):
            rows.add(row)
        elif rows != row:
            self.rows[value] = BitMap64((rows, row))

    def remove(self, value: Tagged, row: int) -> None:
        rows = self.rows.get(value)
        if isinstance(rows, BitMap64):
            rows.discard(row)
        if rows in (row, EMPTY):
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
        self._matches: dict[Filter, NDArray[np.int64]] = {}
        self._all = BitMap64()
        self._fields: dict[str, _Field] = {}

    def __len__(self) -> int:
        return len(self._all)

    def add(self, row: int, metadata: Mapping[str, Any]) -> None:
        """Add a row."""
        with self._lock:
            self._matches.clear()
            self._all.add(row)
            for path, value in _flatten(metadata):
                self._fields.setdefault(path, _Field()).add(value, row)

    def remove(self, row: int, metadata: Mapping[str, Any]) -> None:
        """Remove a row that was added with this metadata."""
        with self._lock:
            self._matches.clear()
            self._all.discard(row)
            for path, value in _flatten(metadata):
                field = self._fields.get(path)
                if field is not None:
                    field.remove(value, row)
                    if not field.rows:
                        del self._fields[path]

    def matching(self, condition: Filter) -> NDArray[np.int64]:
        """Rows that a filter keeps, ascending; read-only. Kept for the next call until a write."""
        with self._lock:
            rows = self._matches.get(condition)
            if rows is None:
                rows = np.frombuffer(self._evaluate(condition).to_array(), dtype=np.int64)
                rows.flags.writeable = False
                if len(self._matches) >= MAX_MATCHES:
                    self._matches.clear()
                self._matches[condition] = rows
            return rows

    def _evaluate(self, condition: Filter) -> BitMap64:
        match condition:
            case In(name, values):
                rows = self._fields[name].rows if name in self._fields else {}
                found = _union(rows[value] for value in set(values) if value in rows)
                return found | (self._all - self._having(name)) if NONE in values else found
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


def _flatten(metadata: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Tagged]]:
    """Yield each dotted path with each of its values; a list counts as all of its elements."""
    for name, value in metadata.items():
        yield from _flatten_value(prefix + name, value)


def _flatten_value(path: str, value: Any) -> Iterator[tuple[str, Tagged]]:
    if isinstance(value, dict):
        # Present, but equal to nothing.
        yield path, ("{", None)
        yield from _flatten(value, path + ".")
    elif isinstance(value, list):
        yield path, ("[", None)
        for element in value:
            yield from _flatten_value(path, element)
    else:
        yield path, tag(value)


def _union(found: Iterable[_Rows]) -> BitMap64:
    single: list[int] = []
    several: list[BitMap64] = []
    for rows in found:
        if isinstance(rows, BitMap64):
            several.append(rows)
        else:
            single.append(rows)
    union = BitMap64(single)
    return BitMap64.union(union, *several) if several else union
