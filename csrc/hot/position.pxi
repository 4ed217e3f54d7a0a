# How far a tenant's views are, and the index that is there; included after ledger.pxi.

cimport cython

from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_IsValid

from native cimport OneSearcher, one_searcher_capsule

NEVER_US = (1 << 63) - 1
cdef int64_t never_us = NEVER_US


@cython.final
cdef class Position:
    """How far the views of a tenant have come in its log, and the index that is there.

    Written by the views only; reads are thread-safe.

    Args:
        slot: of the tenant: its ``log_head`` says how far the log goes, and its ledger what time
            it is.

    Attributes:
        sequence: entry of the log that the views have reached.
        next_expiry_us: when the next record expires, in µs since 1970; NEVER_US for none.
        is_unsure: whether a write was cut short, so that the log has to be looked at.
        is_queued: whether acknowledged writes wait to be committed.
        index: the vector index; None until the first vectors are written.
    """

    # A search of another tenant than the last finds all of this in memory, not in the cache: what
    # it needs stands together, and the slot's place is here too.
    cdef public uint64_t sequence
    cdef public int64_t next_expiry_us
    cdef public cbool is_unsure
    cdef public cbool is_queued
    cdef OneSearcher* _searcher
    cdef object _searcher_owner
    cdef Handle _handle
    cdef Slot _native
    cdef object _index
    cdef readonly object slot

    def __cinit__(self, slot not None):
        self.slot = slot
        if isinstance(slot, Slot):
            self._native = slot
            self._handle = self._native._handle
        self.next_expiry_us = never_us

    @property
    def index(self):
        return self._index

    @index.setter
    def index(self, index):
        search = getattr(index, "_one_search", None)
        owner = getattr(search, "__self__", None)
        cdef OneSearcher* searcher = NULL
        if PyCapsule_IsValid(owner, one_searcher_capsule):
            searcher = <OneSearcher*>PyCapsule_GetPointer(owner, one_searcher_capsule)
        # Kept until all three are set: what goes with the last of them may let others run.
        gone = (self._index, self._searcher_owner)
        self._searcher = searcher
        self._searcher_owner = owner
        self._index = index
        del gone

    cpdef cbool is_behind(self) except? True:
        """Whether the views lack anything that was acknowledged, or have what has expired."""
        return self.is_queued or self.is_late()

    cpdef cbool is_late(self) except? True:
        """Whether there is something in the log, or due by the calendar, to be followed."""
        if self.is_unsure:
            return True
        if self._native is None:
            if <uint64_t>self.slot.log_head > self.sequence:
                return True
        else:
            self._native.require_live()
            if self.lags():
                return True
        return self.has_expired()

    cdef inline cbool has_expired(self) except? True:
        if self.next_expiry_us == never_us:
            return False
        return self.next_expiry_us <= <int64_t>(<uint64_t>self.slot.ledger.utc_ns() // 1_000)

    # Of a native slot that is live; without the GIL.
    cdef inline cbool lags(self) noexcept nogil:
        return self.is_unsure or self._handle.slot.log_head.load() > self.sequence
