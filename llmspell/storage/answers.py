"""Answers to filters that are kept until a write touches what they depend on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap64

from llmspell.index import IdBitmap
from llmspell.storage.columns import as_rows
from llmspell.storage.filters import AllOf, AnyOf, Filter, In, Not
from llmspell.storage.kinds import NONE

__all__ = ["Answer", "Answers"]

#: Answers that are kept, and bytes that they may take together.
MOST: Final = 64
BUDGET: Final = 32 << 20

#: A bitmap up to this many bytes is taken whatever the number of rows: a search that is asked with
#: it took 5 us less than one with ids, and compares 22 us a megabyte with the filters it has kept.
SMALL: Final = 1 << 17


class Answer:
    """Rows that a filter keeps, in the forms that callers want; each made once."""

    __slots__ = ("_allowed", "_rows", "bitmap", "stamps")

    def __init__(self, bitmap: BitMap64, stamps: tuple[tuple[str | None, int], ...]) -> None:
        """``stamps`` are of what it depends on, by path; None stands for the rows of the index."""
        self.bitmap = bitmap
        self.stamps = stamps
        self._rows: NDArray[np.int64] | None = None
        self._allowed: IdBitmap | None = None

    @property
    def rows(self) -> NDArray[np.int64]:
        """Ascending, read-only."""
        if self._rows is None:
            rows = as_rows(self.bitmap).view(np.int64)
            rows.flags.writeable = False
            self._rows = rows
        return self._rows

    @property
    def allowed(self) -> IdBitmap | NDArray[np.uint64]:
        """A bitmap, or the ids where that is shorter."""
        last = self.bitmap.max() if self.bitmap else 0
        if last // 8 >= max(SMALL, 8 * len(self.bitmap)):
            return self.rows.view(np.uint64)
        if self._allowed is None:
            bits = np.zeros(last + 1, np.bool_)
            bits[as_rows(self.bitmap)] = True
            packed = np.packbits(bits, bitorder="little")
            packed.flags.writeable = False
            self._allowed = IdBitmap(packed)
        return self._allowed

    @property
    def nbytes(self) -> int:
        """Bytes held, about."""
        last = self.bitmap.max() if self.bitmap else 0
        held = min(2 * len(self.bitmap), last // 8)
        if self._rows is not None:
            held += self._rows.nbytes
        return held if self._allowed is None else held + self._allowed.bits.nbytes


class Answers:
    """The answers kept of late. Thread-safe."""

    __slots__ = ("_kept", "_lock")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[Filter, Answer] = {}

    def get(
        self, condition: Filter, stamp_of: Callable[[str], int], rows_stamp: int
    ) -> Answer | None:
        """An answer that is current; None where there is none."""
        answer = self._kept.get(condition)
        if answer is None:
            return None
        for path, stamp in answer.stamps:
            if stamp != (rows_stamp if path is None else stamp_of(path)):
                return None
        return answer

    def keep(
        self,
        condition: Filter,
        bitmap: BitMap64,
        stamp_of: Callable[[str], int],
        rows_stamp: int,
    ) -> Answer:
        """Keep an answer, in place of the oldest where there are too many."""
        stamps = tuple(
            (path, rows_stamp if path is None else stamp_of(path)) for path in _needs(condition)
        )
        answer = Answer(bitmap, stamps)
        with self._lock:
            self._kept.pop(condition, None)
            room = BUDGET - self.nbytes - answer.nbytes
            while self._kept and (len(self._kept) >= MOST or room < 0):
                room += self._kept.pop(next(iter(self._kept))).nbytes
            self._kept[condition] = answer
        return answer

    @property
    def nbytes(self) -> int:
        """Bytes held, about."""
        return sum(answer.nbytes for answer in list(self._kept.values()))


def _needs(condition: Filter) -> set[str | None]:
    return set(_walk(condition))


def _walk(condition: Filter) -> Iterator[str | None]:
    match condition:
        case Not(part):
            yield None
            yield from _walk(part)
        case AllOf(parts) | AnyOf(parts):
            if not parts:
                yield None
            for part in parts:
                yield from _walk(part)
        case _:
            yield condition.field
            if isinstance(condition, In) and NONE in condition.values:
                yield None
