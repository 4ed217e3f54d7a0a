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
from typing import NoReturn, Self

from llmspell.config import QuotaLimits
from llmspell.errors import ClosedError, InputError, QuotaExceeded, StorageFull
from llmspell.quota.model import Quota, Usage, limits_in_units

__all__ = ["Ledger", "Reservation", "Slot"]

MINUTE_NS = 60_000_000_000
DAY_NS = 86_400_000_000_000
KEY_BYTES = 16
LEVELS = (Quota.DOCUMENTS, Quota.VECTORS, Quota.STORAGE)
MAX_AMOUNT = (1 << 63) - 1


def now_ns() -> int:
    """Nanoseconds since boot, on a clock that never steps."""
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class _Counters:
    """State of one slot; its lock is held around every use."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.released = False
        self.levels = dict.fromkeys(LEVELS, 0)
        self.held = dict.fromkeys(LEVELS, 0)
        self.limits: dict[Quota, int | None] = dict.fromkeys(Quota)
        self.day = 0
        self.day_used = 0
        self.arrival = 0

    def charge(self, quota: Quota, amount: int, boot_ns: int, utc_ns: int) -> None:
        limit = self.limits[quota]
        if amount == 0:
            return
        if quota is Quota.EMBEDDINGS:
            # A clock that reads an earlier day than the one charged last opens nothing.
            day = max(utc_ns // DAY_NS, self.day)
            used = self.day_used if day == self.day else 0
            if limit is not None and used + amount > limit:
                wait = DAY_NS if day > utc_ns // DAY_NS else DAY_NS - utc_ns % DAY_NS
                _refuse(quota, limit, used, amount, wait if amount <= limit else None)
            self.day, self.day_used = day, used + amount
        elif quota is Quota.API_CALLS:
            if limit is None:
                return
            if amount > limit:
                _refuse(quota, limit, self.calls_used(boot_ns), amount, None)
            start = max(self.arrival, boot_ns)
            arrival = start + amount * _interval_ns(limit)
            excess = arrival - boot_ns - limit * _interval_ns(limit)
            if excess > 0:
                _refuse(quota, limit, self.calls_used(boot_ns), amount, excess)
            self.arrival = arrival
        else:
            used = self.levels[quota]
            if used + amount > (MAX_AMOUNT if limit is None else limit):
                _refuse(quota, MAX_AMOUNT if limit is None else limit, used, amount, None)
            self.levels[quota] = used + amount

    def refund(self, quota: Quota, amount: int, charged: tuple[int, int], boot_ns: int) -> None:
        if quota is Quota.EMBEDDINGS:
            if self.day <= charged[1] // DAY_NS:
                self.day_used = max(self.day_used - amount, 0)
        elif quota is Quota.API_CALLS:
            limit = self.limits[quota]
            if limit:
                passed = max(boot_ns - charged[0], 0)
                owed = max(min(amount, limit) * _interval_ns(limit) - passed, 0)
                self.arrival = max(self.arrival - owed, 0)
        else:
            self.levels[quota] = max(self.levels[quota] - amount, 0)

    def calls_used(self, boot_ns: int) -> int:
        limit = self.limits[Quota.API_CALLS]
        if not limit or self.arrival <= boot_ns:
            return 0
        return min((self.arrival - boot_ns - 1) // _interval_ns(limit) + 1, limit)

    def used(self, quota: Quota, boot_ns: int, utc_ns: int) -> int:
        if quota is Quota.EMBEDDINGS:
            return self.day_used if self.day >= utc_ns // DAY_NS else 0
        return self.calls_used(boot_ns) if quota is Quota.API_CALLS else self.levels[quota]


class _Table:
    """Slots of one path, and the calendar fixed when the path was first opened."""

    def __init__(self, capacity: int) -> None:
        self.lock = threading.Lock()
        self.capacity = capacity
        self.counters: dict[bytes, _Counters] = {}
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
        with counters.lock:
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
            self._counters = counters.setdefault(key, _Counters())

    def charge(self, quota: int, amount: int = 1) -> None:
        """Charge ``amount`` of a quota, or raise QuotaExceeded and charge nothing."""
        self.charge_at(quota, amount, now_ns())

    def charge_at(self, quota: int, amount: int, boot_ns: int) -> None:
        """Like :meth:`charge`, at a given time in ns since boot (see :func:`now_ns`)."""
        checked = _to_quota(quota), _to_amount(amount)
        with self._live().lock:
            self._counters.charge(*checked, boot_ns, boot_ns + self._offset)

    def charge_all(self, *pairs: tuple[int, int]) -> None:
        """Charge all ``(quota, amount)`` pairs, or none of them."""
        if len(pairs) > len(Quota):
            raise InputError(f"at most {len(Quota)} quotas can be charged at once")
        self._charge_all([(_to_quota(quota), _to_amount(amount)) for quota, amount in pairs])

    def _charge_all(self, items: Sequence[tuple[Quota, int]]) -> tuple[int, int]:
        boot_ns = now_ns()
        now = boot_ns, boot_ns + self._offset
        done: list[tuple[Quota, int]] = []
        with self._live().lock:
            try:
                for item in items:
                    self._counters.charge(*item, *now)
                    done.append(item)
            except QuotaExceeded:
                for quota, amount in done:
                    self._counters.refund(quota, amount, now, boot_ns)
                raise
        return now

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
        with self._live().lock:
            self._counters.refund(
                _to_quota(quota), _to_amount(amount), (boot_ns, boot_ns + self._offset), boot_ns
            )

    def set_level(self, quota: int, used: int) -> None:
        """Set a level to what the log says; what is reserved is kept on top."""
        if quota not in LEVELS:
            raise InputError(f"only documents, vectors and storage have levels, got {quota}")
        level = Quota(quota)
        with self._live().lock:
            self._counters.levels[level] = _to_amount(used) + self._counters.held[level]

    def set_limit(self, quota: int, limit: int | None) -> None:
        """Set one limit, in the quota's own unit (storage in bytes); None is unlimited."""
        checked = None if limit is None else _to_amount(limit)
        with self._live().lock:
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
        with self._live().lock:
            used = self._counters.used(checked, boot_ns, boot_ns + self._offset)
            return used, self._counters.limits[checked]

    def usage(self) -> Usage:
        """Use and limit of every quota, read without walking data."""
        return Usage.read(self.read)

    def _live(self) -> _Counters:
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
        self._charged = slot._charge_all(self._items)
        with slot._counters.lock:
            for level in LEVELS:
                slot._counters.held[level] += self._items[level][1]
        self._open = True

    def __del__(self) -> None:
        self.cancel()

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
        counters = self.slot._counters
        with counters.lock:
            for (quota, reserved), keep in zip(self._items, kept, strict=True):
                if quota in LEVELS:
                    counters.held[quota] -= reserved
                counters.refund(quota, reserved - keep, self._charged, now_ns())

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


def _interval_ns(limit: int) -> int:
    # Rounded up, so that a burst of `limit` is followed by no more than `limit` a minute.
    return -(-MINUTE_NS // limit)


def _to_amount(value: int) -> int:
    if not 0 <= value <= MAX_AMOUNT:
        raise InputError(f"an amount must be an int from 0 to 2**63 - 1, got {value!r}")
    return value


def _to_quota(quota: int) -> Quota:
    if not 0 <= quota < len(Quota):
        raise InputError(f"a quota must be an int from 0 to {len(Quota) - 1}, got {quota}")
    return Quota(quota)


def _refuse(quota: Quota, limit: int, used: int, requested: int, retry_ns: int | None) -> NoReturn:
    raise QuotaExceeded(
        quota=quota.limit_name,
        limit=limit,
        used=used,
        requested=requested,
        retry_after=None if retry_ns is None else retry_ns / 1e9,
    )
