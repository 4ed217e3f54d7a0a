# How many operations are inside of something that may only be closed when none is.

from native cimport AtomicLong


@cython.final
cdef class Uses:
    """Counts the blocks under way: ``with uses: ...``. Thread-safe; one atomic addition each.

    Entering can't be cut short between counting and the block, as by KeyboardInterrupt.
    """

    cdef AtomicLong _count

    def __enter__(self):
        self._count.fetch_add(1)

    def __exit__(self, kind, error, trace):
        self._count.fetch_sub(1)

    @property
    def count(self):
        """Blocks under way."""
        return self._count.load()
