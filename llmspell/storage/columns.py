"""Sorted columns of a payload index: the distinct values of a field, and the rows of each.

A column never changes; :func:`merged` makes the next one. Its arrays may lie in a mapped file.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap64

__all__ = ["Column", "Numbers", "Strings", "Values", "as_bitmap", "as_rows", "merged", "narrow"]

#: Rows from which on a value has a bitmap of its own: one takes more than half a kilobyte, a row
#: of a lighter value four bytes.
HEAVY: Final = 128
BITMAP_BYTES: Final = 300


class Numbers:
    """Distinct numbers of one type, ascending: int64, or float64."""

    __slots__ = ("values",)

    def __init__(self, values: NDArray[Any]) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return self.values.nbytes

    def bisect(self, value: float, *, right: bool = False) -> int:
        """How many are less, or less or equal; ``value`` must be one of the type."""
        wanted = self.values.dtype.type(value)  # else NumPy compares 64-bit integers as floats
        return int(self.values.searchsorted(wanted, "right" if right else "left"))

    def find(self, value: float) -> int:
        """Where it is; -1 where it isn't."""
        at = self.bisect(value)
        return at if at < len(self.values) and self.values[at] == value else -1

    def take(self, chosen: NDArray[np.bool_]) -> Numbers:
        """The values where ``chosen`` is true."""
        return Numbers(self.values[chosen])

    def merge(self, more: Numbers) -> tuple[Numbers, NDArray[np.intp], NDArray[np.intp]]:
        """All values of both, and where those of each have gone."""
        both = np.union1d(self.values, more.values)
        return Numbers(both), both.searchsorted(self.values), both.searchsorted(more.values)

    @staticmethod
    def distinct(values: Sequence[Any], dtype: str) -> tuple[Numbers, NDArray[np.intp]]:
        """The distinct ones of some values, and which each of these is."""
        found, owners = np.unique(np.array(values, dtype), return_inverse=True)
        return Numbers(found), owners.reshape(-1)


class Strings:
    """Distinct strings, ascending by code point, in UTF-8 end to end: its bytes sort the same."""

    __slots__ = ("_bytes", "_ends", "blob", "offsets")

    def __init__(self, blob: NDArray[np.uint8], offsets: NDArray[Any]) -> None:
        """``offsets`` (n + 1,): where each begins, and the end."""
        self.blob = blob
        self.offsets = offsets
        # A view gives an int in a third of the time that an array takes for a scalar of its own.
        self._bytes = blob.data
        self._ends = offsets.data

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, at: int) -> bytes:
        return bytes(self._bytes[self._ends[at] : self._ends[at + 1]])

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return self.blob.nbytes + self.offsets.nbytes

    def bisect(self, value: bytes, *, right: bool = False) -> int:
        """How many are less, or less or equal."""
        return (bisect_right if right else bisect_left)(self, value)

    def find(self, value: bytes) -> int:
        """Where it is; -1 where it isn't."""
        at = self.bisect(value)
        return at if at < len(self) and self[at] == value else -1

    def tolist(self) -> list[bytes]:
        """All of them."""
        blob, ends = self.blob.tobytes(), self.offsets.tolist()
        return [blob[a:b] for a, b in pairwise(ends)]

    def take(self, chosen: NDArray[np.bool_]) -> Strings:
        """The values where ``chosen`` is true."""
        if chosen.all():
            return self
        lengths = self.offsets[1:] - self.offsets[:-1]
        return Strings(self.blob[np.repeat(chosen, lengths)], _offsets(lengths[chosen]))

    def merge(self, more: Strings) -> tuple[Strings, NDArray[np.intp], NDArray[np.intp]]:
        """All values of both, and where those of each have gone."""
        mine, others = self.tolist(), more.tolist()
        known = set(mine)
        # Two sorted runs, which Python's sort merges in one pass.
        both = sorted(mine + [value for value in others if value not in known])
        where = {value: i for i, value in enumerate(both)}
        of_mine = np.fromiter(map(where.__getitem__, mine), np.intp, len(mine))
        of_others = np.fromiter(map(where.__getitem__, others), np.intp, len(others))
        return self._of(both), of_mine, of_others

    @classmethod
    def distinct(cls, values: Sequence[bytes]) -> tuple[Strings, NDArray[np.intp]]:
        """The distinct ones of some strings, and which each of these is."""
        ordered = sorted(set(values))
        where = {value: i for i, value in enumerate(ordered)}
        owners = np.fromiter(map(where.__getitem__, values), np.intp, len(values))
        return cls._of(ordered), owners

    @classmethod
    def _of(cls, ordered: list[bytes]) -> Self:
        lengths = np.fromiter(map(len, ordered), np.int64, len(ordered))
        return cls(np.frombuffer(b"".join(ordered), np.uint8), _offsets(lengths))


Values: TypeAlias = Numbers | Strings


