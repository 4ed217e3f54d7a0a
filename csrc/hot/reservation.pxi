# Binds the reservations of csrc/ledger; included after ledger.pxi.


@cython.final
cdef class Reservation:
    """Amounts charged to a slot but not yet settled, from :meth:`Slot.reserve`.

    If the process dies first, the levels among them are given back when another one opens or
    sweeps the ledger. Use it from one thread at a time.
    """

    cdef readonly Slot slot
    cdef Item[quota_count] _items
    cdef Now _charged
    cdef Holder* _holder
    cdef cbool _open

    def __cinit__(self, Slot slot not None, *amounts):
        cdef size_t i
        cdef Refusal refusal
        self.slot = slot
        for i in range(quota_count):
            self._items[i].quota = <Quota>i
            self._items[i].amount = to_amount(amounts[i])
        cdef CSlot* native = slot.live()
        self._charged = slot.ledger._ledger.get().now()
        self._holder = hold(native[0], own_process())
        if self._holder == NULL:
            raise StorageError("eight other processes hold reservations of this tenant")
        if not try_charge_all(native[0], Items(self._items, quota_count), self._charged, refusal):
            raise_refusal(refusal)
        for i in range(level_count):
            add_held(self._holder[0], self._items[i])
        self._open = True

    def __dealloc__(self):
        if self._open:
            self.finish(NULL)

    cdef void finish(self, const int64_t* kept) noexcept:
        cdef size_t i
        cdef CSlot* native = self.slot._handle.slot
        self._open = False
        if self.slot._handle.is_stale():
            return
        cdef Now now = self.slot.ledger._ledger.get().now()
        for i in range(quota_count):
            if i < level_count:
                settle(native[0], self._holder[0], self._items[i], kept[i] if kept else 0)
            elif not kept:
                refund(native[0], self._items[i], self._charged, now)

    def settle(self, *, documents=None, vectors=None, storage=None):
        """Keep what was used and give the rest back; None keeps all that was reserved.

        Raises:
            InputError: more is to be kept than was reserved.
            ClosedError: it was settled or cancelled before.
        """
        cdef int64_t[level_count] kept
        cdef size_t i
        if not self._open:
            raise ClosedError("the reservation has been settled or cancelled")
        for i, amount in enumerate((documents, vectors, storage)):
            kept[i] = self._items[i].amount if amount is None else to_amount(amount)
            if kept[i] > self._items[i].amount:
                raise InputError(
                    f"{QUOTA_NAMES[i]}: {kept[i]} kept, but {self._items[i].amount} reserved"
                )
        self.finish(kept)

    def cancel(self):
        """Give everything back; does nothing after :meth:`settle` or :meth:`cancel`."""
        if self._open:
            self.finish(NULL)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if not self._open:
            return
        if kind is None:
            self.settle()
        else:
            self.cancel()
