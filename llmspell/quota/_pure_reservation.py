"""Reservations of :mod:`llmspell.quota._pure`, and what it checks of its arguments."""

from __future__ import annotations

import operator
import os
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from llmspell.errors import ClosedError, DtypeError, InputError, ReservationExpired
from llmspell.quota._held import HeldInBlock
from llmspell.quota._pure_counters import HELD, MAX_AMOUNT, Held
from llmspell.quota.model import Quota

if TYPE_CHECKING:
    from llmspell.quota._pure import Slot

__all__ = ["LEASE_S", "Reservation", "now_ns", "to_amount", "to_lease_ns", "to_quota"]

LEASE_S = 60.0
MAX_LEASE_S = 86_400.0
EXPIRED = (
    "the lease of this reservation has passed and it was given back, nothing of it is kept; "
    "reserve again, with a longer lease or with renew() in time"
)


def now_ns() -> int:
    """Nanoseconds since boot, on a clock that never steps."""
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Reservation(HeldInBlock):
    """Amounts charged to a slot but not yet settled. Use it from one thread at a time."""

    def __init__(self, slot: Slot, items: Sequence[tuple[Quota, int]], lease_ns: int) -> None:
        self.slot = slot
        self._items = items
        self._owner = os.getpid()
        boot_ns = now_ns()
        self._held = Held(boot_ns + lease_ns)
        self._receipts = slot._charge_all(items, boot_ns, self._held)
        self._open = True

    def __del__(self) -> None:
        # The collector may run inside the lock that giving back would wait for.
        if self._open:
            self._open = False
            self.slot._counters.abandoned.append(self._cancel)

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
        """Keep what was used and give the rest back; None keeps all that was reserved."""
        if not self._open:
            raise ClosedError("the reservation has been settled or cancelled")
        amounts = (documents, vectors, storage, dimensions, embeddings, tokens, cost)
        kept = {}
        for (quota, reserved), amount in zip(self._items, amounts, strict=False):
            kept[quota] = reserved if amount is None else to_amount(amount)
            if kept[quota] > reserved:
                raise InputError(f"{quota.limit_name}: {kept[quota]} kept, but {reserved} reserved")
        self._open = False
        if self._owner != os.getpid():  # a forked child has its own copy of the counters
            return
        with self.slot._counters.locked():
            if not self.slot._counters.give_back(self._held, kept, now_ns()):
                raise ReservationExpired(EXPIRED)

    def renew(self, lease: float = LEASE_S) -> None:
        """Let it hold for ``lease`` seconds from now; raises ReservationExpired."""
        lease_ns = to_lease_ns(lease)
        if not self._open:
            raise ClosedError("the reservation has been settled or cancelled")
        if self._owner != os.getpid():
            return
        with self.slot._counters.locked():
            if self._held.amounts and self._held not in self.slot._counters.held:
                self._open = False
                raise ReservationExpired(EXPIRED)
            self._held.lease_end = now_ns() + lease_ns

    def cancel(self) -> None:
        """Give everything back; does nothing after :meth:`settle` or :meth:`cancel`."""
        if not self._open:
            return
        self._open = False
        if self._owner == os.getpid():
            with self.slot._counters.locked():
                self._cancel()

    def _cancel(self) -> None:
        boot_ns = now_ns()
        self.slot._counters.give_back(self._held, {}, boot_ns)
        for (quota, amount), receipt in zip(self._items, self._receipts, strict=True):
            if quota not in HELD:
                self.slot._counters.refund(quota, amount, receipt, boot_ns)


def to_amount(value: int) -> int:
    # A float would be counted in parts of a unit, and an int of NumPy overflows.
    amount = _index("an amount must be an int from 0 to 2**63 - 1", value)
    if not 0 <= amount <= MAX_AMOUNT:
        raise InputError(f"an amount must be an int from 0 to 2**63 - 1, got {value!r}")
    return amount


def to_quota(quota: int) -> Quota:
    rule = f"a quota must be an int from 0 to {len(Quota) - 1}"
    index = _index(rule, quota)
    if not 0 <= index < len(Quota):
        raise InputError(f"{rule}, got {quota!r}")
    return Quota(index)


def _index(rule: str, value: object) -> int:
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise DtypeError(f"{rule}, got {value!r}") from None


def to_sums(pairs: Iterable[tuple[int, int]]) -> list[tuple[Quota, int]]:
    """Amounts by quota, each quota once."""
    sums: dict[Quota, int] = {}
    for quota, amount in pairs:
        due = to_quota(quota)
        sums[due] = min(sums.get(due, 0) + to_amount(amount), MAX_AMOUNT)
    return list(sums.items())


def to_lease_ns(lease: float) -> int:
    is_number = isinstance(lease, (int, float)) and not isinstance(lease, bool)
    if not is_number or not 0 < lease <= MAX_LEASE_S:
        raise InputError(f"a lease must be more than 0 and at most 86,400 seconds, got {lease!r}")
    return int(lease * 1e9)
