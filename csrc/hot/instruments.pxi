# Binds csrc/base/instruments.hpp.

from native cimport CCounter, CHistogram, bound_of, bucket_count


def now_ns():
    """Nanoseconds since boot, on the clock that the ledger and the histograms use."""
    return boot_time_ns()


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
