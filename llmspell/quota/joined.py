"""A tenant's slot on a host that shares quotas: levels are its own, the rest is all hosts'."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Final, Self, cast

from llmspell.config import QuotaLimits
from llmspell.errors import LedgerUnavailable, ReservationExpired
from llmspell.quota._held import HeldInBlock
from llmspell.quota._pure_reservation import LEASE_S
from llmspell.quota.ledger import Ledger, Reservation, Slot
from llmspell.quota.model import OnCrossing, Quota, Usage
from llmspell.quota.shared import SharedLedger, SharedReservation, SharedSlot

__all__ = ["SHARED_QUOTAS", "JoinedReservation", "JoinedSlot"]

#: Of all hosts together. Levels belong to a data directory, whose log says what they are.
SHARED_QUOTAS: Final = frozenset(
    (Quota.EMBEDDINGS, Quota.TOKENS, Quota.COST, Quota.API_CALLS, Quota.QUERIES)
)
_WINDOWS: Final = ("embeddings", "tokens", "cost")


class JoinedSlot(Slot):
    """A slot whose rates and windows are charged to a shared ledger, for all hosts.

    The ledger of the directory counts them too, as this host's part, and refuses nothing of them:
    what metrics and ``on_crossing`` tell of shared quotas is that part. Thread-safe.
    """

    __slots__ = ("_joined", "_limits", "_shared", "_shared_key", "_told_limits")

    # What the native slot is made from can't be added to.
    _shared: SharedLedger
    _shared_key: bytes
    _joined: SharedSlot | None
    _limits: QuotaLimits | None
    _told_limits: QuotaLimits | None

    @classmethod
    def of(
        cls,
        ledger: Ledger,
        key: bytes,
        on_crossing: OnCrossing | None,
        shared: SharedLedger,
        tenant_id: str,
    ) -> Self:
        """Find or make the slot of ``key``; tenants of one id are one on all hosts.

        The server is asked with the first charge.
        """
        slot = cls(ledger, key, on_crossing)
        slot._shared = shared
        slot._shared_key = hashlib.blake2b(tenant_id.encode(), digest_size=16).digest()
        slot._joined = None
        slot._limits = None
        slot._told_limits = None
        return slot

    def set_limits(self, limits: QuotaLimits) -> None:
        """Set all limits here; hosts are told of them with the next charge or :meth:`tell`."""
        shared = {q.limit_name for q in SHARED_QUOTAS}
        soft = {name for name in shared if getattr(limits, name) is not None}
        super().set_limits(replace(limits, soft=limits.soft | soft))
        if limits != self._limits:
            self._limits = limits

    def tell(self) -> None:
        """Set the limits of all hosts, unless this has been done; raises LedgerUnavailable."""
        limits = self._limits
        if limits is not None and self._told_limits is not limits:
            self._slot().set_limits(limits)
            self._told_limits = limits

    def charge(self, quota: int, amount: int = 1) -> None:
        """Charge one quota; raises as :meth:`charge_all`."""
        self.charge_all((quota, amount))

    def charge_all(self, *pairs: tuple[int, int]) -> None:
        """Charge all ``(quota, amount)`` pairs, or none of them.

        Raises:
            QuotaExceeded: nothing was charged.
            LedgerUnavailable: nothing was charged, and ``when_away`` doesn't let it pass.
        """
        due = [(quota, amount) for quota, amount in pairs if quota in SHARED_QUOTAS]
        if not due:
            super().charge_all(*pairs)
            return
        super().charge_all()  # the door: of a tenant that is suspended nothing is charged
        slot = self._told()
        slot.charge_all(*due)
        try:
            super().charge_all(*pairs)
        except BaseException:
            for quota, amount in due:
                slot.refund(quota, amount)
            raise

    def refund(self, quota: int, amount: int) -> None:
        """Give back what was charged just now."""
        if quota in SHARED_QUOTAS:
            self._slot().refund(quota, amount)
        super().refund(quota, amount)

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
        """Charge now, all or nothing, and decide later what is kept; raises as :meth:`charge`."""
        levels = {
            "documents": documents,
            "vectors": vectors,
            "storage": storage,
            "dimensions": dimensions,
        }
        rest = {
            "embeddings": embeddings,
            "tokens": tokens,
            "cost": cost,
            "api_calls": api_calls,
            "queries": queries,
        }
        if not any(rest.values()):
            return super().reserve(**levels, lease=lease)
        shared = self._told().reserve(**rest, lease=lease)
        try:
            own = super().reserve(**levels, **rest, lease=lease)
        except BaseException:
            shared.cancel()
            raise
        # The native type is final; this one has its methods.
        return cast(Reservation, JoinedReservation(self, own, shared))

    def usage(self) -> Usage:
        """Use and limit of every quota, of shared ones that of all hosts: one round trip."""
        self.tell()
        own, shared = super().usage(), self._slot().usage()

        def read(quota: Quota) -> tuple[int, int | None]:
            part = (shared if quota in SHARED_QUOTAS else own).of(quota)
            return part.used, part.limit

        return Usage.read(read)

    def own_usage(self) -> Usage:
        """Use of every quota by this data directory alone, without asking the server."""
        return super().usage()

    def _slot(self) -> SharedSlot:
        slot = self._joined
        if slot is None:
            slot = self._joined = self._shared.slot(self._shared_key)
        return slot

    def _told(self) -> SharedSlot:
        """The slot to charge; while the server is away, ``when_away`` decides about the charge."""
        if self._told_limits is not self._limits and not self._shared.away:
            try:
                self.tell()
            except LedgerUnavailable:
                if self._shared.when_away == "closed":
                    raise
        return self._slot()


class JoinedReservation(HeldInBlock):
    """A reservation in both ledgers. Use it from one thread at a time."""

    def __init__(self, slot: JoinedSlot, own: Reservation, shared: SharedReservation) -> None:
        self.slot = slot
        self._own = own
        self._shared = shared
        self._open = True

    def __del__(self) -> None:
        # The collector may run inside of a lock that giving back would wait for, so a beat does it.
        if self._open:
            self._shared.lease_end = 0

    def settle(self, **kept: int | None) -> None:
        """Keep what was used and give the rest back, as :meth:`Reservation.settle`."""
        try:
            self._own.settle(**kept)
        except ReservationExpired:
            self.cancel()
            raise
        self._open = False
        self._shared.settle(**{name: kept.get(name) for name in _WINDOWS})

    def renew(self, lease: float = LEASE_S) -> None:
        """Let it hold for ``lease`` seconds from now; raises ReservationExpired."""
        try:
            self._own.renew(lease)
            self._shared.renew(lease)
        except ReservationExpired:
            self.cancel()
            raise

    def cancel(self) -> None:
        """Give everything back; does nothing after :meth:`settle` or :meth:`cancel`."""
        self._open = False
        self._own.cancel()
        self._shared.cancel()
