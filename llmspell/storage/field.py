"""One metadata field of a payload index: which rows have which value.

Most of it lies in columns that never change, perhaps in a mapped file that isn't read until a
filter asks for the field. What changed since is kept beside them, and folded into new columns once
it has grown. Not thread-safe.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

import numpy as np
from pyroaring import BitMap64

from llmspell.storage.columns import Column, Numbers, Strings, merged
from llmspell.storage.spans import Span

__all__ = ["Field", "Stored"]

#: Changes that are kept beside the columns, at least; and their share of the rows in these.
RECENT: Final = 2_048
RECENT_SHARE: Final = 1 / 32
#: Changes that may wait to be looked at, unless there are more rows in the columns.
PENDING: Final = 1 << 18

#: What one of them takes, about: an entry of a dict and of a list, or of two lists.
RECENT_BYTES: Final = 240
PENDING_BYTES: Final = 100

#: Rows that have the field, and its columns by kind of value.
Stored: TypeAlias = tuple[BitMap64, Mapping[str, Column]]

# Most values of a field such as a time belong to one row: a bitmap for each would cost 200 bytes.
_Rows: TypeAlias = int | BitMap64


class _Recent:
    """Values of one kind that came lately, in order, and their rows."""

    __slots__ = ("order", "rows")

    def __init__(self) -> None:
        self.rows: dict[Any, _Rows] = {}
        self.order: list[Any] = []

    def add(self, value: Any, row: int) -> None:
        rows = self.rows.get(value)
        if rows is None:
            self.rows[value] = row
            insort(self.order, value)
        elif isinstance(rows, BitMap64):
            rows.add(row)
        elif rows != row:
            self.rows[value] = BitMap64((rows, row))

    def remove(self, value: Any, row: int) -> None:
        rows = self.rows.get(value)
        if isinstance(rows, BitMap64):
            rows.discard(row)
            if rows:
                return
        elif rows != row:
            return
        del self.rows[value]
        del self.order[bisect_left(self.order, value)]

    def forget(self, gone: BitMap64) -> None:
        for value, rows in list(self.rows.items()):
            if isinstance(rows, BitMap64):
                rows -= gone
            if rows in gone if isinstance(rows, int) else not rows:
                del self.rows[value]
        self.order = [value for value in self.order if value in self.rows]

    def within(self, span: Span) -> Iterable[_Rows]:
        if span.is_point:
            rows = self.rows.get(span.low)
            return () if rows is None else (rows,)
        low, high = 0, len(self.order)
        if span.low is not None:
            low = (bisect_left if span.with_low else bisect_right)(self.order, span.low)
        if span.high is not None:
            high = (bisect_right if span.with_high else bisect_left)(self.order, span.high)
        return [self.rows[value] for value in self.order[low:high]]


class Field:
    """Rows by value. ``stamp`` is the caller's, to tell that the field changed."""

    __slots__ = (
        "_base",
        "_came",
        "_changes",
        "_dead",
        "_load",
        "_pending",
        "_pending_count",
        "_recent",
        "_stored_rows",
        "has_several",
        "stamp",
    )

    def __init__(
        self,
        load: Callable[[], Stored] | None = None,
        *,
        rows: int = 0,
        has_several: bool = False,
    ) -> None:
        """An empty field, or one that is loaded when it is asked for.

        Args:
            load: gives what is stored of it, and raises CorruptFile.
            rows: how many have the field in that.
            has_several: whether a row may have several values.
        """
        self._load = load
        self._base: Stored | None = (BitMap64(), {}) if load is None else None
        self._stored_rows = rows
        self._came = BitMap64()
        self._dead = BitMap64()
        self._recent: dict[str, _Recent] = {}
        self._changes = 0  # in _recent and _dead
        self._pending: dict[str, tuple[list[Any], list[int]]] = {}
        self._pending_count = 0
        self.has_several = has_several
        self.stamp = 0

    def add(self, kind: str, value: Any, row: int) -> None:
        """Note a value of a row; kind "" where the row has a list or a mapping here."""
        pending = self._pending.get(kind)
        if pending is None:
            pending = self._pending[kind] = ([], [])
        pending[0].append(value)
        pending[1].append(row)
        self._pending_count += 1
        if self._pending_count > PENDING and self._pending_count > self._stored_rows:
            self.settle()

    def remove(self, kind: str, value: Any, row: int) -> None:
        """Forget a value of a row, and that it has the field; all of its values must follow."""
        if self._pending_count:
            self.settle()
        if kind in self._recent:
            self._recent[kind].remove(value, row)
        self._came.discard(row)
        if self._stored_rows:
            self._dead.add(row)
            self._changes += 1

    def forget(self, rows: BitMap64) -> None:
        """Forget rows, whatever their values, as far as it has them."""
        self.settle()
        for recent in self._recent.values():
            recent.forget(rows)
        self._came -= rows
        if self._base is not None:
            rows = rows & self._base[0]
        if self._stored_rows and rows:
            self._dead |= rows
            self._changes += len(rows)

    def settle(self) -> None:
        """Make what waits a part of the answers."""
        if not self._pending_count:
            return
        limit = max(RECENT, int(RECENT_SHARE * self._stored_rows))
        if self._changes + self._pending_count > limit:
            self.fold()
            return
        for kind, (values, rows) in self._pending.items():
            self._came.update(rows)
            if kind:
                recent = self._recent.setdefault(kind, _Recent())
                for value, row in zip(values, rows, strict=True):
                    recent.add(value, row)
        self._changes += self._pending_count
        self._forget_pending()

    def fold(self) -> Stored:
        """Everything as columns, which are kept; raises CorruptFile."""
        present, columns = self._stored()
        if not self._pending_count and not self._changes:
            return present, columns
        came = self._came
        added: dict[str, tuple[list[Any], list[int]]] = {}
        for kind, recent in self._recent.items():
            values, rows = added.setdefault(kind, ([], []))
            for value in recent.order:
                held = recent.rows[value]
                of_value = list(held) if isinstance(held, BitMap64) else [held]
                values.extend([value] * len(of_value))
                rows.extend(of_value)
        for kind, (values, rows) in self._pending.items():
            came = came | BitMap64(array("Q", rows))
            if kind:
                before = added.setdefault(kind, ([], []))
                before[0].extend(values)
                before[1].extend(rows)
        fresh = dict(columns)
        for kind in {*columns, *added}:
            column = fresh.pop(kind, None)
            if kind in added or self._dead:
                values, rows = added.get(kind, ([], []))
                distinct, owners = (
                    Strings.distinct(values)
                    if kind == "s"
                    else Numbers.distinct(values, "<f8" if kind == "f" else "<i8")
                )
                column = merged(column, self._dead, distinct, owners, np.array(rows, np.uint64))
            if column is not None:
                fresh[kind] = column
        present = (present - self._dead) | came
        present.run_optimize()
        self._base = (present, fresh)
        self._load = None
        self._stored_rows = len(present)
        self._came, self._dead = BitMap64(), BitMap64()
        self._recent.clear()
        self._changes = 0
        self._forget_pending()
        return self._base

    @property
    def is_as_stored(self) -> bool:
        """Whether nothing has changed since it was stored."""
        return self._load is not None and not self._changes and not self._pending_count

    def present(self) -> BitMap64:
        """Rows that have the field; not to be changed."""
        self.settle()
        present, _ = self._stored()
        if self._dead:
            present = present - self._dead
        return present | self._came if self._came else present

    def rows(self, spans: Iterable[Span]) -> BitMap64:
        """Rows that have a value in one of some spans; not to be changed."""
        self.settle()
        _, columns = self._stored()
        stored: list[BitMap64] = []
        single: list[int] = []
        several: list[BitMap64] = []
        for span in spans:
            column = columns.get(span.kind)
            if column is not None:
                low, high = _place(column, span)
                if low < high:
                    stored.append(column.between(low, high))
            recent = self._recent.get(span.kind)
            if recent is not None:
                for rows in recent.within(span):
                    if isinstance(rows, BitMap64):
                        several.append(rows)
                    else:
                        single.append(rows)
        found = BitMap64.union(*stored) if len(stored) > 1 else stored[0] if stored else BitMap64()
        if self._dead:
            found = found - self._dead
        if single:
            several.append(BitMap64(array("Q", single)))
        return BitMap64.union(found, *several) if several else found

    def count(self, spans: Iterable[Span]) -> int:
        """About how many rows :meth:`rows` would give; more, where values repeat or rows died."""
        self.settle()
        _, columns = self._stored()
        total = 0
        for span in spans:
            column = columns.get(span.kind)
            if column is not None:
                low, high = _place(column, span)
                total += column.count(low, high) if low < high else 0
            if span.kind in self._recent:
                total += len(self._recent[span.kind].rows)
        return total

    def kinds(self) -> list[str]:
        """Kinds of values that rows have, each once."""
        _, columns = self.fold()
        return sorted(columns)

    @property
    def memory(self) -> int:
        """Bytes held, estimated; pages of a mapped file are the system's."""
        held = self._changes * RECENT_BYTES + self._pending_count * PENDING_BYTES
        if self._base is None:
            return held
        columns = self._base[1].values()
        return held + sum(column.held(mapped=self._load is not None) for column in columns)

    def _stored(self) -> Stored:
        if self._base is None:
            assert self._load is not None
            self._base = self._load()
        return self._base

    def _forget_pending(self) -> None:
        self._pending.clear()
        self._pending_count = 0


def _place(column: Column, span: Span) -> tuple[int, int]:
    if span.is_point:
        return column.find(span.low)
    low, high = 0, len(column.values)
    if span.low is not None:
        low = column.values.bisect(span.low, right=not span.with_low)
    if span.high is not None:
        high = column.values.bisect(span.high, right=span.with_high)
    return low, high
