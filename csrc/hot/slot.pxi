# Binds csrc/ledger/slot.hpp; included by ledger.pxi.


# Without no_gc_clear the collector would take the ledger away before an open reservation of the slot
# gives back what it holds.
@cython.no_gc_clear
cdef class Slot:
    """One tenant's counters. Quotas are given as :class:`llmspell.quota.Quota` or its int.

    Args:
        ledger: whose slot it is.
        key: 16 bytes.
        on_crossing: called as ``on_crossing(quota, percent, used, limit)`` after a charge that took
            use from below 80 % or 100 % of a limit to it or beyond, by the one caller in all
            processes whose charge did. ``quota`` is the name as in :class:`QuotaExceeded`,
            ``percent`` is 80 or 100, ``used`` what that charge led to. A rate tells of each at most
            once a period. What it raises is logged; it runs in the thread that charged.

    A hard quota refuses beyond its limit; a soft one counts, tells and admits. All of them refuse
    what is beyond the range of the counter: 2**48 - 1 of a level, 2**36 - 1 of a day, 2**40 - 1 of
    a month.

    Thread-safe and process-safe: a charge is one compare-and-swap. Every method raises ClosedError
    once the slot has been released.
    """

    cdef readonly Ledger ledger
    cdef readonly object on_crossing
    cdef Handle _handle

    def __cinit__(self, Ledger ledger not None, bytes key not None, on_crossing=None):
        cdef int error = 0
        cdef Key native_key = to_key(key)
        cdef Status status
        self.ledger = ledger
        self.on_crossing = on_crossing
        with nogil:
            status = ledger._ledger.get().slot(native_key, self._handle, error)
        check(status, error, ledger.path)

    cdef inline int require_live(self) except -1:
        if self._handle.is_stale():
            raise ClosedError("the quota slot of this tenant has been released")
        return 0

    # The door: what is charged may go on. Settling and reading are for all times.
    cdef inline int require_open(self) except -1:
        self.require_live()
        if self._handle.slot.flags.load() & suspended_flag:
            raise TenantSuspended("the tenant is suspended; it goes on when it is resumed")
        return 0

    cdef inline Now now(self, Quota quota) noexcept:
        cdef Now none
        # Levels don't look at the clock, which costs as much as the rest of the call.
        if <size_t>quota >= level_count:
            return self.ledger._ledger.get().now()
        none.boot_ns = 0
        none.utc_ns = 0
        return none

    # What dead processes hold, or leases that have passed, must not refuse others for long.
    cdef cbool swept_for(self, const Refusal& refusal) noexcept:
        cdef cbool swept
        if <size_t>refusal.quota >= part_count or refusal.requested > refusal.limit:
            return False
        with nogil:
            swept = self.ledger._ledger.get().sweep_before_refusal(system_environment_source())
        return swept

    cdef int tell(self, const Receipt& receipt) except -1:
        cdef size_t i
        cdef unsigned int crossed
        if self.on_crossing is None:
            return 0
        for i in range(quota_count):
            crossed = receipt.crossed >> (2 * i) & 3
            if not crossed:
                continue
            limit = usage(self._handle, <Quota>i, self.now(<Quota>i)).limit
            for percent, bit in ((80, 1), (100, 2)):
                if not crossed & <unsigned int>bit:
                    continue
                try:
                    self.on_crossing(QUOTA_NAMES[i], percent, receipt.reached.data()[i], limit)
                except Exception:
                    logger.exception("on_crossing of %s at %d %%", QUOTA_NAMES[i], percent)
        return 0

    cdef inline int charge_item(self, Item item, Now now) except -1:
        cdef Refusal refusal
        cdef Receipt receipt
        self.require_open()
        if not try_charge(self._handle, item, now, refusal, receipt):
            self.charge_after_sweep(item, now, refusal, receipt)
        if receipt.crossed:
            self.tell(receipt)
        return 0

    cdef int charge_after_sweep(
        self, Item item, Now now, Refusal& refusal, Receipt& receipt
    ) except -1:
        if not self.swept_for(refusal) or not try_charge(
            self._handle, item, now, refusal, receipt
        ):
            raise_refusal(refusal)
        return 0

    def charge(self, quota, amount=1):
        """Charge ``amount`` of a quota, or nothing.

        A refusal by a level or window first gives back what dead processes hold, at most once in
        100 ms.

        Raises:
            QuotaExceeded: the amount doesn't fit under the limit.
            DtypeError: the quota or the amount is no integer.
            InputError: the amount is negative or doesn't fit into 64 bits.
        """
        cdef Item item
        item.quota = to_quota(quota)
        item.amount = to_amount(amount)
        self.charge_item(item, self.now(item.quota))

    def charge_at(self, quota, amount, uint64_t boot_ns):
        """Like :meth:`charge`, at a given time in ns since boot (see :func:`now_ns`)."""
        cdef Item item
        item.quota = to_quota(quota)
        item.amount = to_amount(amount)
        self.charge_item(item, self.ledger._ledger.get().at(boot_ns))

    def charge_all(self, *pairs):
        """Charge all ``(quota, amount)`` pairs, or none of them. Raises as :meth:`charge`."""
        cdef Item[quota_count] items
        cdef size_t count = 0
        cdef size_t i
        cdef Quota due
        cdef int64_t more
        for quota, amount in pairs:
            due = to_quota(quota)
            more = to_amount(amount)
            for i in range(count):
                if items[i].quota == due:
                    items[i].amount = min(items[i].amount, unlimited - more) + more
                    break
            else:
                items[count].quota = due
                items[count].amount = more
                count += 1
        self.charge_items(items, count, self.ledger._ledger.get().now())

    cdef int charge_items(self, const Item* items, size_t count, Now now) except -1:
        cdef Refusal refusal
        cdef Receipt receipt
        self.require_open()
        cdef cbool admitted = try_charge_all(
            self._handle, Items(items, count), now, refusal, receipt
        )
        if not admitted and self.swept_for(refusal):
            admitted = try_charge_all(self._handle, Items(items, count), now, refusal, receipt)
        if receipt.crossed:
            self.tell(receipt)
        if not admitted:
            raise_refusal(refusal)
        return 0

    def reserve(
        self,
        *,
        documents=0,
        vectors=0,
        storage=0,
        dimensions=0,
        embeddings=0,
        tokens=0,
        cost=0,
        api_calls=0,
        queries=0,
        lease=LEASE_S,
    ):
        """Charge now, all or nothing, and decide later what is kept.

        Args:
            documents, vectors, dimensions: numbers.
            storage: bytes.
            embeddings, tokens, api_calls, queries: numbers.
            cost: millionths of the unit of money in which the limit is given.
            lease: seconds for which it holds. Once they have passed any sweep may give it back, and
                settling it then raises ReservationExpired.

        Returns:
            Reservation: a context manager; it settles on success and gives back on an exception.

        Raises:
            QuotaExceeded: an amount doesn't fit under its limit.
            InputError: an amount is negative or too large, or the lease isn't a number of seconds.
            StorageError: of 4,096 reservations that a data directory may have open this tenant has
                as many as are left, or there is none left, and none ended for ten seconds.
        """
        cdef int64_t[quota_count] amounts
        amounts[0] = to_amount(documents)
        amounts[1] = to_amount(vectors)
        amounts[2] = to_amount(storage)
        amounts[3] = to_amount(dimensions)
        amounts[4] = to_amount(embeddings)
        amounts[5] = to_amount(tokens)
        amounts[6] = to_amount(cost)
        amounts[7] = to_amount(api_calls)
        amounts[8] = to_amount(queries)
        return begin_reservation(self, amounts, lease)

    def require_room(self, *, documents=0, vectors=0, storage=0, dimensions=0):
        """Raise QuotaExceeded where :meth:`reserve` would; charge nothing, and tell nobody.

        For a look ahead: others may charge before what is looked at is.
        """
        cdef Item item
        cdef Refusal refusal
        cdef int quota
        self.require_live()
        for quota, amount in enumerate((documents, vectors, storage, dimensions)):
            item.quota = <Quota>quota
            item.amount = to_amount(amount)
            if not has_room(self._handle, item, refusal) and not (
                self.swept_for(refusal) and has_room(self._handle, item, refusal)
            ):
                raise_refusal(refusal)

    def refund(self, quota, amount):
        """Give back what was charged just now; never below zero."""
        cdef Item item
        item.quota = to_quota(quota)
        item.amount = to_amount(amount)
        cdef Now now = self.now(item.quota)
        self.require_live()
        refund_latest(self._handle, item, now)

    def set_level(self, quota, used):
        """Set a level (documents, vectors, storage, dimensions) to what the log says.

        What is reserved at the moment is kept on top. Only for the process that may write the
        tenant, and not between a commit and the settlement of its reservation, which would be
        counted twice.
        """
        cdef Quota level = to_quota(quota)
        if <size_t>level >= level_count:
            raise InputError(
                f"only documents, vectors, storage and dimensions have levels, got {quota}"
            )
        cdef int64_t amount = to_amount(used)
        self.require_live()
        set_level(self._handle, level, amount)

    def set_levels(self, documents, vectors, storage, dimensions):
        """Set all levels as :meth:`set_level` does; :attr:`levels_known` is true from then on."""
        cdef Levels used
        cdef size_t i
        for i, amount in enumerate((documents, vectors, storage, dimensions)):
            used[i] = to_amount(amount)
        self.require_live()
        set_levels(self._handle, used)

    @property
    def levels_known(self):
        """Whether the levels were set since the slot was made or the machine started."""
        self.require_live()
        return (self._handle.slot.flags.load() & levels_known_flag) != 0

    @property
    def suspension(self):
        """What the tenant may not do: "none", "writes", or "all", which charges refuse."""
        self.require_live()
        cdef uint64_t flags = self._handle.slot.flags.load()
        return "all" if flags & suspended_flag else "writes" if flags & no_writes_flag else "none"

    @suspension.setter
    def suspension(self, str value not None):
        self.require_live()
        if value not in ("none", "writes", "all"):
            raise InputError(f"suspension must be 'none', 'writes' or 'all', got {value!r}")
        set_suspension(
            self._handle,
            suspended_flag | no_writes_flag if value == "all"
            else no_writes_flag if value == "writes" else 0,
        )

    @property
    def log_head(self):
        """Sequence of the newest committed record, for readers in other processes; 0 if unknown."""
        self.require_live()
        return self._handle.slot.log_head.load()

    def publish(self, uint64_t sequence):
        """Raise :attr:`log_head` to ``sequence`` at least."""
        self.require_live()
        publish(self._handle, sequence)

    def set_log_head(self, uint64_t sequence):
        """Set :attr:`log_head`; for the process that opens the tenant under its write lock."""
        self.require_live()
        self._handle.slot.log_head.store(sequence)

    def set_limit(self, quota, limit, *, cbool soft=False):
        """Set one limit in the quota's own unit (storage in bytes, cost in millionths).

        None is unlimited. A soft limit refuses nothing.
        """
        cdef Quota due = to_quota(quota)
        cdef int64_t native_limit = unlimited if limit is None else to_amount(limit)
        self.require_live()
        set_limit(self._handle, due, native_limit, soft)

    def read(self, quota):
        """Return ``(used, limit)``; limit is None where unlimited."""
        return self.read_at(quota, boot_time_ns())

    def read_at(self, quota, uint64_t boot_ns):
        """Like :meth:`read`, at a given time in ns since boot."""
        cdef Quota due = to_quota(quota)
        cdef Now at = self.ledger._ledger.get().at(boot_ns)
        self.require_live()
        cdef CUsage now = usage(self._handle, due, at)
        return now.used, None if now.limit == unlimited else now.limit
