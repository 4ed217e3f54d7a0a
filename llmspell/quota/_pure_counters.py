"""The arithmetic of :mod:`llmspell.quota._pure`, after csrc/ledger/slot.hpp."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, NoReturn

from llmspell.errors import QuotaExceeded
from llmspell.quota.model import Quota

__all__ = ["LEVELS", "MAX_AMOUNT", "Counters", "Receipt"]

MINUTE_NS = 60_000_000_000
DAY_NS = 86_400_000_000_000
LEVELS = (Quota.DOCUMENTS, Quota.VECTORS, Quota.STORAGE)
MAX_AMOUNT = (1 << 63) - 1
MAX_LEVEL = (1 << 48) - 1


class Receipt(NamedTuple):
    """What a charge did: when, on which day, and what it cost of the rate."""

    boot_ns: int
    day: int = 0
    cost_ns: int = 0


class Counters:
    """State of one slot. Not thread-safe: use it within ``locked()``."""

    def __init__(self) -> None:
        self.abandoned: deque[Callable[[], None]] = deque()  # what was collected while it was open
        self._lock = threading.Lock()
        self.released = False
        self.levels = dict.fromkeys(LEVELS, 0)
        self.held = dict.fromkeys(LEVELS, 0)
        self.limits: dict[Quota, int | None] = dict.fromkeys(Quota)
        self.day = 0
        self.day_used = 0
        self.arrival = 0

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock, after giving back what abandoned reservations held."""
        with self._lock:
            while self.abandoned:
                self.abandoned.popleft()()
            yield

    def charge(self, quota: Quota, amount: int, boot_ns: int, utc_ns: int) -> Receipt:
        """Charge, and return what a refund has to know."""
        limit = self.limits[quota]
        if amount == 0:
            return Receipt(boot_ns)
        if quota is Quota.EMBEDDINGS:
            # A clock that reads an earlier day than the one charged last opens nothing.
            day = max(utc_ns // DAY_NS, self.day)
            used = self.day_used if day == self.day else 0
            if limit is not None and used + amount > limit:
                wait = DAY_NS if day > utc_ns // DAY_NS else DAY_NS - utc_ns % DAY_NS
                _refuse(quota, limit, used, amount, wait if amount <= limit else None)
            self.day, self.day_used = day, used + amount
            return Receipt(boot_ns, day=day)
        elif quota is Quota.API_CALLS:
            if limit is None:
                return Receipt(boot_ns)
            if amount > limit:
                _refuse(quota, limit, self.calls_used(boot_ns), amount, None)
            start = max(self.arrival, boot_ns)
            arrival = start + amount * _interval_ns(limit)
            excess = arrival - boot_ns - limit * _interval_ns(limit)
            if excess > 0:
                _refuse(quota, limit, self.calls_used(boot_ns), amount, excess)
            self.arrival = arrival
            return Receipt(boot_ns, cost_ns=amount * _interval_ns(limit))
        else:
            used = self.levels[quota]
            if used + amount > min(MAX_LEVEL, MAX_AMOUNT if limit is None else limit):
                _refuse(quota, MAX_AMOUNT if limit is None else limit, used, amount, None)
            self.levels[quota] = used + amount
            return Receipt(boot_ns)

    def receipt_at(self, quota: Quota, amount: int, boot_ns: int, utc_ns: int) -> Receipt:
        """Of a charge that is taken to have been made then, under the present limits."""
        limit = self.limits[quota]
        cost = min(amount, limit) * _interval_ns(limit) if limit else 0
        return Receipt(boot_ns, utc_ns // DAY_NS, cost)

    def refund(self, quota: Quota, amount: int, receipt: Receipt, boot_ns: int) -> None:
        if quota is Quota.EMBEDDINGS:
            if self.day <= receipt.day:
                self.day_used = max(self.day_used - amount, 0)
        elif quota is Quota.API_CALLS:
            owed = max(receipt.cost_ns - max(boot_ns - receipt.boot_ns, 0), 0)
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


def _interval_ns(limit: int) -> int:
    # Rounded up, so that a burst of `limit` is followed by no more than `limit` a minute.
    return -(-MINUTE_NS // limit)


def _refuse(quota: Quota, limit: int, used: int, requested: int, retry_ns: int | None) -> NoReturn:
    raise QuotaExceeded(
        quota=quota.limit_name,
        limit=limit,
        used=used,
        requested=requested,
        retry_after=None if retry_ns is None else retry_ns / 1e9,
    )
