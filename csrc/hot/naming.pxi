# Errors that get a name of llmspell's own; see llmspell/storage/errors.py.


@cython.final
cdef class Naming:
    """Around a block: raise in place of its exception what names it.

    Args:
        name: of an Exception, ``path`` and ``doing`` it makes the one to raise, or None.
    """

    cdef object _name
    cdef object _path
    cdef object _doing

    def __cinit__(self, name not None, path, doing):
        self._name = name
        self._path = path
        self._doing = doing

    def __enter__(self):
        pass

    def __exit__(self, kind, error, trace):
        if not isinstance(error, Exception):
            return
        named = self._name(error, self._path, self._doing)
        if named is not None:
            raise named from error
