# Binds csrc/ledger. What may wait for a file lock drops the GIL; a charge takes no lock and keeps it,
# because dropping it costs more than the charge.

import errno
import os

cimport cython

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.long cimport PyLong_AsLongLongAndOverflow
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy
from libcpp cimport bool as cbool
from libcpp.memory cimport unique_ptr

from llmspell.errors import ClosedError, InputError, QuotaExceeded, StorageError, StorageFull

from native cimport (
    CLedger, CSlot, CUsage, Handle, Item, Items, Key, Levels, Now, Path, Quota,
    Receipt, Refusal, Status, boot_time_ns, level_count, no_hold, open_hold, own_process, quota_count,
    receipt_at, refund, reserve, set_level, set_limit, settle, system_environment_source, try_charge, try_charge_all,
    unlimited, usage,
)

# Names of the fields of QuotaLimits, in the order of the C++ enum.
QUOTA_NAMES = (
    "max_documents",
    "max_vectors",
    "max_storage_mb",
    "max_embeddings_per_day",
    "max_api_calls_per_minute",
)
KEY_BYTES = 16


cdef inline int64_t to_amount(object value) except -1:
    cdef int overflow = 0
    cdef int64_t amount = PyLong_AsLongLongAndOverflow(value, &overflow)
    if amount < 0 or overflow:
        raise InputError(f"an amount must be an int from 0 to 2**63 - 1, got {value!r}")
    return amount


cdef inline Quota to_quota(int quota) except *:
    if <unsigned int>quota >= quota_count:
        raise InputError(f"a quota must be an int from 0 to {quota_count - 1}, got {quota}")
    return <Quota>quota


cdef int raise_refusal(const Refusal& refusal) except -1:
    raise QuotaExceeded(
        quota=QUOTA_NAMES[<int>refusal.quota],
        limit=refusal.limit,
        used=refusal.used,
        requested=refusal.requested,
        retry_after=refusal.retry_after_ns / 1e9 if refusal.retry_after_ns >= 0 else None,
    )


cdef int check(Status status, int error, object path) except -1:
    if status == Status.ok:
        return 0
    if status == Status.full:
        raise StorageFull(f"{path}: no slot left; open it with a larger capacity")
    if status == Status.in_use:
        raise StorageError(
            f"{path}: the header is damaged while other processes use the file; close them first"
        )
    if status == Status.unsupported:
        raise StorageError(f"{path}: no shared ledger on this platform; set LLMSPELL_PURE=1")
    if error == errno.ENOSPC:
        raise StorageFull(error, os.strerror(error), str(path))
    raise StorageError(error, os.strerror(error), str(path))


cdef Key to_key(bytes key) except *:
    cdef Key out
    if PyBytes_GET_SIZE(key) != KEY_BYTES:
        raise InputError(f"a key must have {KEY_BYTES} bytes, got {len(key)}")
    memcpy(&out, PyBytes_AS_STRING(key), sizeof(out))
    return out


cdef class Ledger:
    """Quota counters of all tenants of a data directory, in a file that its processes share.

    Args:
        path: the file; made where it is missing, and made anew where its header is damaged. A
            lock file lies beside it.
        capacity: slots, one a tenant; at least this many where no other process has the file open.

    Raises:
        StorageFull: the disk has no room for the file.
        StorageError: the file can't be opened or locked.

    Thread-safe and process-safe; usable after ``fork()``. The file stays mapped until the ledger
    and all its slots are gone.
    """

    cdef unique_ptr[CLedger] _ledger
    cdef readonly object path

    def __cinit__(self, path, size_t capacity=4096):
        cdef int error = 0
        self.path = os.fspath(path)
        cdef Path native_path = Path(<bytes>os.fsencode(path))
        cdef Status status
        with nogil:
            status = CLedger.open(
                native_path, capacity, system_environment_source(), self._ledger, error
            )
        check(status, error, self.path)

    def slot(self, bytes key):
        """Find or make the slot of a key of 16 bytes.

        Raises:
            InputError: the key has another length.
            StorageFull: no slot is left.
        """
        return Slot(self, key)

    def release(self, bytes key):
        """Free the slot of a key; its handles raise ClosedError from now on. False if none."""
        cdef cbool released = False
        cdef int error = 0
        cdef Key native_key = to_key(key)
        cdef Status status
        with nogil:
            status = self._ledger.get().release(native_key, released, error)
        check(status, error, self.path)
        return released

    def sweep(self):
        """Give back what dead processes had reserved; returns how many such records there were."""
        cdef size_t given_back = 0
        cdef int error = 0
        cdef Status status
        with nogil:
            status = self._ledger.get().sweep(system_environment_source(), given_back, error)
        check(status, error, self.path)
        return given_back

    @property
    def capacity(self):
        """Slots that fit into the file."""
        return self._ledger.get().capacity()

    def __len__(self):
        return self._ledger.get().size()


