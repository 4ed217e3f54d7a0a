"""The ledger in pure Python: the same rules as csrc/ledger/slot.hpp, within one process.

It exists as the second opinion that the tests run beside the native ledger, and for platforms
without shared memory mappings. It knows nothing of other processes, of restarts, or of what a dead
process held, and it is far slower. ``LLMSPELL_PURE=1`` chooses it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence

from llmspell.config import QuotaLimits
from llmspell.errors import ClosedError, InputError, QuotaExceeded, TenantSuspended
from llmspell.quota._pure_counters import (
    HELD,
    LEVELS,
    Counters,
    Crossing,
    Held,
    Receipt,
)
from llmspell.quota._pure_reservation import (
    LEASE_S,
    Reservation,
    now_ns,
    to_amount,
    to_lease_ns,
    to_quota,
    to_sums,
)
from llmspell.quota.model import OnCrossing, Quota, Usage, limits_in_units

__all__ = ["Ledger", "Reservation", "Slot"]

KEY_BYTES = 16

logger = logging.getLogger("llmspell.quota")


class _Table:
    """Slots of one path, and the calendar fixed when the path was first opened."""

    def __init__(self, capacity: int) -> None:
        self.lock = threading.Lock()
        self.capacity = capacity
        self.counters: dict[bytes, Counters] = {}
        self.utc_offset = time.time_ns() - now_ns()


_TABLES: dict[str, _Table] = {}
_TABLES_LOCK = threading.Lock()


class Ledger:
    """Quota counters of all tenants of a data directory, for this process. Thread-safe."""

    def __init__(self, path: str | os.PathLike[str], capacity: int = 4096) -> None:
        self.path = os.fspath(path)
        with _TABLES_LOCK:
            self._table = _TABLES.setdefault(os.path.abspath(self.path), _Table(capacity))

    def slot(self, key: bytes, on_crossing: OnCrossing | None = None) -> Slot:
        """Find or make the slot of a key of 16 bytes; raises InputError."""
        return Slot(self, key, on_crossing)

    def release(self, key: bytes) -> bool:
        """Free the slot of a key; its handles raise ClosedError from now on. False if none."""
        with self._table.lock:
            counters = self._table.counters.pop(key, None)
        if counters is None:
            return False
        with counters.locked():
            counters.released = True
        return True

    def sweep(self) -> int:
        """Give back reservations whose lease has passed; returns how many there were."""
        with self._table.lock:
            slots = list(self._table.counters.values())
        given_back = 0
        for counters in slots:
            with counters.locked():
                given_back += counters.sweep(now_ns())
        return given_back

    def utc_ns(self) -> int:
        """Nanoseconds since 1970 by the ledger's calendar, which the wall clock doesn't move."""
        return now_ns() + self._table.utc_offset

    @property
    def capacity(self) -> int:
        """Slots that may be made before there is place for more of them."""
        return self._table.capacity

    def __len__(self) -> int:
        return len(self._table.counters)


class Slot:
    """One tenant's counters. Thread-safe; the interface of :class:`llmspell._hot.Slot`."""

    def __init__(self, ledger: Ledger, key: bytes, on_crossing: OnCrossing | None = None) -> None:
        if len(key) != KEY_BYTES:
            raise InputError(f"a key must have {KEY_BYTES} bytes, got {len(key)}")
        self.ledger = ledger
        self.on_crossing = on_crossing
        self._offset = ledger._table.utc_offset
        with ledger._table.lock:
            counters = ledger._table.counters
            if key not in counters and len(counters) >= ledger.capacity:
                ledger._table.capacity *= 2
            self._counters = counters.setdefault(key, Counters())

    def charge(self, quota: int, amount: int = 1) -> None:
        """Charge ``amount`` of a quota, or raise QuotaExceeded and charge nothing."""
        self.charge_at(quota, amount, now_ns())

    def charge_at(self, quota: int, amount: int, boot_ns: int) -> None:
        """Like :meth:`charge`, at a given time in ns since boot (see :func:`now_ns`)."""
        item = to_quota(quota), to_amount(amount)
        self._require_open()
        self._charge_all([item], boot_ns)

    def charge_all(self, *pairs: tuple[int, int]) -> None:
        """Charge all ``(quota, amount)`` pairs, or none of them."""
        sums = to_sums(pairs)
        self._require_open()
        self._charge_all(sums, now_ns())

    def _require_open(self) -> None:
        if self._live().suspension == "all":
            raise TenantSuspended("the tenant is suspended; it goes on when it is resumed")

    def _charge_all(
        self, items: Sequence[tuple[Quota, int]], boot_ns: int, held: Held | None = None
    ) -> list[Receipt]:
        crossings: list[Crossing] = []
        try:
            with self._live().locked():
                try:
                    return self._charge_locked(items, boot_ns, held)
                except QuotaExceeded:
                    # What leases hold that have passed must not refuse others.
                    if not self._counters.sweep(now_ns()):
                        raise
                    return self._charge_locked(items, boot_ns, held)
                finally:
                    crossings, self._counters.crossings = self._counters.crossings, crossings
        finally:
            self._tell(crossings)

    def _charge_locked(
        self, items: Sequence[tuple[Quota, int]], boot_ns: int, held: Held | None
    ) -> list[Receipt]:
        counters, utc_ns = self._counters, boot_ns + self._offset
        receipts: list[Receipt] = []
        try:
            for item in items:
                receipts.append(counters.charge(*item, boot_ns, utc_ns))
        except QuotaExceeded:
            for (quota, amount), receipt in zip(items, receipts, strict=False):
                counters.refund(quota, amount, receipt, boot_ns)
            counters.forget_crossings(boot_ns, utc_ns)
            raise
        if held is not None:
            held.amounts = {quota: amount for quota, amount in items if quota in HELD and amount}
            held.receipts = dict(zip((quota for quota, _ in items), receipts, strict=True))
            if held.amounts:
                counters.held.add(held)
        return receipts

    def _tell(self, crossings: Sequence[Crossing]) -> None:
        """Call ``on_crossing`` outside of the lock, once for each crossing."""
        if (told := self.on_crossing) is None:
            return
        for quota, percent, used, limit in crossings:
            try:
                told(quota.limit_name, percent, used, limit)
            except Exception:
                logger.exception("on_crossing of %s at %d %%", quota.limit_name, percent)

    def reserve(
        self,
        *,
        documents: int = 0,
        vectors: int = 0,
        storage: int = 0,
        dimensions: int = 0,
        embeddings: int = 0,
        tokens: int = 0,
        cost: int = 0,
        api_calls: int = 0,
        queries: int = 0,
        lease: float = LEASE_S,
    ) -> Reservation:
        """Charge now, all or nothing, and decide later what is kept."""
        amounts = (
            *(documents, vectors, storage, dimensions),
            *(embeddings, tokens, cost, api_calls, queries),
        )
        items = [(quota, to_amount(amount)) for quota, amount in zip(Quota, amounts, strict=True)]
        return Reservation(self, items, to_lease_ns(lease))

    def require_room(
        self, *, documents: int = 0, vectors: int = 0, storage: int = 0, dimensions: int = 0
    ) -> None:
        """Raise QuotaExceeded where :meth:`reserve` would; charge nothing, and tell nobody."""
        amounts = [to_amount(amount) for amount in (documents, vectors, storage, dimensions)]
        with self._live().locked():
            for quota, amount in zip(LEVELS, amounts, strict=True):
                try:
                    self._counters.require_room(quota, amount)
                except QuotaExceeded:
                    if not self._counters.sweep(now_ns()):
                        raise
                    self._counters.require_room(quota, amount)

    def refund(self, quota: int, amount: int) -> None:
        """Give back what was charged just now; never below zero."""
        boot_ns = now_ns()
        checked = to_quota(quota), to_amount(amount)
        with self._live().locked():
            receipt = self._counters.receipt_at(*checked, boot_ns, boot_ns + self._offset)
            self._counters.refund(*checked, receipt, boot_ns)

    def set_level(self, quota: int, used: int) -> None:
        """Set a level to what the log says; what is reserved is kept on top."""
        if quota not in LEVELS:
            raise InputError(
                f"only documents, vectors, storage and dimensions have levels, got {quota}"
            )
        with self._live().locked():
            self._counters.set_level(Quota(quota), to_amount(used))

    def set_levels(self, documents: int, vectors: int, storage: int, dimensions: int) -> None:
        """Set all levels; :attr:`levels_known` is true from then on."""
        amounts = [to_amount(used) for used in (documents, vectors, storage, dimensions)]
        with self._live().locked():
            for level, used in zip(LEVELS, amounts, strict=True):
                self._counters.set_level(level, used)
            self._counters.levels_known = True

    @property
    def levels_known(self) -> bool:
        """Whether the levels were set since the slot was made."""
        return self._live().levels_known

    @property
    def suspension(self) -> str:
        """What the tenant may not do: "none", "writes", or "all", which charges refuse."""
        return self._live().suspension

    @suspension.setter
    def suspension(self, value: str) -> None:
        if value not in ("none", "writes", "all"):
            raise InputError(f"suspension must be 'none', 'writes' or 'all', got {value!r}")
        self._live().suspension = value

    @property
    def log_head(self) -> int:
        """Sequence of the newest committed record; 0 if unknown."""
        return self._live().log_head

    def publish(self, sequence: int) -> None:
        """Raise :attr:`log_head` to ``sequence`` at least."""
        with self._live().locked():
            self._counters.log_head = max(self._counters.log_head, sequence)

    def set_log_head(self, sequence: int) -> None:
        """Set :attr:`log_head`; for the process that opens the tenant under its write lock."""
        with self._live().locked():
            self._counters.log_head = sequence

    def set_limit(self, quota: int, limit: int | None, *, soft: bool = False) -> None:
        """Set one limit in the quota's own unit; None is unlimited, a soft one refuses nothing."""
        checked = None if limit is None else to_amount(limit)
        with self._live().locked():
            self._counters.limits[to_quota(quota)] = checked
            (self._counters.soft.add if soft else self._counters.soft.discard)(to_quota(quota))

    def set_limits(self, limits: QuotaLimits) -> None:
        """Set all limits. Use beyond a new limit stays; it only admits nothing more."""
        for quota, limit, soft in limits_in_units(limits):
            self.set_limit(quota, limit, soft=soft)

    def read(self, quota: int) -> tuple[int, int | None]:
        """Return ``(used, limit)``; limit is None where unlimited."""
        return self.read_at(quota, now_ns())

    def read_at(self, quota: int, boot_ns: int) -> tuple[int, int | None]:
        """Like :meth:`read`, at a given time in ns since boot."""
        checked = to_quota(quota)
        with self._live().locked():
            used = self._counters.used(checked, boot_ns, boot_ns + self._offset)
            return used, self._counters.limits[checked]

    def usage(self) -> Usage:
        """Use and limit of every quota, read without walking data."""
        return Usage.read(self.read)

    def _live(self) -> Counters:
        if self._counters.released:
            raise ClosedError("the quota slot of this tenant has been released")
        return self._counters
