"""The arithmetic of :mod:`llmspell.quota._pure`, after csrc/ledger/slot.hpp."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple, NoReturn

from llmspell.errors import QuotaExceeded
from llmspell.quota.model import Quota

__all__ = ["HELD", "LEVELS", "MAX_AMOUNT", "Counters", "Crossing", "Held", "Receipt"]

SECOND_NS = 1_000_000_000
DAY_NS = 86_400 * SECOND_NS
LEVELS = (Quota.DOCUMENTS, Quota.VECTORS, Quota.STORAGE, Quota.DIMENSIONS)
WINDOWS = (Quota.EMBEDDINGS, Quota.TOKENS, Quota.COST)
HELD = LEVELS + WINDOWS  # what a reservation holds; rates come back with time
PERIODS_NS = {Quota.API_CALLS: 60 * SECOND_NS, Quota.QUERIES: SECOND_NS}
MAX_AMOUNT = (1 << 63) - 1
RANGES = {
    **dict.fromkeys(LEVELS, (1 << 48) - 1),
    **dict.fromkeys(WINDOWS, (1 << 36) - 1),
    Quota.COST: (1 << 40) - 1,
}


class Receipt(NamedTuple):
    """What a charge did: when, in which period, and what it cost of the rate."""

    boot_ns: int
    period: int = 0
    cost_ns: int = 0


class Crossing(NamedTuple):
    """A charge took use from below ``percent`` of the limit to it or beyond."""

    quota: Quota
    percent: int
    used: int
    limit: int


@dataclass(eq=False)
class Held:
    """What an open reservation holds, and until when."""

    lease_end: int
    amounts: dict[Quota, int] = field(default_factory=dict)
    receipts: dict[Quota, Receipt] = field(default_factory=dict)


class Counters:
    """State of one slot. Not thread-safe: use it within ``locked()``."""

    def __init__(self) -> None:
        self.abandoned: deque[Callable[[], None]] = deque()  # what was collected while it was open
        self._lock = threading.Lock()
        self.released = False
        self.levels_known = False
        self.suspension = "none"
        self.log_head = 0
        self.levels = dict.fromkeys(LEVELS, 0)
        self.limits: dict[Quota, int | None] = dict.fromkeys(Quota)
        self.soft: set[Quota] = set()
        self.windows = dict.fromkeys(WINDOWS, (0, 0))  # period and use in it
        self.arrivals = dict.fromkeys(PERIODS_NS, 0)
        self.told: dict[tuple[Quota, int], int] = {}
        self.held: set[Held] = set()
        self.crossings: list[Crossing] = []

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock, after giving back what abandoned reservations held."""
        with self._lock:
            while self.abandoned:
                self.abandoned.popleft()()
            yield

    def charge(self, quota: Quota, amount: int, boot_ns: int, utc_ns: int) -> Receipt:
        """Charge, and return what a refund has to know. Crossings are added to ``crossings``."""
        if amount == 0:
            return Receipt(boot_ns)
        if quota in PERIODS_NS:
            return self._charge_rate(quota, amount, boot_ns)
        period, used = self._window(quota, utc_ns) if quota in WINDOWS else (0, self.levels[quota])
        room, limit = self._room(quota), self.limits[quota]
        if used + amount > room:
            wait = None
            if quota in WINDOWS and amount <= room:
                wait = _end_of(quota, period) - utc_ns
            _refuse(quota, room, used, amount, wait)
        if quota in WINDOWS:
            self.windows[quota] = (period, used + amount)
        else:
            self.levels[quota] = used + amount
        if limit is not None:
            self._watch(quota, limit, used, used + amount)
        return Receipt(boot_ns, period=period)

    def require_room(self, quota: Quota, amount: int) -> None:
        """Refuse what a level would not take; charge nothing."""
        if amount and self.levels[quota] + amount > self._room(quota):
            _refuse(quota, self._room(quota), self.levels[quota], amount, None)

    def _room(self, quota: Quota) -> int:
        limit = self.limits[quota]
        room = RANGES[quota]
        return room if limit is None or quota in self.soft else min(room, limit)

    def receipt_at(self, quota: Quota, amount: int, boot_ns: int, utc_ns: int) -> Receipt:
        """Of a charge that is taken to have been made then, under the present limits."""
        limit = self.limits[quota]
        if quota in PERIODS_NS:
            cost = min(amount, limit) * _interval_ns(quota, limit) if limit else 0
            return Receipt(boot_ns, cost_ns=cost)
        if quota not in WINDOWS:
            return Receipt(boot_ns)
        # Where the calendar has stepped back over midnight, the charge went into the day behind.
        return Receipt(boot_ns, max(_period_of(quota, utc_ns), self.windows[quota][0]))

    def refund(self, quota: Quota, amount: int, receipt: Receipt, boot_ns: int) -> None:
        if quota in WINDOWS:
            period, used = self.windows[quota]
            if period <= receipt.period:
                self.windows[quota] = (period, max(used - amount, 0))
        elif quota in PERIODS_NS:
            owed = max(receipt.cost_ns - max(boot_ns - receipt.boot_ns, 0), 0)
            self.arrivals[quota] = max(self.arrivals[quota] - owed, 0)
        else:
            self.levels[quota] = max(self.levels[quota] - amount, 0)

    def set_level(self, quota: Quota, used: int) -> None:
        """What is reserved is kept on top."""
        self.levels[quota] = used + sum(held.amounts.get(quota, 0) for held in self.held)

    def forget_crossings(self, boot_ns: int, utc_ns: int) -> None:
        """Take back those that rolling their charge back has undone."""
        undone = [
            crossing
            for crossing in self.crossings
            if self.used(crossing.quota, boot_ns, utc_ns)
            < _threshold(crossing.limit, crossing.percent)
        ]
        self.crossings = [crossing for crossing in self.crossings if crossing not in undone]
        for crossing in undone:  # a rate may tell of the next one at once
            self.told.pop((crossing.quota, crossing.percent), None)

    def give_back(self, held: Held, kept: dict[Quota, int], boot_ns: int) -> bool:
        """End a reservation; False where a sweep has ended it before."""
        if held.amounts and held not in self.held:
            return False
        self.held.discard(held)
        for quota, reserved in held.amounts.items():
            back = reserved - kept.get(quota, 0)
            if back:
                self.refund(quota, back, held.receipts[quota], boot_ns)
        return True

    def sweep(self, boot_ns: int) -> int:
        """Give back reservations whose lease has passed."""
        over = [held for held in self.held if held.lease_end <= boot_ns]
        for held in over:
            self.give_back(held, {}, boot_ns)
        return len(over)

    def used(self, quota: Quota, boot_ns: int, utc_ns: int) -> int:
        if quota in WINDOWS:
            return self._window(quota, utc_ns)[1]
        if quota in PERIODS_NS:
            return self._units(quota, self.arrivals[quota] - boot_ns)
        return self.levels[quota]

    def _window(self, quota: Quota, utc_ns: int) -> tuple[int, int]:
        # A clock that reads an earlier day than the one charged last opens nothing.
        today = _period_of(quota, utc_ns)
        period, used = self.windows[quota]
        return (period, used) if used and period >= today else (today, 0)

    def _charge_rate(self, quota: Quota, amount: int, boot_ns: int) -> Receipt:
        limit = self.limits[quota]
        if limit is None:
            return Receipt(boot_ns)
        soft = quota in self.soft
        if limit == 0:
            return Receipt(boot_ns) if soft else _refuse(quota, limit, 0, amount, None)
        interval = _interval_ns(quota, limit)
        burst = limit * interval
        debt = max(self.arrivals[quota] - boot_ns, 0)
        after = debt + amount * interval
        if after > burst and not soft:
            wait = after - burst if amount <= limit else None
            _refuse(quota, limit, self._units(quota, debt), amount, wait)
        debt, after = min(debt, burst), min(after, burst)
        self.arrivals[quota] = boot_ns + after
        before, now = self._units(quota, debt), self._units(quota, after)
        for percent in (80, 100):
            crossed = before < _threshold(limit, percent) <= now
            # A rate in steady use goes up and down about it with each call.
            if crossed and self.told.get((quota, percent), 0) <= boot_ns:
                self.told[quota, percent] = boot_ns + PERIODS_NS[quota]
                self.crossings.append(Crossing(quota, percent, now, limit))
        return Receipt(boot_ns, cost_ns=after - debt)

    def _watch(self, quota: Quota, limit: int, before: int, after: int) -> None:
        for percent in (80, 100):
            if before < _threshold(limit, percent) <= after:
                self.crossings.append(Crossing(quota, percent, after, limit))

    def _units(self, quota: Quota, debt_ns: int) -> int:
        limit = self.limits[quota]
        if not limit or debt_ns <= 0:
            return 0
        return min((debt_ns - 1) // _interval_ns(quota, limit) + 1, limit)


def _threshold(limit: int, percent: int) -> int:
    return limit if percent == 100 else limit - limit // 5


def _interval_ns(quota: Quota, limit: int) -> int:
    # Rounded up, so that a burst of `limit` is followed by no more than `limit` a period.
    return -(-PERIODS_NS[quota] // limit)


def _period_of(quota: Quota, utc_ns: int) -> int:
    if quota is not Quota.COST:
        return utc_ns // DAY_NS
    day = time.gmtime(utc_ns // SECOND_NS)
    return (day.tm_year - 1970) * 12 + day.tm_mon - 1


def _end_of(quota: Quota, period: int) -> int:
    if quota is not Quota.COST:
        return (period + 1) * DAY_NS
    years, month = divmod(period + 1, 12)
    return (date(1970 + years, month + 1, 1) - date(1970, 1, 1)).days * DAY_NS


def _refuse(quota: Quota, limit: int, used: int, requested: int, retry_ns: int | None) -> NoReturn:
    raise QuotaExceeded(
        quota=quota.limit_name,
        limit=limit,
        used=used,
        requested=requested,
        retry_after=None if retry_ns is None else retry_ns / 1e9,
    )
