# Binds csrc/ledger/reservation.hpp; included after ledger.pxi.

import time

from llmspell.errors import ReservationExpired

from native cimport Parts, Ticket, hold_count, open_hold, own_process, renew, reserve, settle

cdef double HOLD_TIMEOUT_S = 10.0
cdef double MAX_LEASE_S = 86_400.0


cdef inline uint64_t to_lease_ns(object lease) except? 0:
    cdef double seconds = -1.0
    if isinstance(lease, (int, float)) and not isinstance(lease, bool) and lease <= MAX_LEASE_S:
        seconds = lease
    if not 0.0 < seconds:
        raise InputError(f"a lease must be more than 0 and at most 86,400 seconds, got {lease!r}")
    return <uint64_t>(seconds * 1e9)


# Without no_gc_clear the collector would take the slot away before __dealloc__ gives back what is
# held in it.
@cython.final
@cython.no_gc_clear
cdef class Reservation:
    """Amounts charged to a slot but not yet settled, from :meth:`Slot.reserve`.

    If the process dies first, or the lease passes, levels and windows among them are given back by
    the next sweep: when a process opens the ledger, calls :meth:`Ledger.sweep`, or is refused.
    Rates come back with time. A reservation of rates alone takes no entry, so that any number may
    be open. Use it from one thread at a time. After ``fork()`` it belongs to the parent: in the
    child, settling and cancelling it change nothing.
    """

    cdef readonly Slot slot
    cdef Item[quota_count] _items
    cdef Receipt _receipt
    cdef Ticket _ticket
    cdef uint64_t _owner
    cdef cbool _open

    def __init__(self):
        raise InputError("reservations are made by Slot.reserve()")

    cdef int begin(self, const int64_t* amounts, uint64_t lease_ns) except -1:
        cdef size_t i
        cdef Item[quota_count] due
        cdef size_t count = 0
        cdef cbool holds = False
        self._owner = own_process()
        for i in range(quota_count):
            self._items[i].quota = <Quota>i
            self._items[i].amount = amounts[i]
            if amounts[i]:
                due[count] = self._items[i]
                count += 1
                holds = holds or i < part_count
        self.slot.require_live()
        self.charge(Items(due, count), holds, lease_ns)
        self._open = True
        return 0

    def __dealloc__(self):
        if self._open:
            self.cancel_now()

    cdef int charge(self, Items due, cbool holds, uint64_t lease_ns) except -1:
        cdef Refusal refusal
        cdef Now now = self.slot.ledger._ledger.get().now()
        if holds:
            self.take_hold(now, lease_ns)
        cdef cbool admitted = reserve(
            self.slot._handle, self._ticket, due, now, refusal, self._receipt
        )
        if not admitted and self.slot.swept_for(refusal):
            if holds:
                self.take_hold(now, lease_ns)
            admitted = reserve(self.slot._handle, self._ticket, due, now, refusal, self._receipt)
        if self._receipt.crossed:
            self.tell(admitted)
        if not admitted:
            raise_refusal(refusal)
        return 0

    # What an interrupt in the callback raises must not leave the reservation behind.
    cdef int tell(self, cbool admitted) except -1:
        self._open = admitted
        self.slot.tell(self._receipt)
        return 0

    # Waits where the pool is full, and then takes a new look at the clock.
    cdef int take_hold(self, Now& now, uint64_t lease_ns) except -1:
        cdef uint64_t end = now.boot_ns + lease_ns
        if open_hold(self.slot._handle, self._owner, end, self._ticket):
            return 0
        deadline = time.monotonic() + HOLD_TIMEOUT_S
        while not open_hold(self.slot._handle, self._owner, end, self._ticket):
            if time.monotonic() > deadline:
                raise StorageError(
                    f"of {hold_count} reservations of this data directory too many are open, of "
                    "this tenant or of all, and none ends; settle or cancel some"
                )
            with nogil:
                self.slot.ledger._ledger.get().sweep_before_refusal(system_environment_source())
            time.sleep(0.001)
            self.slot.require_live()
            end = boot_time_ns() + lease_ns
        (&now)[0] = self.slot.ledger._ledger.get().now()
        return 0

    # A forked child owns none of its parent's reservations.
    cdef cbool is_ours(self) noexcept:
        return self._owner == own_process()

    cdef void cancel_now(self) noexcept:
        cdef size_t i
        cdef Parts kept
        self._open = False
        if not self.is_ours():
            return
        cdef Now now = self.slot.ledger._ledger.get().now()
        if self._ticket.hold < hold_count:
            for i in range(part_count):
                kept[i] = 0
            settle(self.slot._handle, self._ticket, kept)
        if not self.slot._handle.is_stale():
            for i in range(part_count, quota_count):
                refund(self.slot._handle, self._items[i], self._receipt, now)

    def settle(
        self,
        *,
        documents=None,
        vectors=None,
        storage=None,
        dimensions=None,
        embeddings=None,
        tokens=None,
        cost=None,
    ):
        """Keep what was used and give the rest back; None keeps all that was reserved.

        Rates are kept as they are.

        Raises:
            InputError: more is to be kept than was reserved.
            ReservationExpired: its lease had passed and all was given back; nothing is kept.
            ClosedError: it was settled or cancelled before.
        """
        cdef Parts kept
        cdef size_t i
        if not self._open:
            raise ClosedError("the reservation has been settled or cancelled")
        for i, amount in enumerate(
            (documents, vectors, storage, dimensions, embeddings, tokens, cost)
        ):
            kept[i] = self._items[i].amount if amount is None else to_amount(amount)
            if kept[i] > self._items[i].amount:
                raise InputError(
                    f"{QUOTA_NAMES[i]}: {kept[i]} kept, but {self._items[i].amount} reserved"
                )
        self._open = False
        if self._ticket.hold == hold_count or not self.is_ours():
            return
        if not settle(self.slot._handle, self._ticket, kept):
            raise_expired()

    def renew(self, lease=LEASE_S):
        """Let it hold for ``lease`` seconds from now.

        Raises:
            ReservationExpired: its lease had passed and all was given back.
            InputError: the lease isn't more than 0 and at most 86,400 seconds.
            ClosedError: it was settled or cancelled before.
        """
        cdef uint64_t lease_ns = to_lease_ns(lease)
        if not self._open:
            raise ClosedError("the reservation has been settled or cancelled")
        if self._ticket.hold == hold_count or not self.is_ours():
            return
        if not renew(self.slot._handle, self._ticket, boot_time_ns() + lease_ns):
            self._open = False
            raise_expired()

    def cancel(self):
        """Give everything back; does nothing after :meth:`settle` or :meth:`cancel`."""
        if self._open:
            self.cancel_now()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if not self._open:
            return
        if kind is None:
            self.settle()
        else:
            self.cancel()


cdef Reservation begin_reservation(Slot slot, const int64_t* amounts, object lease):
    cdef Reservation made = Reservation.__new__(Reservation)
    made.slot = slot
    made.begin(amounts, to_lease_ns(lease))
    return made


cdef int raise_expired() except -1:
    raise ReservationExpired(
        "the lease of this reservation has passed and it was given back, nothing of it is kept; "
        "reserve again, with a longer lease or with renew() in time"
    )
