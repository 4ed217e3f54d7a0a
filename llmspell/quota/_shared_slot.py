"""One tenant's counters of :mod:`llmspell.quota.shared`."""

from __future__ import annotations

import itertools
import threading
import uuid
from typing import TYPE_CHECKING, NoReturn

from llmspell.config import QuotaLimits
from llmspell.errors import InputError, LedgerUnavailable, QuotaExceeded
from llmspell.quota._pure_counters import LEVELS
from llmspell.quota._pure_reservation import LEASE_S, now_ns, to_amount, to_quota, to_sums
from llmspell.quota._redis import Refusal, Reply
from llmspell.quota._shared_reservation import SharedReservation
from llmspell.quota.lease import Items, Leases, Sent
from llmspell.quota.model import Quota, Usage, limits_in_units

if TYPE_CHECKING:
    from llmspell.quota.shared import SharedLedger

__all__ = ["SharedSlot"]

# A lease is given up here before the server's end of it: clocks of two machines drift by less.
MARGIN = 0.1
# A period or a lease may end between a grant and its charge; beyond this the host makes no headway.
TRIES = 16


class SharedSlot:
    """One tenant's counters in a :class:`SharedLedger`. Thread-safe.

    Units and refusals are those of :class:`llmspell.quota.Slot`.
    """

    def __init__(self, ledger: SharedLedger, key: bytes) -> None:
        self.ledger = ledger
        self.key = key
        self._asking = threading.Lock()  # one request at a time
        # Reentrant: the collector may end a call of a loop that was closed while this is held.
        self._reservations_lock = threading.RLock()
        self._reservations: set[SharedReservation] = set()
        self._leases = Leases(ledger.lease)
        self._is_kept = False  # by the ledger, also when nobody else has it
        self._idle_since: int | None = None
        self._begin()

    def _begin(self) -> None:
        """Be another host to the server."""
        self._host = uuid.uuid4().hex
        self._sequence = itertools.count(1)
        self._epoch = ""

    def charge(self, quota: int, amount: int = 1) -> None:
        """Charge ``amount`` of a quota.

        Raises:
            QuotaExceeded: nothing was charged.
            LedgerUnavailable: nothing was charged, and ``when_away`` doesn't let it pass.
        """
        self._admit([(to_quota(quota), to_amount(amount))])

    def charge_all(self, *pairs: tuple[int, int]) -> None:
        """Charge all ``(quota, amount)`` pairs, or none of them; raises as :meth:`charge`."""
        self._admit(to_sums(pairs))

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
    ) -> SharedReservation:
        """Charge now, all or nothing, and decide later what is kept; raises as :meth:`charge`.

        After ``lease`` seconds this host gives back what hasn't been settled.
        """
        amounts = (
            *(documents, vectors, storage, dimensions),
            *(embeddings, tokens, cost, api_calls, queries),
        )
        items = [(quota, to_amount(n)) for quota, n in zip(Quota, amounts, strict=True) if n]
        return SharedReservation(self, items, lease)

    def refund(self, quota: int, amount: int) -> None:
        """Give back what was charged just now; of a level, by whatever host."""
        self._must_be_open()
        self._leases.refund(to_quota(quota), to_amount(amount), now_ns())
        self._keep()

    def set_level(self, quota: int, used: int) -> None:
        """Set a level to what the log says, on all hosts; what they have leased is kept on top."""
        if quota not in LEVELS:
            raise InputError(
                f"only documents, vectors, storage and dimensions have levels, got {quota}"
            )
        self._set(levels=[(quota + 1, to_amount(used))])

    def set_levels(self, documents: int, vectors: int, storage: int, dimensions: int) -> None:
        """Set all levels, as :meth:`set_level` does."""
        amounts = (documents, vectors, storage, dimensions)
        self._set(
            levels=[(q + 1, to_amount(used)) for q, used in zip(LEVELS, amounts, strict=True)]
        )

    def set_limit(self, quota: int, limit: int | None, *, soft: bool = False) -> None:
        """Set one limit for all hosts, in the quota's own unit; None is unlimited."""
        self._set(limits=[_limit(to_quota(quota), limit, soft)])

    def set_limits(self, limits: QuotaLimits) -> None:
        """Set all limits for all hosts. Use beyond a new limit stays, and leases may be used up."""
        self._set(limits=[_limit(*one) for one in limits_in_units(limits)])

    def read(self, quota: int) -> tuple[int, int | None]:
        """Return ``(used, limit)``, leases of all hosts among what is used; one round trip."""
        return self._read()[to_quota(quota)]

    def usage(self) -> Usage:
        """Use and limit of every quota, leases of all hosts among what is used; one round trip."""
        read = self._read()
        return Usage.read(lambda quota: read[quota])

    def _read(self) -> dict[Quota, tuple[int, int | None]]:
        reply = self._set()
        return {
            quota: (part.used, None if part.limit < 0 else part.limit)
            for quota, part in zip(Quota, reply.parts, strict=True)
        }

    def _set(
        self,
        *,
        limits: list[tuple[int, int, bool]] | None = None,
        levels: list[tuple[int, int]] | None = None,
    ) -> Reply:
        with self._asking:
            self._must_be_open()
            parts = self._leases.request([], {}, now_ns(), idle=False, leaving=False)
            return self._ask(parts, limits=limits, levels=levels)

    def _admit(self, items: Items, *, reserve: bool = False) -> bool:
        """Charge or reserve from leases; False where it was admitted without any."""
        self._must_be_open()
        try:
            return self._admit_open(items, reserve)
        finally:
            self._keep()

    def _admit_open(self, items: Items, reserve: bool) -> bool:
        ledger = self.ledger
        held = not ledger.away or ledger.when_away != "closed"
        if held and self._leases.take(items, now_ns(), reserve=reserve):
            return True
        try:
            with self._asking:
                self._must_be_open()
                if ledger.away:
                    raise _away(ledger)
                # Whoever asked before may have brought enough.
                if not self._leases.take(items, now_ns(), reserve=reserve):
                    self._ask_for(items, reserve)
                return True
        except LedgerUnavailable:
            if ledger.when_away != "open":
                raise
            self._leases.add_used(items)
            return False

    def _ask_for(self, items: Items, reserve: bool) -> None:
        for _ in range(TRIES):
            before = now_ns()
            leases = self._leases
            aside = leases.put_aside(items, before)
            charged = False
            try:
                reply = self._ask(leases.request(items, aside, before, idle=False, leaving=False))
                if reply.status == "recovering":
                    raise LedgerUnavailable(
                        f"the quota server at {self.ledger._server.where} has restarted or is new, "
                        f"and gives leases in {reply.recovering_us / 1e6:.3g} s, once those from "
                        "before have passed; nothing was charged"
                    )
                if reply.refusal is not None:
                    _refuse(reply.refusal, items, aside[Quota(reply.refusal.quota - 1)].amount)
                charged = leases.finish(items, aside, now_ns(), reserve=reserve)
                if charged:
                    return
            finally:
                if not charged:
                    leases.end_aside(aside, now_ns())
        raise LedgerUnavailable(
            f"the quota server at {self.ledger._server.where} answers too slowly for leases of "
            f"{self.ledger.lease_seconds} s; nothing was charged; make lease_seconds longer"
        )

    def _ask(
        self,
        parts: list[Sent],
        *,
        limits: list[tuple[int, int, bool]] | None = None,
        levels: list[tuple[int, int]] | None = None,
        bye: bool = False,
    ) -> Reply:
        """One round trip; the caller holds ``_asking``."""
        ledger = self.ledger
        before = now_ns()
        request = {
            "host": self._host,
            "seq": next(self._sequence),
            "epoch": self._epoch,
            "lease": int(ledger.lease_seconds * 1e6),
            "parts": parts,
            "limits": limits or [],
            "levels": levels or [],
            "bye": bye,
        }
        try:
            reply = ledger._server.ask(self.key, request)
        except LedgerUnavailable:
            ledger.away = True
            raise
        ledger.away = False
        if reply.status == "forgotten":
            with self._reservations_lock:
                self._reservations.clear()
            self._leases.begin_again()
            self._begin()
            raise LedgerUnavailable(
                "this host was silent for so long that the quota server counted its leases as "
                "used; nothing was charged; try again"
            )
        if reply.status != "stale" and not bye:
            end = before + int(ledger.lease_seconds * (1 - MARGIN) * 1e9)
            self._leases.receive(parts, reply.parts, before, end, first=not self._epoch)
            self._epoch = reply.epoch
            self._keep()
        return reply

    def _beat(self, epoch: str) -> None:
        """Report and renew what there is; give back overdue reservations.

        A server in another life than the one it was last asked in has to be told of all use.
        """
        now = now_ns()
        with self._reservations_lock:
            over = [one for one in list(self._reservations) if one.lease_end <= now]
        for reservation in over:
            reservation._end({quota: 0 for quota, _ in reservation._items})
        lost = self._epoch not in ("", epoch)
        if lost or self._leases.to_report():
            with self._asking:
                self._ask(self._leases.request([], {}, now_ns(), idle=True, leaving=False))

    def _keep(self) -> None:
        """Be kept by the ledger for as long as it has anything to tell."""
        if not self._is_kept and self._leases.is_needed(now_ns()):
            self.ledger._keep(self)

    def _is_idle(self) -> bool:
        """Whether there has been nothing to tell for as long as a lease; asked at each beat.

        When it is made again, it is another host to the server, which remembers the last ten
        leases' worth of these.
        """
        now = now_ns()
        if self._reservations or self._leases.is_needed(now):
            self._idle_since = None
            return False
        if self._idle_since is None:
            self._idle_since = now
        return now - self._idle_since >= self.ledger.lease_seconds * 1e9

    def _leave(self) -> None:
        with self._asking:
            self._ask(self._leases.request([], {}, now_ns(), idle=False, leaving=True), bye=True)

    def _must_be_open(self) -> None:
        self.ledger._must_be_open()


def _limit(quota: Quota, limit: int | None, soft: bool) -> tuple[int, int, bool]:
    return quota + 1, -1 if limit is None else to_amount(limit), soft


def _away(ledger: SharedLedger) -> LedgerUnavailable:
    return LedgerUnavailable(
        f"the quota server at {ledger._server.where} couldn't be asked last; nothing was charged; "
        "try again, or choose when_away='local' or 'open'"
    )


def _refuse(refusal: Refusal, items: Items, aside: int) -> NoReturn:
    quota = Quota(refusal.quota - 1)
    raise QuotaExceeded(
        quota=quota.limit_name,
        limit=refusal.limit,
        used=refusal.used - aside,
        requested=dict(items)[quota],
        retry_after=None if refusal.retry_us < 0 else refusal.retry_us / 1e6,
    )
