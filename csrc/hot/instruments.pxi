# Binds csrc/base/instruments.hpp.

cimport cython

from native cimport CCounter, CHistogram, bound_of, bucket_count


def now_ns():
    """Nanoseconds since boot, on the clock that the ledger and the histograms use."""
    return boot_time_ns()


@cython.final
cdef class Counter:
    """A number that only grows. Thread-safe; an increment is one atomic addition."""

    cdef CCounter _counter

    def inc(self, amount=1):
        """Add ``amount``; raises InputError where it is negative or beyond 64 bits."""
        self._counter.add(<uint64_t>to_amount(amount))

    @property
    def value(self):
        """What has been added so far."""
        return self._counter.value()


@cython.final
cdef class Histogram:
    """How often an operation took how long, in buckets from 1 µs to 34 s.

    Bounds grow by quarters of a power of two. Thread-safe; recording is two atomic additions.
    """

    cdef CHistogram _histogram

    def record(self, ns):
        """Count one duration in ns; raises InputError where it is negative or beyond 64 bits."""
        self._histogram.record(<uint64_t>to_amount(ns))

    def record_since(self, uint64_t started):
        """Count the time since ``started``, a reading of :func:`now_ns`; returns it in ns."""
        return self.add_since(started)

    cdef inline uint64_t add_since(self, uint64_t started) noexcept:
        cdef uint64_t now = boot_time_ns()
        cdef uint64_t passed = now - started if now > started else 0
        self._histogram.record(passed)
        return passed

    @property
    def count(self):
        """How many durations were recorded."""
        cdef uint64_t total = 0
        cdef size_t i
        for i in range(bucket_count):
            total += self._histogram.count_in(i)
        return total

    @property
    def sum_ns(self):
        """Sum of all durations in ns."""
        return self._histogram.sum()

    def buckets(self):
        """Return ``(bound in ns, durations up to it)`` at each power of two, then (None, all)."""
        cdef uint64_t total = 0
        cdef uint64_t bound
        cdef size_t i
        found = []
        for i in range(bucket_count):
            total += self._histogram.count_in(i)
            bound = bound_of(i)
            if bound & (bound - 1) == 0:
                found.append((bound if bound else None, total))
        return found

    def quantile(self, double q):
        """Return the bound in ns below which a share ``q`` of the durations lies, or None.

        None stands for an empty histogram and for a duration beyond the last bound.

        Raises:
            InputError: ``q`` lies outside 0 to 1.
        """
        if not 0.0 <= q <= 1.0:
            raise InputError(f"q must lie between 0 and 1, got {q!r}")
        cdef uint64_t total = 0
        cdef uint64_t all_of_them = self.count
        cdef size_t i
        if all_of_them == 0:
            return None
        for i in range(bucket_count):
            total += self._histogram.count_in(i)
            if total and total >= q * all_of_them:
                return bound_of(i) or None
        return None


@cython.final
cdef class Operation:
    """One kind of operation: how often it went well, was refused or failed, and how long it took.

    Args:
        refusals: counters by quota name, shared by all operations of a database.

    Thread-safe.
    """

    cdef readonly Counter ok
    cdef readonly Counter refused
    cdef readonly Counter failed
    cdef readonly Histogram duration
    cdef readonly dict refusals

    def __cinit__(self, dict refusals not None):
        self.ok = Counter()
        self.refused = Counter()
        self.failed = Counter()
        self.duration = Histogram()
        self.refusals = refusals

    def timed(self):
        """Return a context manager that counts its block once; the block's exception passes."""
        return Timer.__new__(Timer, self)

    cdef int count(self, uint64_t started, object error) except -1:
        cdef Counter outcome = self.ok
        self.duration.add_since(started)
        if isinstance(error, QuotaExceeded):
            outcome = self.refused
            (<Counter?>self.refusals[error.quota])._counter.add(1)
        elif error is not None:
            outcome = self.failed
        outcome._counter.add(1)
        return 0


@cython.final
@cython.freelist(64)
cdef class Timer:
    """Counts one run of an :class:`Operation` by outcome and duration; from its ``timed()``."""

    cdef Operation _operation
    cdef uint64_t _started

    def __cinit__(self, Operation operation not None):
        self._operation = operation

    def __enter__(self):
        self._started = boot_time_ns()
        return self

    def __exit__(self, kind, error, trace):
        self._operation.count(self._started, error)
