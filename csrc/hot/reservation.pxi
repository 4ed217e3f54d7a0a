# Binds csrc/ledger/reservation.hpp; included after ledger.pxi.

import time

cdef double HOLD_TIMEOUT_S = 10.0


# Without no_gc_clear the collector would take the slot away before __dealloc__ gives back what is
# held in it.
@cython.final
@cython.no_gc_clear
cdef class Reservation:
    """Amounts charged to a slot but not yet settled, from :meth:`Slot.reserve`.

    If the process dies first, the levels among them are given back when another one opens or
    sweeps the ledger. One without levels leaves nothing to give back then, so it takes no entry
    and any number may be open. Use it from one thread at a time. After ``fork()`` it belongs to the
    parent: in the child, settling and cancelling it change nothing.
    """

    cdef readonly Slot slot
    cdef Item[quota_count] _items
    cdef Receipt _receipt
    cdef uint64_t _owner
    cdef size_t _hold
    cdef cbool _open

    def __cinit__(self, Slot slot not None, *amounts):
        cdef size_t i
        cdef Refusal refusal
        cdef Item[quota_count] due
        cdef size_t count = 0
        cdef cbool has_levels = False
        cdef cbool admitted
        self.slot = slot
        self._hold = no_hold
        self._owner = own_process()
        if len(amounts) != quota_count:
            raise InputError(f"expected {quota_count} amounts, got {len(amounts)}")
        for i in range(quota_count):
            self._items[i].quota = <Quota>i
            self._items[i].amount = to_amount(amounts[i])
            if self._items[i].amount:
                due[count] = self._items[i]
                count += 1
                has_levels = has_levels or i < level_count
        cdef CSlot* native = slot.live()
        if has_levels:
            self._hold = open_hold(native[0], self._owner)
            if self._hold == no_hold:
                self.wait_for_hold()
        admitted = reserve(
            native[0], self._hold, Items(due, count), slot.ledger._ledger.get().now(), refusal,
            self._receipt,
        )
        if not admitted:
            raise_refusal(refusal)
        self._open = True

    def __dealloc__(self):
        if self._open:
            self.cancel_now()

    cdef int wait_for_hold(self) except -1:
        deadline = time.monotonic() + HOLD_TIMEOUT_S
        while self._hold == no_hold:
            if time.monotonic() > deadline:
                raise StorageError(
                    "32 reservations of this tenant are open and none ends; settle or cancel them"
                )
            time.sleep(0.001)
            self._hold = open_hold(self.slot.live()[0], self._owner)

    # Whoever has the slot now may owe nothing to this tenant; and a forked child owns none of its
    # parent's reservations.
    cdef cbool is_ours(self) noexcept:
        return self._owner == own_process() and not self.slot._handle.is_stale()

    cdef void cancel_now(self) noexcept:
        cdef size_t i
        cdef Levels kept
        self._open = False
        if not self.is_ours():
            return
        cdef CSlot* native = self.slot._handle.slot
        cdef Now now = self.slot.ledger._ledger.get().now()
        for i in range(level_count):
            kept[i] = 0
        if self._hold != no_hold:
            settle(native[0], self._hold, kept)
        for i in range(level_count, quota_count):
            refund(native[0], self._items[i], self._receipt, now)

    def settle(self, *, documents=None, vectors=None, storage=None):
        """Keep what was used and give the rest back; None keeps all that was reserved.

        Raises:
            InputError: more is to be kept than was reserved.
            ClosedError: it was settled or cancelled before.
        """
        cdef Levels kept
        cdef size_t i
        if not self._open:
            raise ClosedError("the reservation has been settled or cancelled")
        for i, amount in enumerate((documents, vectors, storage)):
            kept[i] = self._items[i].amount if amount is None else to_amount(amount)
            if kept[i] > self._items[i].amount:
                raise InputError(
                    f"{QUOTA_NAMES[i]}: {kept[i]} kept, but {self._items[i].amount} reserved"
                )
        self._open = False
        if self._hold != no_hold and self.is_ours():
            settle(self.slot._handle.slot[0], self._hold, kept)

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
