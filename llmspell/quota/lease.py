"""What one host holds of one tenant's quotas; arithmetic of :mod:`llmspell.quota.shared`."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from llmspell.quota._pure_counters import LEVELS
from llmspell.quota.model import Quota

__all__ = ["Aside", "Granted", "Items", "Leases", "Sent"]

QUOTAS = len(Quota)
WINDOWS = (Quota.EMBEDDINGS, Quota.TOKENS, Quota.COST)

#: Pairs of a quota and an amount.
Items = Sequence[tuple[Quota, int]]


class Aside(NamedTuple):
    """What was put aside of a quota, and the generation that it belongs to."""

    amount: int
    gen: int


class Sent(NamedTuple):
    """One quota's part of a request, in the order that ``shared.lua`` reads."""

    gen: int
    used: int
    keep: int
    base: int
    want: int = 0
    asked: int = 0
    extra: int = 0
    limit: int = -1
    soft: bool = False


class Granted(NamedTuple):
    """One quota's part of a reply, in the order that ``shared.lua`` writes."""

    gen: int
    granted: int
    base: int
    used: int
    limit: int
    soft: bool
    left_us: int


@dataclass(slots=True)
class _Held:
    """Of one quota. ``avail`` may be charged until ``end``; the rest is spoken for."""

    gen: int = 0  #: how often a level was set, or the period of a window
    used: int = 0  #: by this host in ``gen``; below zero where it gave back what others used
    told: int = 0  #: the last ``used`` that the server has confirmed
    avail: int = 0
    spoken: int = 0  #: reserved, or put aside for a charge that asks for more
    base: int = 0  #: what hosts used that have left, as the server said last: it may forget
    chunk: int = 1  #: asked for beyond what is needed
    end: int = 0
    limit: int = -1  #: with ``soft``, as the server said last
    soft: bool = False
    touched: bool = False
    over: int = 0  #: when the period of a window ends


