# What surrounds the commonest search of a tenant; included after ledger.pxi and instruments.pxi.

cimport cython

from cpython.object cimport PyObject, PyTypeObject
from cpython.weakref cimport PyWeakref_NewRef

NEVER_US = (1 << 63) - 1

cdef tuple NO_ARGUMENTS = ()


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

    cdef readonly object slot
    cdef Slot _native
    cdef public uint64_t sequence
    cdef public int64_t next_expiry_us
    cdef public cbool is_unsure
    cdef public cbool is_queued
    cdef public object index

    def __cinit__(self, slot not None):
        self.slot = slot
        self._native = slot if isinstance(slot, Slot) else None
        self.next_expiry_us = NEVER_US

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
            if self._native._handle.slot.log_head.load() > self.sequence:
                return True
        if self.next_expiry_us == NEVER_US:
            return False
        return self.next_expiry_us <= <int64_t>(<uint64_t>self.slot.ledger.utc_ns() // 1_000)


cdef class Deferred:
    """A list that ``make(*read(*given))`` gives when it is first looked at. Thread-safe."""

    cdef object _make
    cdef object _read
    cdef tuple _given
    cdef list _found
    cdef object __weakref__

    def __init__(self, make, read, tuple given not None):
        self._make = make
        self._read = read
        self._given = given

    cpdef list look(self):
        """The list, read where it wasn't looked at before."""
        # Kept apart: another thread may be as far.
        read, make, given = self._read, self._make, self._given
        if read is not None:
            self._found = make(*read(*given))
            self._read = self._make = None
            self._given = ()
        return self._found


@cython.final
cdef class Unread:
    """The :class:`Deferred` lists of a tenant, held weakly, for the time when they can't be read.

    Thread-safe under the GIL.

    Attributes:
        is_closing: whoever comes from now on reads its own.
    """

    cdef readonly cbool is_closing
    cdef list _references
    cdef Py_ssize_t _swept_at

    def __cinit__(self):
        self._references = []
        self._swept_at = 256

    cdef int add(self, Deferred one) except -1:
        cdef list references = self._references
        references.append(PyWeakref_NewRef(one, None))
        if len(references) > self._swept_at:
            # Now and then, without those that are gone.
            self._references = [kept for kept in references if kept() is not None]
            self._swept_at = max(256, 2 * len(self._references))
        if self.is_closing:
            # Whoever closes may have read for the others already.
            try:
                one.look()
            except LlmspellError:
                pass  # it is told when they are looked at
        return 0

    def close(self):
        """Those that are there still, to be read by whoever closes what they read from."""
        self.is_closing = True
        found = [reference() for reference in self._references]
        return [one for one in found if one is not None]


class SearchOvertaken(Exception):
    """A search that was charged met a room that was closed, or a damaged index; not counted yet.

    Its arguments are what was raised, and the index, or None where that was not come to.
    """


@cython.final
cdef class SearchDoor:
    """One vector in, hits out: charged first, in step with the log, counted and timed.

    A tenant's search of one vector without a filter costs little more than the index's, for all
    that surrounds it is here. Thread-safe.

    Attributes:
        is_used: set by each search, for whoever takes it off.

    Args:
        position: of the tenant's views; its slot is charged one API call and one query.
        catch_up: called where the position is behind; it is up to date then.
        operation: counts and times the calls.
        stage: times the search in the index.
        unread: is told of the hits, for they read when they are first looked at.
        hits: kind of :class:`Deferred` that is returned.
        make, read: of the hits; ``read`` is given the handle, rows and scores, the query in bytes
            and its dtype, k, ef_search, recall and threshold.
    """

    cdef Position _position
    cdef object _catch_up
    cdef Operation _operation
    cdef Histogram _stage
    cdef Unread _unread
    cdef object _hits
    cdef object _make
    cdef object _read
    cdef public cbool is_used
    cdef Item[2] _due
    cdef cbool _is_plain

    def __cinit__(
        self,
        Position position not None,
        catch_up,
        Operation operation not None,
        Histogram stage not None,
        Unread unread not None,
        hits,
        make,
        read,
    ):
        self._position = position
        # A slot may have its own way to charge, as one that hosts share.
        self._is_plain = (
            position._native is not None and type(position.slot).charge_all is Slot.charge_all
        )
        self._catch_up = catch_up
        self._operation = operation
        self._stage = stage
        self._unread = unread
        if not issubclass(hits, Deferred):
            raise TypeError(f"hits must be a kind of Deferred, got {hits!r}")
        self._hits = hits
        self._make = make
        self._read = read
        self._due[0].quota = Quota.api_calls
        self._due[1].quota = Quota.queries
        self._due[0].amount = self._due[1].amount = 1

    def search(self, handle, query, k, ef_search, recall, threshold, cbool is_strong):
        """Search with one vector, an array of one dimension.

        Raises:
            SearchOvertaken: it is charged, and is to be made another way.
        """
        cdef Position position = self._position
        cdef uint64_t started = boot_time_ns()
        cdef uint64_t searching = started
        cdef Deferred hits
        cdef cbool is_charged = False
        self.is_used = True
        index = found = None
        try:
            if self._is_plain:
                position._native.charge_items(
                    self._due, 2, position._native.ledger._ledger.get().at(started)
                )
            else:
                position.slot.charge_all((<int>Quota.api_calls, 1), (<int>Quota.queries, 1))
            is_charged = True
            if is_strong and position.is_behind():
                self._catch_up()
                searching = boot_time_ns()
            index = position.index
            if index is None:
                found = (), ()
            elif threshold is None:
                found = index._one_search(query, k, ef_search, 1, recall, None)
            if found is None:
                found = index.search(
                    query, k, ef_search=ef_search, recall=recall, threshold=threshold
                )
            self._stage.add_since(searching)
            rows, scores = found
            hits = <Deferred>(<PyTypeObject*>self._hits).tp_new(
                self._hits, <PyObject*>NO_ARGUMENTS, NULL
            )
            hits._make = self._make
            hits._read = self._read
            hits._given = (
                handle, rows, scores, query.tobytes(), query.dtype,
                k, ef_search, recall, threshold,
            )
            self._unread.add(hits)
        except BaseException as error:
            if is_charged and isinstance(error, (ClosedError, CorruptFile)):
                raise SearchOvertaken(error, index) from error
            self._operation.count(started, error)
            raise
        self._operation.count(started, None)
        return hits
