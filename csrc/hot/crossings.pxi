# What a thread tells behind its locks; see llmspell/quota/crossings.py.


@cython.final
cdef class ToldAfter:
    """Keeps calls of a thread for the end of a block, unless one around it does.

    No exception from elsewhere comes within entering, or between the end and the first call.

    Args:
        kept: a ``threading.local`` with ``calls``: None, or the list that they are added to.
    """

    cdef object _kept
    cdef list _calls

    def __cinit__(self, kept not None):
        self._kept = kept

    def __enter__(self):
        if self._kept.calls is None:
            self._calls = []
            self._kept.calls = self._calls

    def __exit__(self, kind, error, trace):
        cdef list calls = self._calls
        if calls is None:
            return
        self._calls = None
        self._kept.calls = None
        for call in calls:
            call()
