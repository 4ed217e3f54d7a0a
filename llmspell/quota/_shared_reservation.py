"""Reservations of :mod:`llmspell.quota.shared`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmspell.errors import ClosedError, InputError, ReservationExpired
from llmspell.quota._held import HeldInBlock
from llmspell.quota._pure_reservation import EXPIRED, LEASE_S, now_ns, to_amount, to_lease_ns
from llmspell.quota.lease import Items
from llmspell.quota.model import Quota

if TYPE_CHECKING:
    from llmspell.quota.shared import SharedSlot

__all__ = ["SharedReservation"]


class SharedReservation(HeldInBlock):
    """Amounts reserved of a :class:`SharedSlot`. Use it from one thread at a time.

    As a context manager it settles, or cancels where the block raised.
    """

    def __init__(self, slot: SharedSlot, items: Items, lease: float) -> None:
        lease_ns = to_lease_ns(lease)
        self.slot = slot
        self._items = items
        # Taken off the slot's list by whoever ends it: its owner, or a beat once its lease is over.
        self._covered = slot._admit(items, reserve=True)
        self._gens = slot._leases.gens()
        self.lease_end = now_ns() + lease_ns
        self._open = True
        with slot._reservations_lock:
            slot._reservations.add(self)

    def settle(
        self,
        *,
        documents: int | None = None,
        vectors: int | None = None,
        storage: int | None = None,
        dimensions: int | None = None,
        embeddings: int | None = None,
        tokens: int | None = None,
        cost: int | None = None,
    ) -> None:
        """Keep what was used and give the rest back; None keeps all that was reserved.

        Raises:
            InputError: more is kept than was reserved.
            ClosedError: it was settled or cancelled before, or its ledger was closed.
            ReservationExpired: its lease has passed and it was given back; nothing is kept.
        """
        self._must_be_open()
        amounts = (documents, vectors, storage, dimensions, embeddings, tokens, cost, None, None)
        kept: dict[Quota, int] = {}
        for quota, reserved in self._items:
            amount = amounts[quota]
            kept[quota] = reserved if amount is None else to_amount(amount)
            if kept[quota] > reserved:
                raise InputError(f"{quota.limit_name}: {kept[quota]} kept, but {reserved} reserved")
        self._open = False
        if not self._end(kept):
            raise ReservationExpired(EXPIRED)

    def renew(self, lease: float = LEASE_S) -> None:
        """Let it hold for ``lease`` seconds from now; raises ReservationExpired."""
        lease_ns = to_lease_ns(lease)
        self._must_be_open()
        with self.slot._reservations_lock:
            if self not in self.slot._reservations:
                self._open = False
                raise ReservationExpired(EXPIRED)
            self.lease_end = now_ns() + lease_ns

    def cancel(self) -> None:
        """Give everything back; does nothing after :meth:`settle` or :meth:`cancel`."""
        if self._open:
            self._open = False
            self._end({quota: 0 for quota, _ in self._items})

    def _must_be_open(self) -> None:
        self.slot._must_be_open()
        if not self._open:
            raise ClosedError("the reservation has been settled or cancelled")

    def _end(self, kept: dict[Quota, int]) -> bool:
        """Settle once; False where it has ended before."""
        with self.slot._reservations_lock:
            if self not in self.slot._reservations:
                return False
            self.slot._reservations.discard(self)
        self.slot._leases.settle(self._items, kept, self._gens, now_ns(), covered=self._covered)
        self.slot._keep()
        return True