class Leases:
    """Units that this host holds of one tenant's quotas. Thread-safe.

    ``lease`` is the most units of a quota that are asked for ahead of use. A host asks for few at
    first and for twice as many each time that they run out; it returns what it has not touched
    between two beats, so that little is lost with a host that dies.
    """

    def __init__(self, lease: int) -> None:
        self._lease = lease
        # Reentrant: the collector may end a call of a loop that was closed while this is held. It
        # may at any call, so that nothing is called between the reading and the writing of a count.
        self._lock = threading.RLock()
        self._held = [_Held() for _ in range(QUOTAS)]

    def take(self, items: Items, now: int, *, reserve: bool = False) -> bool:
        """Charge or reserve all of ``items`` from what is held, or nothing."""
        with self._lock:
            for quota, amount in items:
                held = self._held[quota]
                held.touched = True
                if amount > held.avail or (amount and now >= held.end):
                    return False
            for quota, amount in items:
                held = self._held[quota]
                held.avail -= amount
                if reserve:
                    held.spoken += amount
                else:
                    held.used += amount
            return True

    def put_aside(self, items: Items, now: int) -> dict[Quota, Aside]:
        """Keep what is held of ``items`` for the charge that asks for the rest of them."""
        with self._lock:
            aside = {}
            for quota, amount in items:
                held = self._held[quota]
                self._void_if_over(held, now)
                aside[quota] = Aside(min(held.avail, amount), held.gen)
                held.avail -= aside[quota].amount
                held.spoken += aside[quota].amount
            return aside

    def end_aside(self, aside: dict[Quota, Aside], now: int) -> None:
        """Make what was put aside chargeable again."""
        with self._lock:
            for quota, part in aside.items():
                held = self._held[quota]
                if not self._is_over(quota, part.gen):
                    self._unspeak(held, part.amount, now)

    def request(
        self, items: Items, aside: dict[Quota, Aside], now: int, *, idle: bool, leaving: bool
    ) -> list[Sent]:
        """What to tell the server; ``idle`` returns what wasn't touched since it was last asked."""
        wants = dict(items)
        with self._lock:
            sent = []
            for quota, held in zip(Quota, self._held, strict=True):
                self._void_if_over(held, now)
                if leaving:
                    held.avail = held.spoken = 0
                elif idle:
                    if not held.touched:
                        held.avail, held.chunk = 0, max(held.chunk // 2, 1)
                    if held.avail > self._lease:
                        held.avail = self._lease
                    held.touched = False
                asked = wants.get(quota, 0)
                want = asked - aside[quota].amount if asked else 0
                extra = 0
                if want:
                    extra = max(min(held.chunk, self._lease - held.avail), 0)
                    held.chunk = min(held.chunk * 2, self._lease)
                counts = (held.gen, held.used, held.avail + held.spoken, held.base)
                sent.append(Sent(*counts, want, asked, extra, held.limit, held.soft))
            return sent

    def receive(
        self, sent: Sequence[Sent], parts: Sequence[Granted], now: int, end: int, *, first: bool
    ) -> None:
        """Take over what the server granted; ``now`` is from before the request was sent."""
        with self._lock:
            for quota, held, told, part in zip(Quota, self._held, sent, parts, strict=True):
                if part.gen != held.gen and not first:
                    # What was charged while the request was under way belongs to what comes next.
                    held.used -= told.used
                    if quota in WINDOWS:
                        held.used = held.avail = held.spoken = 0
                    held.told = 0
                else:
                    held.told = told.used
                held.gen, held.base = part.gen, part.base
                held.limit, held.soft = part.limit, part.soft
                held.avail += part.granted
                held.end = end
                if part.left_us >= 0:
                    held.over = now + part.left_us * 1000
                    held.end = min(end, held.over)

    def finish(self, items: Items, aside: dict[Quota, Aside], now: int, *, reserve: bool) -> bool:
        """Charge ``items`` after a grant: what was put aside, and the rest of what is held.

        False where the lease or a period has ended meanwhile; what was put aside then still is.
        """
        with self._lock:
            for quota, amount in items:
                held, part = self._held[quota], aside[quota]
                short = held.avail < amount - part.amount or (amount and now >= held.end)
                if short or self._is_over(quota, part.gen):
                    return False
            for quota, amount in items:
                held, part = self._held[quota], aside[quota]
                held.avail -= amount - part.amount
                if reserve:
                    held.spoken += amount - part.amount
                else:
                    held.spoken -= part.amount
                    held.used += amount
            return True

    def add_used(self, items: Items) -> None:
        """Count what was admitted without a lease."""
        with self._lock:
            for quota, amount in items:
                self._held[quota].used += amount

    def refund(self, quota: Quota, amount: int, now: int) -> None:
        """Give back what was charged; what the lease doesn't hold goes with the next report.

        Of a window it is at most what this host used in the present period.
        """
        with self._lock:
            held = self._held[quota]
            if quota in WINDOWS and amount > held.used:
                amount = held.used if held.used > 0 else 0
            held.used -= amount
            self._add(held, amount, now)

    def gens(self) -> list[int]:
        """Generations of all quotas, by which a reservation knows that its period has ended."""
        with self._lock:
            return [held.gen for held in self._held]

    def settle(
        self, items: Items, kept: dict[Quota, int], gens: Sequence[int], now: int, *, covered: bool
    ) -> None:
        """Charge what is kept of a reservation, and make the rest chargeable again.

        ``covered`` is False where it was admitted without a lease: then nothing is spoken for, and
        all of it has been counted as used.
        """
        with self._lock:
            for quota, amount in items:
                held = self._held[quota]
                if self._is_over(quota, gens[quota]):
                    continue
                if covered:
                    held.used += kept[quota]
                    held.spoken = held.spoken - kept[quota] if held.spoken > kept[quota] else 0
                    self._unspeak(held, amount - kept[quota], now)
                else:
                    held.used -= amount - kept[quota]

    def begin_again(self) -> None:
        """Let go of all leases, for the server has counted them as used, but not of unreported use.

        It may be use beyond any lease, where ``when_away`` is ``"open"``.
        """
        with self._lock:
            for held in self._held:
                held.used -= held.told
                held.told = held.avail = held.spoken = held.base = held.end = 0

    def to_report(self) -> bool:
        """Whether the server has to be told of anything, or anything must be renewed."""
        with self._lock:
            return any(held.avail or held.spoken or held.used != held.told for held in self._held)

    def is_needed(self, now: int) -> bool:
        """Whether there is anything to report, or to tell a server again that has lost its data."""
        with self._lock:
            return any(
                held.avail
                or held.spoken
                or held.used != held.told
                or ((held.used or held.base) and (quota in LEVELS or now < held.over))
                for quota, held in zip(Quota, self._held, strict=True)
            )

    def _is_over(self, quota: Quota, gen: int) -> bool:
        """Whether the day or month has ended, and with it all that was counted in it."""
        return quota in WINDOWS and self._held[quota].gen != gen

    def _unspeak(self, held: _Held, amount: int, now: int) -> None:
        held.spoken = held.spoken - amount if held.spoken > amount else 0
        self._add(held, amount, now)

    def _add(self, held: _Held, amount: int, now: int) -> None:
        """Make so much chargeable again, as far as it is no more than a lease."""
        room = self._lease - held.avail
        if now < held.end and room > 0:
            held.avail += amount if amount < room else room

    @staticmethod
    def _void_if_over(held: _Held, now: int) -> None:
        if now >= held.end:
            held.avail = 0
