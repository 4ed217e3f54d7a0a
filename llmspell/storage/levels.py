"""What the ledger counts of a tenant's data, kept in step with its log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from llmspell.errors import ClosedError, ReservationExpired
from llmspell.quota import Quota, Reservation, Slot
from llmspell.storage.log import Counters

__all__ = ["Levels", "Step"]

_DOCUMENTS, _VECTORS, _STORAGE = int(Quota.DOCUMENTS), int(Quota.VECTORS), int(Quota.STORAGE)


class Step(NamedTuple):
    """A committed write: what was reserved for it, and the counters around it."""

    hold: Reservation
    before: Counters
    after: Counters


class Levels:
    """Documents, vectors, bytes and dimension of a tenant. For who holds its lock of writers."""

    __slots__ = ("_slot",)

    def __init__(self, slot: Slot) -> None:
        self._slot = slot

    def reserve(self, before: Counters, after: Counters) -> Reservation:
        """Reserve what a write adds; raises QuotaExceeded."""
        return self._slot.reserve(**_growth(before, after))

    def settle(self, steps: Sequence[Step]) -> None:
        """Keep of what was reserved what committed writes took, and give back what they freed."""
        is_expired = False
        try:
            for hold, before, after in steps:
                try:
                    hold.settle(**_growth(before, after))
                except ReservationExpired:
                    is_expired = True
                if before.documents > after.documents:
                    self._slot.refund(_DOCUMENTS, before.documents - after.documents)
                if before.vectors > after.vectors:
                    self._slot.refund(_VECTORS, before.vectors - after.vectors)
                if before.storage > after.storage:
                    self._slot.refund(_STORAGE, before.storage - after.storage)
            if is_expired:
                self._set(steps[-1].after)
        except ClosedError:
            pass  # dropped from under the ledger; the data is what counts

    def hold(self, counters: Counters) -> bool:
        """Whether the ledger has them, and the log's head: nothing in its file says so itself."""
        slot = self._slot
        return (
            slot.levels_known
            and slot.log_head == counters.sequence
            and slot.read(_DOCUMENTS)[0] == counters.documents
            and slot.read(_VECTORS)[0] == counters.vectors
            and slot.read(_STORAGE)[0] == counters.storage
        )

    def agree(self, counters: Counters) -> None:
        """Set them and the log's head where the last writer didn't come to it, or they are damaged.

        What is reserved besides, as for writes that wait, stays reserved.
        """
        if not self.hold(counters):
            self._set(counters)
            self._slot.set_log_head(counters.sequence)

    def _set(self, counters: Counters) -> None:
        self._slot.set_levels(counters.documents, counters.vectors, counters.storage, counters.dim)


def _growth(before: Counters, after: Counters) -> dict[str, int]:
    documents = after.documents - before.documents
    vectors = after.vectors - before.vectors
    storage = after.storage - before.storage
    return {
        "documents": documents if documents > 0 else 0,
        "vectors": vectors if vectors > 0 else 0,
        "storage": storage if storage > 0 else 0,
        "dimensions": after.dim - before.dim,
    }