@dataclass(frozen=True, slots=True)
class Column:
    """Rows by value.

    Args:
        values: V distinct ones, ascending.
        starts: (V + 1,): the rows of value i are ``rows[starts[i]:starts[i + 1]]``, none where
            it has a bitmap.
        rows: ascending in each value.
        heavy: (H,) ascending, the values that have a bitmap.
        bitmaps: H of them; not to be changed.
    """

    values: Any  # of type Values: Numbers take numbers, Strings take bytes
    starts: NDArray[Any]
    rows: NDArray[Any]
    heavy: NDArray[Any]
    bitmaps: list[BitMap64] = field(repr=False)

    def held(self, *, mapped: bool) -> int:
        """Bytes in memory, estimated; of a column in a mapped file those of its bitmaps alone."""
        bitmaps = sum(BITMAP_BYTES + min(2 * len(rows), rows.max() // 8) for rows in self.bitmaps)
        arrays: int = self.values.nbytes + self.starts.nbytes + self.rows.nbytes
        return bitmaps if mapped else bitmaps + arrays + self.heavy.nbytes

    def find(self, value: Any) -> tuple[int, int]:
        """The values that equal it, none or one, as a range of them."""
        at = self.values.find(value)
        return (0, 0) if at < 0 else (at, at + 1)

    def count(self, low: int, high: int) -> int:
        """Rows of the values from ``low`` up to ``high``; of a list, once for each element."""
        light = int(self.starts[high]) - int(self.starts[low])
        return light + sum(map(len, self.bitmaps[self._heavy(low, high)]))

    def between(self, low: int, high: int) -> BitMap64:
        """Rows of the values from ``low`` up to ``high``; a bitmap of the caller's own."""
        light = self.rows[int(self.starts[low]) : int(self.starts[high])]
        found = as_bitmap(light) if len(light) else BitMap64()
        heavy = self.bitmaps[self._heavy(low, high)]
        return BitMap64.union(found, *heavy) if heavy else found

    def _heavy(self, low: int, high: int) -> slice:
        if not len(self.heavy):
            return slice(0)
        first, last = self.heavy.searchsorted((low, high))
        return slice(int(first), int(last))


def merged(
    base: Column | None,
    dead: BitMap64,
    values: Values,
    owners: NDArray[np.intp],
    rows: NDArray[np.uint64],
) -> Column | None:
    """A column of what is in another and not dead, and of some more; None where that is nothing.

    Args:
        base: a column, or none.
        dead: rows of ``base`` that are gone.
        values: distinct ones to add, ascending.
        owners: (n,): which value each row has.
        rows: (n,), in any order; a pair may come twice.
    """
    bitmaps: dict[int, BitMap64] = {}
    if base is not None:
        values, of_base, of_new = base.values.merge(values)
        bitmaps = {
            int(of_base[at]): rows_of - dead
            for at, rows_of in zip(base.heavy, base.bitmaps, strict=True)
        }
        before = np.repeat(of_base, base.starts[1:] - base.starts[:-1])
        kept = base.rows.astype(np.uint64)
        if dead and len(kept):
            alive = np.isin(kept, as_rows(dead), invert=True)
            before, kept = before[alive], kept[alive]
        owners = np.concatenate((before, of_new[owners]))
        rows = np.concatenate((kept, rows))
    order = np.lexsort((rows, owners))
    owners, rows = owners[order], rows[order]
    if len(rows):
        fresh = np.empty(len(rows), np.bool_)
        fresh[0] = True
        np.logical_or(owners[1:] != owners[:-1], rows[1:] != rows[:-1], out=fresh[1:])
        owners, rows = owners[fresh], rows[fresh]
    counts = np.bincount(owners, minlength=len(values))
    is_heavy = counts >= HEAVY
    is_heavy[list(bitmaps)] = True
    ends = np.concatenate(([0], np.cumsum(counts)))
    for at in np.flatnonzero(is_heavy & (counts > 0)).tolist():
        more = as_bitmap(rows[ends[at] : ends[at + 1]])
        bitmaps[at] = bitmaps[at] | more if at in bitmaps else more
    for rows_of in bitmaps.values():
        rows_of.run_optimize()
    light = ~is_heavy[owners]
    chosen = counts > 0
    chosen[list(bitmaps)] = [bool(bitmaps[at]) for at in bitmaps]
    if not chosen.any():
        return None
    counts[is_heavy] = 0
    heavy = np.flatnonzero(is_heavy & chosen)
    moved = np.cumsum(chosen) - 1
    return Column(
        values.take(chosen),
        _offsets(counts[chosen]),
        narrow(rows[light]),
        narrow(moved[heavy]),
        [bitmaps[at] for at in heavy.tolist()],
    )


def as_bitmap(rows: NDArray[Any]) -> BitMap64:
    """A bitmap of rows in any order."""
    # From an array it is made in C, from one of NumPy's by iteration, four times as slowly; and in
    # order in half the time, sorting included.
    return BitMap64(array("Q", np.sort(rows).astype(np.uint64).tobytes()))


def as_rows(bitmap: BitMap64) -> NDArray[np.uint64]:
    """The rows of a bitmap, ascending."""
    return np.frombuffer(bitmap.to_array(), np.uint64)


def narrow(array: NDArray[Any]) -> NDArray[Any]:
    """The same whole numbers in 32 bits each where they fit, else in 64."""
    small = not len(array) or int(array.max()) < 1 << 32
    return array.astype("<u4" if small else "<u8")


def _offsets(lengths: NDArray[Any]) -> NDArray[Any]:
    return narrow(np.concatenate(([0], np.cumsum(lengths))))
