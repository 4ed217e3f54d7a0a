# What surrounds the commonest search of a tenant; included after what it is made of.

from array import array

cimport cython

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.object cimport PyObject, PyTypeObject
from libc.string cimport memcpy

from native cimport OneQuery

cdef tuple NO_ARGUMENTS = ()
cdef object NO_ARRAY = array("q")
cdef str FLOAT32 = "float32"

# What each search is charged.
cdef Item[2] SEARCH_DUE
SEARCH_DUE[0].quota = Quota.api_calls
SEARCH_DUE[1].quota = Quota.queries
SEARCH_DUE[0].amount = SEARCH_DUE[1].amount = 1


class SearchOvertaken(Exception):
    """A search that was charged met a room that was closed, or a damaged index; not counted yet.

    Its arguments are what was raised, and the index, or None where that was not come to.

    Attributes:
        is_failure: False, for a span: the search is made again.
    """

    is_failure = False


@cython.final
cdef class SearchDoor:
    """One vector in, hits out: charged first, in step with the log, counted and timed.

    A tenant's search of one vector without a filter costs little more than the index's, for all
    that surrounds it is here, and the GIL is released once, as for that. Thread-safe.

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

    # In the order of their use, as in Position.
    cdef Position _position
    cdef Ledger _ledger
    cdef Unread _unread
    cdef public cbool is_used
    cdef cbool _is_plain
    cdef Histogram _stage
    cdef Operation _operation
    cdef object _hits
    cdef object _catch_up
    cdef object _make
    cdef object _read

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
        self._ledger = position._native.ledger if position._native is not None else None
        self._catch_up = catch_up
        self._operation = operation
        self._stage = stage
        self._unread = unread
        if not issubclass(hits, Deferred):
            raise TypeError(f"hits must be a kind of Deferred, got {hits!r}")
        self._hits = hits
        self._make = make
        self._read = read

    def search(self, handle, query, k, ef_search, recall, threshold, cbool is_strong):
        """Search with one vector, an array of one dimension.

        Raises:
            SearchOvertaken: it is charged, and is to be made another way.
        """
        cdef uint64_t started = boot_time_ns()
        cdef uint64_t searching = started
        cdef cbool is_charged = False
        cdef Deferred hits
        cdef Pending pending = Pending.__new__(Pending)
        pending._handle = handle
        pending._k = k
        pending._ef_search = ef_search
        pending._recall = recall
        pending._threshold = threshold
        pending._count = -1
        index = None
        self.is_used = True
        try:
            self.begin(pending, query, is_strong, started)
            is_charged = True
            if pending._count < 0:
                if is_strong and self._position.is_behind():
                    self._catch_up()
                    searching = boot_time_ns()
                index = self._position.index
                self.search_any_way(pending, query, index)
            self._stage.add_since(searching)
            pending._door = self
            hits = <Deferred>(<PyTypeObject*>self._hits).tp_new(
                self._hits, <PyObject*>NO_ARGUMENTS, NULL
            )
            hits._pending = pending
            self._unread.add(pending)
        except BaseException as error:
            if is_charged and isinstance(error, (ClosedError, CorruptFile)):
                raise SearchOvertaken(error, index) from error
            self._operation.count(started, error)
            raise
        self._operation.count(started, None)
        return hits

    cdef int begin(
        self, Pending pending, object query, cbool is_strong, uint64_t started
    ) except -1:
        # Charges, and searches if nothing stands in the way; else the count stays negative.
        cdef Position position = self._position
        cdef OneSearcher* searcher = position._searcher
        # Until it has searched: the views may take another index meanwhile.
        cdef object owner = position._searcher_owner
        cdef OneQuery asked
        cdef int64_t* rows = NULL
        cdef float* scores = NULL
        cdef Receipt receipt
        cdef Refusal refusal
        cdef Now now
        cdef cbool is_plain = self._is_plain
        cdef cbool is_native = position._native is not None
        cdef cbool is_admitted = True
        cdef cbool is_ready
        if not is_plain:
            position.slot.charge_all((<int>Quota.api_calls, 1), (<int>Quota.queries, 1))
        is_ready = (
            searcher != NULL
            and pending._threshold is None
            and not (
                is_strong
                and (
                    position.is_queued or position.has_expired()
                    if is_native
                    else position.is_behind()
                )
            )
            and searcher.take(
                <PyObject*>query,
                <PyObject*>pending._k,
                <PyObject*>pending._ef_search,
                <PyObject*>pending._recall,
                asked,
            )
        )
        if is_ready:
            pending._raw = PyBytes_FromStringAndSize(
                NULL, asked.k * (sizeof(int64_t) + sizeof(float)) + asked.dim * sizeof(float)
            )
            rows = <int64_t*>PyBytes_AS_STRING(pending._raw)
            scores = <float*>(rows + asked.k)
            pending._places = asked.k
            pending._dtype = FLOAT32
        if is_native:
            now = self._ledger._ledger.get().at(started)
        with nogil:
            if is_plain:
                is_admitted = admits_search(position._handle, now, refusal, receipt)
            if is_admitted and is_ready and not (is_strong and is_native and position.lags()):
                # Kept as it is now, for a search that has to be made again.
                memcpy(scores + asked.k, asked.vector, asked.dim * sizeof(float))
                pending._count = searcher.search(asked, rows, scores)
        if is_plain:
            if receipt.crossed:
                position._native.tell(receipt)
            if not is_admitted:
                # Once more, to sweep before it is refused, and to say what refuses it.
                position._native.charge_items(SEARCH_DUE, 2, now)
        return 0

    cdef int search_any_way(self, Pending pending, object query, object index) except -1:
        rows = scores = NO_ARRAY
        if index is not None:
            rows, scores = index.search(
                query,
                pending._k,
                ef_search=pending._ef_search,
                recall=pending._recall,
                threshold=pending._threshold,
            )
        pending._raw = rows.tobytes() + scores.tobytes() + query.tobytes()
        pending._places = pending._count = len(rows)
        pending._dtype = query.dtype
        return 0


cdef cbool admits_search(
    const Handle& handle, Now now, Refusal& refusal, Receipt& receipt
) noexcept nogil:
    return (
        not handle.is_stale()
        and not handle.slot.flags.load() & suspended_flag
        and try_charge_all(handle, Items(SEARCH_DUE, 2), now, refusal, receipt)
    )
