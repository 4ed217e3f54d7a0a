# What a search found and nobody has looked at yet; included after ledger.pxi.

cimport cython

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from native cimport Link, Ring


cdef class SearchDoor
cdef class Unread


# The collector must not empty it, nor what has it, while the ring can give it to somebody.
@cython.final
@cython.freelist(64)
@cython.no_gc_clear
cdef class Pending:
    """A list that is found when it is first looked at. Thread-safe."""

    cdef Link _link
    cdef Unread _unread
    cdef SearchDoor _door
    cdef object _handle
    # The rows found, the scores, the query: so many places for rows and scores each.
    cdef bytes _raw
    cdef Py_ssize_t _places
    cdef Py_ssize_t _count
    cdef object _dtype
    cdef object _k
    cdef object _ef_search
    cdef object _recall
    cdef object _threshold
    cdef list _found

    cpdef list look(self):
        """The list, read where it wasn't looked at before."""
        cdef SearchDoor door = self._door
        if door is None:
            return self._found
        # Kept apart: another thread may be as far.
        cdef bytes raw = self._raw
        handle = self._handle
        cdef Py_ssize_t i
        cdef const char* data = PyBytes_AS_STRING(raw)
        cdef const int64_t* rows = <const int64_t*>data
        cdef const float* scores = <const float*>(rows + self._places)
        cdef const char* query = <const char*>(scores + self._places)
        given = (
            handle,
            [rows[i] for i in range(self._count)],
            [scores[i] for i in range(self._count)],
            query[:PyBytes_GET_SIZE(raw) - (query - data)],
            self._dtype, self._k, self._ef_search, self._recall, self._threshold,
        )
        self._found = door._make(*door._read(*given))
        self.leave()
        self._door = None
        self._raw = None
        self._handle = None
        return self._found

    cdef int leave(self) except -1:
        cdef Unread unread = self._unread
        if unread is None:
            return 0
        unread._ring.lock()
        unread._ring.remove(self._link)
        unread._ring.unlock()
        return 0


@cython.no_gc_clear
cdef class Deferred:
    """A list that was found already, or that is read when it is first looked at. Thread-safe."""

    cdef Pending _pending
    cdef object __weakref__

    def __init__(self, list found not None):
        self._pending = Pending.__new__(Pending)
        self._pending._found = found

    def __dealloc__(self):
        if self._pending is not None:
            self._pending.leave()

    cpdef list look(self):
        """The list, read where it wasn't looked at before; empty where none was ever given."""
        return [] if self._pending is None else self._pending.look()


@cython.final
cdef class Unread:
    """What the :class:`Deferred` lists of a tenant wait for, to be read while that can be done.

    It keeps none of them. Thread-safe.

    Attributes:
        is_closing: whoever comes from now on reads its own.
    """

    cdef Ring _ring
    cdef readonly cbool is_closing

    cdef int add(self, Pending one) except -1:
        one._unread = self
        one._link.owner = <void*>one
        self._ring.lock()
        self._ring.add(one._link)
        self._ring.unlock()
        if self.is_closing:
            # Whoever closes may have read for the others already.
            try:
                one.look()
            except LlmspellError:
                pass  # it is told when they are looked at
        return 0

    cdef Pending take(self):
        # Whatever is on the ring is held by its Deferred, which takes it off before it lets go.
        cdef Pending one = None
        self._ring.lock()
        cdef Link* link = self._ring.first()
        if link != NULL:
            self._ring.remove(link[0])
            one = <Pending>link.owner
        self._ring.unlock()
        return one

    def close(self):
        """Those that are there still, to be read by whoever closes what they read from."""
        self.is_closing = True
        found = []
        # One by one: the collector may run whenever the list grows, and take others off.
        while (one := self.take()) is not None:
            found.append(one)
        return found
