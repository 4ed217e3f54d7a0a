"""The ledger in pure Python: the same rules as csrc/ledger/slot.hpp, within one process.

It exists as the second opinion that the tests run beside the native ledger, and for platforms
without shared memory mappings. It knows nothing of other processes, of restarts, or of what a dead
process held, and it is an order of magnitude slower. ``LLMSPELL_PURE=1`` chooses it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from llmspell.config import QuotaLimits
from llmspell.errors import ClosedError, InputError, QuotaExceeded, StorageFull
from llmspell.quota._pure_counters import LEVELS, MAX_AMOUNT, Counters, Receipt
from llmspell.quota.model import Quota, Usage, limits_in_units

__all__ = ["Ledger", "Reservation", "Slot"]

KEY_BYTES = 16


def now_ns() -> int:
    """Nanoseconds since boot, on a clock that never steps."""
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


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

    def slot(self, key: bytes) -> Slot:
        """Find or make the slot of a key of 16 bytes; raises InputError and StorageFull."""
        return Slot(self, key)

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
        """Return 0: no other process can have reserved anything here."""
        return 0

    @property
    def capacity(self) -> int:
        """Slots that may be made."""
        return self._table.capacity

    def __len__(self) -> int:
        return len(self._table.counters)


class Slot:
    """One tenant's counters. Thread-safe; the interface of :class:`llmspell._hot.Slot`."""

    def __init__(self, ledger: Ledger, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise InputError(f"a key must have {KEY_BYTES} bytes, got {len(key)}")
        self.ledger = ledger
        self._offset = ledger._table.utc_offset
        with ledger._table.lock:
            counters = ledger._table.counters
            if key not in counters and len(counters) >= ledger.capacity:
                raise StorageFull(f"{ledger.path}: no slot left; open it with a larger capacity")
            self._counters = counters.setdefault(key, Counters())

    def charge(self, quota: int, amount: int = 1) -> None:
        """Charge ``amount`` of a quota, or raise QuotaExceeded and charge nothing."""
        self.charge_at(quota, amount, now_ns())

    def charge_at(self, quota: int, amount: int, boot_ns: int) -> None:
        """Like :meth:`charge`, at a given time in ns since boot (see :func:`now_ns`)."""
        checked = _to_quota(quota), _to_amount(amount)
        with self._live().locked():
            self._counters.charge(*checked, boot_ns, boot_ns + self._offset)

    def charge_all(self, *pairs: tuple[int, int]) -> None:
        """Charge all ``(quota, amount)`` pairs, or none of them."""
        if len(pairs) > len(Quota):
            raise InputError(f"at most {len(Quota)} quotas can be charged at once")
        self._charge_all([(_to_quota(quota), _to_amount(amount)) for quota, amount in pairs])

    def _charge_all(self, items: Sequence[tuple[Quota, int]]) -> list[Receipt]:
        boot_ns = now_ns()
        receipts: list[Receipt] = []
        with self._live().locked():
            try:
                for item in items:
                    receipts.append(self._counters.charge(*item, boot_ns, boot_ns + self._offset))
            except QuotaExceeded:
                for (quota, amount), receipt in zip(items, receipts, strict=False):
                    self._counters.refund(quota, amount, receipt, boot_ns)
                raise
        return receipts

    def reserve(
        self,
        *,
        documents: int = 0,
        vectors: int = 0,
        storage: int = 0,
        embeddings: int = 0,
        api_calls: int = 0,
    ) -> Reservation:
        """Charge now, all or nothing, and decide later what is kept."""
        return Reservation(self, documents, vectors, storage, embeddings, api_calls)

    def refund(self, quota: int, amount: int) -> None:
        """Give back what was charged just now; never below zero."""
        boot_ns = now_ns()
        checked = _to_quota(quota), _to_amount(amount)
        with self._live().locked():
            receipt = self._counters.receipt_at(*checked, boot_ns, boot_ns + self._offset)
            self._counters.refund(*checked, receipt, boot_ns)

    def set_level(self, quota: int, used: int) -> None:
        """Set a level to what the log says; what is reserved is kept on top."""
        if quota not in LEVELS:
            raise InputError(f"only documents, vectors and storage have levels, got {quota}")
        level = Quota(quota)
        with self._live().locked():
            self._counters.levels[level] = _to_amount(used) + self._counters.held[level]

    def set_limit(self, quota: int, limit: int | None) -> None:
        """Set one limit, in the quota's own unit (storage in bytes); None is unlimited."""
        checked = None if limit is None else _to_amount(limit)
        with self._live().locked():
            self._counters.limits[_to_quota(quota)] = checked

    def set_limits(self, limits: QuotaLimits) -> None:
        """Set all limits. Use beyond a new limit stays; it only admits nothing more."""
        for quota, limit in limits_in_units(limits):
            self.set_limit(quota, limit)

    def read(self, quota: int) -> tuple[int, int | None]:
        """Return ``(used, limit)``; limit is None where unlimited."""
        return self.read_at(quota, now_ns())

    def read_at(self, quota: int, boot_ns: int) -> tuple[int, int | None]:
        """Like :meth:`read`, at a given time in ns since boot."""
        checked = _to_quota(quota)
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


class Reservation:
    """Amounts charged to a slot but not yet settled. Use it from one thread at a time."""

    def __init__(self, slot: Slot, *amounts: int) -> None:
        self._open = False
        self.slot = slot
        self._items = [
            (quota, _to_amount(amount)) for quota, amount in zip(Quota, amounts, strict=True)
        ]
        self._owner = os.getpid()
        self._receipts = slot._charge_all(self._items)
        with slot._counters.locked():
            for level in LEVELS:
                slot._counters.held[level] += self._items[level][1]
        self._open = True

    def __del__(self) -> None:
        # The collector may run inside the lock that giving back would wait for.
        if self._open:
            self.slot._counters.abandoned.append(self._abandon)

    def _abandon(self) -> None:
        self._open = False
        self._give_back([0] * len(self._items))

    def settle(
        self,
        *,
        documents: int | None = None,
        vectors: int | None = None,
        storage: int | None = None,
    ) -> None:
        """Keep what was used and give the rest back; None keeps all that was reserved."""
        if not self._open:
            raise ClosedError("the reservation has been settled or cancelled")
        kept = []
        levels = self._items[: len(LEVELS)]
        for (quota, reserved), amount in zip(levels, (documents, vectors, storage), strict=True):
            kept.append(reserved if amount is None else _to_amount(amount))
            if kept[-1] > reserved:
                raise InputError(f"{quota.limit_name}: {kept[-1]} kept, but {reserved} reserved")
        self._finish([*kept, *(amount for _, amount in self._items[len(LEVELS) :])])

    def cancel(self) -> None:
        """Give everything back; does nothing after :meth:`settle` or :meth:`cancel`."""
        if self._open:
            self._finish([0] * len(self._items))

    def _finish(self, kept: Sequence[int]) -> None:
        self._open = False
        if self._owner != os.getpid():  # a forked child has its own copy of the counters
            return
        with self.slot._counters.locked():
            self._give_back(kept)

    def _give_back(self, kept: Sequence[int]) -> None:
        counters = self.slot._counters
        for (quota, reserved), keep, receipt in zip(self._items, kept, self._receipts, strict=True):
            if quota in LEVELS:
                counters.held[quota] -= reserved
            # Of what is partly kept, only levels are given back.
            if keep < reserved:
                counters.refund(quota, reserved - keep, receipt, now_ns())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._open:
            return
        if kind is None:
            self.settle()
        else:
            self.cancel()


def _to_amount(value: int) -> int:
    if not 0 <= value <= MAX_AMOUNT:
        raise InputError(f"an amount must be an int from 0 to 2**63 - 1, got {value!r}")
    return value


def _to_quota(quota: int) -> Quota:
    if not 0 <= quota < len(Quota):
        raise InputError(f"a quota must be an int from 0 to {len(Quota) - 1}, got {quota}")
    return Quota(quota)