cdef class Slot:
    """One tenant's counters. Quotas are given as :class:`llmspell.quota.Quota` or its int.

    Thread-safe and process-safe: a charge is one compare-and-swap. Every method raises ClosedError
    once the slot has been released.
    """

    cdef readonly Ledger ledger
    cdef Handle _handle

    def __cinit__(self, Ledger ledger not None, bytes key not None):
        cdef int error = 0
        cdef Key native_key = to_key(key)
        cdef Status status
        self.ledger = ledger
        with nogil:
            status = ledger._ledger.get().slot(native_key, self._handle, error)
        check(status, error, ledger.path)

    cdef inline CSlot* live(self) except NULL:
        if self._handle.is_stale():
            raise ClosedError("the quota slot of this tenant has been released")
        return self._handle.slot

    cdef inline Now now(self, Quota quota) noexcept:
        cdef Now none
        # Levels don't look at the clock, which costs as much as the rest of the call.
        if <size_t>quota >= level_count:
            return self.ledger._ledger.get().now()
        none.boot_ns = 0
        none.utc_ns = 0
        return none

    def charge(self, int quota, amount=1):
        """Charge ``amount`` of a quota, or nothing.

        Raises:
            QuotaExceeded: the amount doesn't fit under the limit.
            InputError: the amount is negative or doesn't fit into 64 bits.
        """
        cdef Item item
        cdef Refusal refusal
        item.quota = to_quota(quota)
        item.amount = to_amount(amount)
        if not try_charge(self.live()[0], item, self.now(item.quota), refusal):
            raise_refusal(refusal)

    def charge_at(self, int quota, amount, uint64_t boot_ns):
        """Like :meth:`charge`, at a given time in ns since boot (see :func:`now_ns`)."""
        cdef Item item
        cdef Refusal refusal
        item.quota = to_quota(quota)
        item.amount = to_amount(amount)
        cdef Now at = self.ledger._ledger.get().at(boot_ns)
        if not try_charge(self.live()[0], item, at, refusal):
            raise_refusal(refusal)

    def charge_all(self, *pairs):
        """Charge all ``(quota, amount)`` pairs, or none of them. Raises as :meth:`charge`."""
        cdef Item[quota_count] items
        cdef size_t count = 0
        cdef Refusal refusal
        if len(pairs) > quota_count:
            raise InputError(f"at most {quota_count} quotas can be charged at once")
        for quota, amount in pairs:
            items[count].quota = to_quota(quota)
            items[count].amount = to_amount(amount)
            count += 1
        cdef Now now = self.ledger._ledger.get().now()
        if not try_charge_all(self.live()[0], Items(items, count), now, refusal):
            raise_refusal(refusal)

    def reserve(self, *, documents=0, vectors=0, storage=0, embeddings=0, api_calls=0):
        """Charge now, all or nothing, and decide later what is kept.

        Args:
            documents, vectors: numbers.
            storage: bytes.
            embeddings, api_calls: numbers.

        Returns:
            Reservation: a context manager; it settles on success and gives back on an exception.

        Raises:
            QuotaExceeded: an amount doesn't fit under its limit.
            StorageError: 32 reservations of this tenant's levels are open, and none ended for ten
                seconds.
        """
        return Reservation(self, documents, vectors, storage, embeddings, api_calls)

    def refund(self, int quota, amount):
        """Give back what was charged just now; never below zero."""
        cdef Item item
        item.quota = to_quota(quota)
        item.amount = to_amount(amount)
        cdef Now now = self.now(item.quota)
        refund(self.live()[0], item, receipt_at(self.live()[0], item, now), now)

    def set_level(self, int quota, used):
        """Set a level (documents, vectors, storage) to what the log says.

        What is reserved at the moment is kept on top. Only for the process that may write the
        tenant, and not between a commit and the settlement of its reservation, which would be
        counted twice.
        """
        if <unsigned int>quota >= level_count:
            raise InputError(f"only documents, vectors and storage have levels, got {quota}")
        set_level(self.live()[0], <Quota>quota, to_amount(used))

    def set_limit(self, int quota, limit):
        """Set one limit, in the quota's own unit (storage in bytes); None is unlimited."""
        set_limit(
            self.live()[0], to_quota(quota), unlimited if limit is None else to_amount(limit)
        )

    def read(self, int quota):
        """Return ``(used, limit)``; limit is None where unlimited."""
        return self.read_at(quota, boot_time_ns())

    def read_at(self, int quota, uint64_t boot_ns):
        """Like :meth:`read`, at a given time in ns since boot."""
        cdef Now at = self.ledger._ledger.get().at(boot_ns)
        cdef CUsage now = usage(self.live()[0], to_quota(quota), at)
        return now.used, None if now.limit == unlimited else now.limit
