"""Work on a tenant's behalf that isn't a call of its handle: reserved, scoped, settled."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from llmspell.errors import ClosedError, InputError, ReservationExpired
from llmspell.quota import MILLIONTHS, Quota
from llmspell.tenancy.amounts import as_amount, as_count, in_millionths
from llmspell.tenancy.hold import Hold
from llmspell.tenancy.scope import StateScope
from llmspell.tenancy.settling import charge_used

if TYPE_CHECKING:
    from llmspell.tenancy.aio import AsyncTenant
    from llmspell.tenancy.tenant import Tenant
    from llmspell.tenancy.tenant_handle import TenantHandle

__all__ = ["OPERATION_LEASE_S", "Allowance", "Operation"]

HandleT = TypeVar("HandleT", bound="TenantHandle | AsyncTenant")

#: An agent may take many minutes. What a dead process had reserved is given back at once.
OPERATION_LEASE_S: Final = 3_600.0

_SPENT: Final = (Quota.EMBEDDINGS, Quota.TOKENS, Quota.COST)


class Allowance(NamedTuple):
    """What an operation may use, as its caller said; checked by :class:`Operation`."""

    tokens: int = 0
    embeddings: int = 0
    cost: float = 0.0
    api_calls: int = 1
    lease: float = OPERATION_LEASE_S


class Operation(Generic[HandleT]):
    """Something that is done on a tenant's behalf, while in the ``with`` of ``Tenant.operation``.

    Thread-safe: tasks and threads that it starts may report what they use.
    """

    def __init__(self, handle: HandleT, tenant: TenantHandle, allowance: Allowance | None) -> None:
        """Reserve; see :meth:`llmspell.Tenant.operation`. None reserves and charges nothing."""
        self._handle = handle
        self._residence = tenant._residence
        self._slot = self._residence.slot
        # Reentrant: the collector may end a call of a loop that was closed while this is held.
        self._lock = threading.RLock()
        self._is_open = True
        self._is_late = False  # its reservation has been given back
        self._outer: Operation[Any] | None = None
        self._cost = 0.0
        self._used: dict[Quota, int] = {}  # of what was reported
        self._covered = dict.fromkeys(_SPENT, 0)  # reserved, or charged since
        self._held = dict.fromkeys(_SPENT, 0)  # of what is covered, set aside by steps
        self._holds: set[Hold] = set()  # of steps that are under way
        self._lease = OPERATION_LEASE_S
        self._reservation = None
        if allowance is None:
            return
        tokens, embeddings = (
            as_count("tokens", allowance.tokens),
            as_count("embeddings", allowance.embeddings),
        )
        cost = in_millionths(as_amount("cost", allowance.cost))
        api_calls = as_count("api_calls", allowance.api_calls)
        lease = self._lease = as_amount("lease", allowance.lease)
        if not api_calls:
            raise InputError("api_calls must be 1 or more: an operation is a call itself")
        try:
            tenant._enter()
            self._slot.charge_all()  # reserving doesn't ask whether the tenant is suspended
            self._reservation = self._slot.reserve(
                tokens=tokens,
                embeddings=embeddings,
                cost=cost,
                api_calls=api_calls,
                lease=lease,
            )
        except ClosedError:
            self._residence.check()
            raise
        self._covered = {Quota.EMBEDDINGS: embeddings, Quota.TOKENS: tokens, Quota.COST: cost}
        self._reserved = dict(self._covered)

    def __repr__(self) -> str:
        return f"Operation(tenant_id={self.tenant_id!r})"

    @property
    def tenant(self) -> HandleT:
        """The handle that began it."""
        return self._handle

    @property
    def tenant_id(self) -> str:
        """Id of the tenant."""
        return self._residence.entry.config.id

    @property
    def generation(self) -> int:
        """Tells the tenant from former ones of its id."""
        return self._residence.entry.generation

    @property
    def scope(self) -> StateScope:
        """The tenant's scope."""
        return StateScope.tenant(self.tenant_id)

    @property
    def is_open(self) -> bool:
        """Whether it is still under way."""
        return self._is_open

    def is_of(self, handle: Tenant | AsyncTenant) -> bool:
        """Whether it is on behalf of the tenant that ``handle`` leads to, and of no former one."""
        tenant = handle if hasattr(handle, "_residence") else handle._tenant
        return tenant._residence is self._residence

    def use(
        self,
        *,
        tokens: int | None = None,
        embeddings: int | None = None,
        cost: float | None = None,
        already: bool = False,
    ) -> None:
        """Report what was used, or is about to be; several reports add up.

        What was reserved covers it first, at no cost; what goes beyond is charged at once.

        Args:
            tokens: of language models.
            embeddings: texts embedded.
            cost: money, in the unit of ``max_cost_per_month``; the sum is rounded up to millionths.
            already: whether it is too late to refuse it: then as much of it as the quotas have
                counts before QuotaExceeded is raised. Otherwise nothing of what goes beyond does.

        Where quotas are shared by hosts, what goes beyond may ask their server: from async code
        reserve enough, or call it by ``asyncio.to_thread``.

        Raises:
            ClosedError: the operation has ended.
            InputError: below zero, no number, or beyond 2**63 - 1 or 10**12 of money.
            QuotaExceeded: it goes beyond what was reserved, and the quota has no more. All that was
                reserved counts as used. Reported beforehand, nothing is done beyond the limit.
            TenantNotFound, TenantSuspended: meanwhile, and it goes beyond what was reserved; the
                second one only beforehand.
        """
        given = {Quota.TOKENS: tokens, Quota.EMBEDDINGS: embeddings}
        for quota, amount in given.items():
            if amount is not None:
                as_count(quota.name.lower(), amount)
        spent = 0.0 if cost is None else as_amount("cost", cost)
        with self._lock:
            if not self._is_open:
                raise ClosedError("the operation has ended; report what it uses inside of it")
            self._report(given, spent if cost is not None else None, already=already)

    def _report(
        self, given: Mapping[Quota, int | None], spent: float | None, *, already: bool
    ) -> None:
        """Count what was used, and charge what isn't covered; under the lock."""
        more = {quota: amount for quota, amount in given.items() if amount is not None}
        if spent is not None:
            before = self._cost
            self._cost = after = before + spent
            more[Quota.COST] = in_millionths(after) - in_millionths(before)
        short = {quota: amount - self._left(quota) for quota, amount in more.items()}
        beyond = {quota: amount for quota, amount in short.items() if amount > 0}
        try:
            refusal = None
            if beyond and already:
                beyond, refusal = charge_used(self._slot, beyond)
            elif beyond:
                self._slot.charge_all(*beyond.items())
            for quota, amount in beyond.items():
                self._covered[quota] += amount
            if refusal is not None:
                raise refusal
        except ClosedError:
            self._residence.check()
            raise
        finally:
            # The collector may have settled another step since. It may at any call, so there is
            # none between the reading and the writing of what was used.
            used = self._used
            for quota, amount in more.items():
                used.setdefault(quota, 0)
                total = used[quota] + amount
                free = self._covered[quota] - self._held[quota]
                used[quota] = total if total < free else free
                if total > free and quota is Quota.COST:
                    self._cost = free / MILLIONTHS  # the rest was refused

    def hold(self, *, tokens: int = 0, cost: float = 0.0) -> Hold:
        """Set aside what a step may use at most, such as a call of a model, before it is done.

        Settle it with what was used. What is still held when the operation ends is given back,
        and counts as not used. Steps that run side by side never use more together than was
        reserved and what the quotas had left. Where quotas are shared by hosts it may ask their
        server, and in async code belongs in a thread.

        Args:
            tokens: of language models.
            cost: money, in the unit of ``max_cost_per_month``.

        Raises:
            ClosedError: the operation has ended.
            InputError: below zero, no number, or too large.
            QuotaExceeded: neither what was reserved nor the quotas have so much; nothing is held.
        """
        wanted = {
            Quota.TOKENS: as_count("tokens", tokens),
            Quota.COST: in_millionths(as_amount("cost", cost)),
        }
        with self._lock:
            if not self._is_open:
                raise ClosedError("the operation has ended; hold what it uses inside of it")
            within = {
                quota: min(amount, max(0, self._left(quota))) for quota, amount in wanted.items()
            }
            for quota, amount in within.items():
                self._held[quota] += amount
        beyond = {quota: wanted[quota] - within[quota] for quota in wanted}
        try:
            hold = Hold(self, within, beyond)
            self._keep(hold)
            return hold
        except BaseException as error:
            with self._lock:
                for quota, amount in within.items():
                    self._held[quota] -= amount
            if isinstance(error, ClosedError):
                self._residence.check()
            raise

    def _keep(self, hold: Hold) -> None:
        """Know of a hold that was made; where the operation has ended meanwhile, give it back."""
        with self._lock:
            if self._is_open:
                self._holds.add(hold)
                return
        hold._give_back()
        raise ClosedError("the operation has ended while it was asked to hold something")

    def _begin_hold(self, hold: Hold) -> None:
        with self._lock:
            if not self._is_open:
                raise ClosedError("the operation has ended; use what it holds inside of it")
            if not hold._is_open:
                raise ClosedError("what was held has been settled already")
            hold._is_begun = True

    def _settle_hold(self, hold: Hold, tokens: int | None, cost: float | None) -> None:
        given = {
            Quota.TOKENS: None if tokens is None else as_count("tokens", tokens),
            Quota.COST: None if cost is None else in_millionths(as_amount("cost", cost)),
        }
        with self._lock:
            if not self._is_open:
                raise ClosedError("the operation has ended; settle what it holds inside of it")
            counted = hold._close(given)
            self._holds.discard(hold)
            for quota, amount in hold._within.items():
                self._held[quota] -= amount
            money = counted.get(Quota.COST)
            self._report(
                {Quota.TOKENS: counted.get(Quota.TOKENS)},
                None if money is None else money / MILLIONTHS,
                already=True,
            )

    def _left(self, quota: Quota) -> int:
        """Of a quota, what is covered, not set aside and not used."""
        # Without a call, for all of one moment: see _report.
        used = self._used[quota] if quota in self._used else 0  # noqa: SIM401
        return self._covered[quota] - self._held[quota] - used

    def renew(self, lease: float = OPERATION_LEASE_S) -> None:
        """Hold what is reserved for ``lease`` seconds from now, one day at most.

        Raises:
            ClosedError: the operation has ended.
            ReservationExpired: the lease had passed, and what was reserved was given back.
        """
        if not self._is_open:
            raise ClosedError("the operation has ended")
        if self._reservation is None:
            return
        try:
            self._reservation.renew(lease)
        except ReservationExpired:
            self._is_late = True
            raise

    def _end(self, *, is_done: bool) -> None:
        """Settle. Of what wasn't reported all is kept where it is done, otherwise nothing."""
        late = self._settle(is_done=is_done)
        if late:
            self._charge_late(late, is_done=is_done)

    def _settle(self, *, is_done: bool) -> dict[Quota, int]:
        """Settle, as :meth:`_end`, without waiting; what is left for :meth:`_charge_late`."""
        with self._lock:
            self._is_open = False
            late = self._end_holds()
        if self._reservation is None:
            return late
        kept = {
            quota: self._kept(quota, reserved, is_done=is_done)
            for quota, reserved in self._reserved.items()
        }
        if not self._is_late:
            try:
                self._reservation.settle(
                    embeddings=kept[Quota.EMBEDDINGS],
                    tokens=kept[Quota.TOKENS],
                    cost=kept[Quota.COST],
                )
                return late
            except ReservationExpired:
                pass
        due = {quota: n + late.get(quota, 0) for quota, n in kept.items()}
        return {quota: n for quota, n in due.items() if n}

    def _end_holds(self) -> dict[Quota, int]:
        """End those of steps that outlive it, or forgot them; what of them is to be charged late.

        Of one that was begun all counts, for nobody knows better: such as a stream that was left.
        """
        late: dict[Quota, int] = {}
        for hold in self._holds:
            if not (hold._is_begun and hold._is_open):
                hold._give_back()
                continue
            for quota, amount in hold._close(dict.fromkeys(hold._within)).items():
                within = hold._within[quota]
                self._used[quota] = self._used.get(quota, 0) + within
                if amount > within:  # its own reservation has been given back
                    late[quota] = late.get(quota, 0) + amount - within
        self._holds.clear()
        return late

    def _kept(self, quota: Quota, reserved: int, *, is_done: bool) -> int:
        """Of what was reserved, what was used."""
        if quota not in self._used:
            return reserved if is_done else 0
        # What a step used beyond what it held was charged, while another held the reservation.
        charged = self._covered[quota] - reserved
        return min(max(0, self._used[quota] - charged), reserved)

    def _charge_late(self, kept: dict[Quota, int], *, is_done: bool) -> None:
        """Charge what was used all the same, as far as it fits; may ask a server.

        Raises QuotaExceeded where not all of it did, unless the work has failed by itself.
        """
        try:
            _, refusal = charge_used(self._slot, kept)
        except ClosedError:
            return  # the tenant was dropped
        if refusal is not None and is_done:
            raise refusal
