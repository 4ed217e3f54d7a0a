# Binds csrc/base/checksum.hpp.

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint32_t


cdef extern from "base/checksum.hpp" namespace "llmspell" nogil:
    uint32_t native_crc32c "llmspell::crc32c"(const void* data, size_t size, uint32_t seed)


def crc32c(data, uint32_t seed=0):
    """CRC-32C (RFC 3720) of contiguous bytes; ``crc32c(b, crc32c(a))`` is that of a and then b."""
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    cdef uint32_t value = native_crc32c(view.buf, <size_t>view.len, seed)
    PyBuffer_Release(&view)
    return value
