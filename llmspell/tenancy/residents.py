"""Which tenants of a database have their rooms open, and which are closed when that is too much."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llmspell.storage import ROOM_DESCRIPTORS

if TYPE_CHECKING:
    from llmspell.tenancy.budget import Budget
    from llmspell.tenancy.residence import Residence

__all__ = ["Residents"]


class Residents:
    """The open rooms of a database, kept within a :class:`Budget`. Thread-safe.

    Of those that nobody is using, the ones that weren't used for the longest time are closed. Which
    these are, a clock with a second chance tells (Corbató 1968): an operation leaves a mark, which
    costs it one store, and the hand takes the marks off as it passes and closes what has none. The
    operation that opens a room leaves none, so that what is used once goes before what is used
    again and again.

    What operations are under way in stays open, so that there may be more than the budget has
    until they have ended.
    """

    __slots__ = ("_budget", "_bytes", "_coming", "_lock", "_ring")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._lock = threading.Lock()
        #: In the order in which the hand comes to them, with their bytes of memory.
        self._ring: OrderedDict[Residence, int] = OrderedDict()
        self._bytes = 0
        self._coming = 0

    def __len__(self) -> int:
        return len(self._ring)

    @property
    def bytes_in_memory(self) -> int:
        """What the open rooms take, as it was when each was weighed last."""
        return self._bytes

    @contextmanager
    def place(self) -> Iterator[None]:
        """Keep a place for a room that is about to open; others close to make it free.

        Enter it without a lock of a residence: those of others are taken here.
        """
        with self._lock:
            self._coming += 1
        try:
            self.make_room()
            yield
        finally:
            with self._lock:
                self._coming -= 1

    def weigh(self, residence: Residence, taken: int) -> None:
        """Note that a room is open, and what it takes."""
        with self._lock:
            self._bytes += taken - self._ring.get(residence, 0)
            self._ring[residence] = taken

    def leave(self, residence: Residence) -> None:
        """Note that a room is closed."""
        with self._lock:
            self._bytes -= self._ring.pop(residence, 0)

    def make_room(self, keep: Residence | None = None) -> None:
        """Close what was least recently used until the rest fits; never ``keep``."""
        if self._fits():
            return
        # Twice around: the first time may do no more than take the marks off.
        for _ in range(2 * len(self._ring)):
            with self._lock:
                if self._fits() or not self._ring:
                    return
                residence = next(iter(self._ring))
                self._ring.move_to_end(residence)
            if residence is keep:
                continue
            if not residence.take_mark():
                residence.evict()

    def _fits(self) -> bool:
        rooms = len(self._ring) + self._coming
        return (
            rooms <= self._budget.rooms
            and rooms * ROOM_DESCRIPTORS <= self._budget.descriptors
            and self._bytes <= self._budget.bytes
        )
