# Binds csrc/ledger. What may wait for a file lock drops the GIL; a charge takes no lock and keeps it,
# because dropping it costs more than the charge.

import errno
import logging
import os

cimport cython

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.number cimport PyIndex_Check
from cpython.long cimport PyLong_AsLongLongAndOverflow
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy
from libcpp cimport bool as cbool
from libcpp.memory cimport unique_ptr

from llmspell.errors import (
    ClosedError, CorruptFile, DtypeError, InputError, LlmspellError, QuotaExceeded, StorageError,
    StorageFull, TenantSuspended, UnsupportedFormat,
)

from native cimport (
    CLedger, CUsage, Handle, Item, Items, Key, Levels, Now, Path, Quota, Receipt, Refusal, Status,
    boot_time_ns, has_room, level_count, levels_known_flag, no_writes_flag, part_count, publish, quota_count,
    refund, refund_latest, set_level, set_levels, set_limit, set_suspension, suspended_flag,
    system_environment_source, try_charge, try_charge_all,
    unlimited, usage,
)

# Names of the fields of QuotaLimits, in the order of the C++ enum.
QUOTA_NAMES = (
    "max_documents",
    "max_vectors",
    "max_storage_mb",
    "max_dimensions",
    "max_embeddings_per_day",
    "max_tokens_per_day",
    "max_cost_per_month",
    "max_api_calls_per_minute",
    "max_queries_per_second",
)
KEY_BYTES = 16
LEASE_S = 60.0

cdef object logger = logging.getLogger("llmspell.quota")


cdef inline int64_t to_amount(object value) except -1:
    cdef int overflow = 0
    if not PyIndex_Check(value):
        raise DtypeError(f"an amount must be an int from 0 to 2**63 - 1, got {value!r}")
    cdef int64_t amount = PyLong_AsLongLongAndOverflow(value, &overflow)
    if amount < 0 or overflow:
        raise InputError(f"an amount must be an int from 0 to 2**63 - 1, got {value!r}")
    return amount


cdef inline Quota to_quota(object quota) except *:
    cdef int overflow = 0
    cdef int64_t index
    # What has no __index__, such as a float, would be counted in parts of a unit.
    if not PyIndex_Check(quota):
        raise DtypeError(f"a quota must be an int from 0 to {quota_count - 1}, got {quota!r}")
    index = PyLong_AsLongLongAndOverflow(quota, &overflow)
    if overflow or <uint64_t>index >= quota_count:
        raise InputError(f"a quota must be an int from 0 to {quota_count - 1}, got {quota!r}")
    return <Quota>index


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
        raise StorageFull(f"{path}: it has as many tenants as it can; drop some, or open another")
    if status == Status.in_use:
        raise StorageError(
            f"{path}: the header is damaged while other processes use the file; close them first"
        )
    if status == Status.other_boot:
        raise StorageError(
            f"{path}: processes that use the file count time from another start of the machine, as in "
            "another time namespace or where /proc is not mounted; open it as they do, or close them"
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
        capacity: slots to begin with, one a tenant; the file grows when they are taken.

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

    def slot(self, bytes key, on_crossing=None):
        """Find or make the slot of a key of 16 bytes; ``on_crossing`` as :class:`Slot` takes it.

        Raises:
            InputError: the key has another length.
            StorageFull: the disk has no room for more slots.
        """
        return Slot(self, key, on_crossing)

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
        """Give back what dead processes had reserved, and reservations whose lease has passed.

        Returns how many were given back.
        """
        cdef size_t given_back = 0
        cdef int error = 0
        cdef Status status
        with nogil:
            status = self._ledger.get().sweep(system_environment_source(), given_back, error)
        check(status, error, self.path)
        return given_back

    def utc_ns(self):
        """Nanoseconds since 1970 by the ledger's calendar, which follows the wall clock slowly."""
        return self._ledger.get().now().utc_ns

    @property
    def capacity(self):
        """Slots that fit into the file at present."""
        return self._ledger.get().capacity()

    def __len__(self):
        return self._ledger.get().size()


include "slot.pxi"
