# A file that is locked by flock for each durable write; included after unread.pxi.

from cpython.bytes cimport PyBytes_AsStringAndSize
from libc.errno cimport EINTR, errno as c_errno
from posix.fcntl cimport O_CLOEXEC, O_CREAT, O_RDWR, open as c_open
from posix.unistd cimport close as c_close, ftruncate, pread, pwrite

cdef extern from "<errno.h>" nogil:
    const int EWOULDBLOCK

cdef extern from "<sys/file.h>" nogil:
    int flock(int, int)
    const int LOCK_EX
    const int LOCK_NB
    const int LOCK_UN

cdef extern from "Python.h":
    object PyErr_SetFromErrnoWithFilenameObject(object, object)

cdef enum:
    holder_bytes = 20

# All that are open; a child that is forked gives up its copies.
cdef Ring open_lock_files


@cython.final
cdef class LockFile:
    """A file of its own descriptor, made where missing. For one thread at a time.

    Unlike a number, it closes itself where an exception from elsewhere lets it fall; and no such
    exception comes within a call.

    Raises:
        OSError: it can't be opened.
    """

    cdef int _descriptor
    cdef Link _link

    def __cinit__(self, path):
        cdef bytes encoded
        cdef char* name = NULL
        self._descriptor = -1  # before anything may raise: 0 is a descriptor
        encoded = os.fsencode(path)
        PyBytes_AsStringAndSize(encoded, &name, NULL)  # refuses a NUL in it
        self._link.owner = <void*>self
        # First, and opened with the GIL held: no other thread forks before it is known.
        open_lock_files.lock()
        open_lock_files.add(self._link)
        open_lock_files.unlock()
        while True:
            self._descriptor = c_open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
            if self._descriptor >= 0 or c_errno != EINTR:
                break
        if self._descriptor < 0:
            PyErr_SetFromErrnoWithFilenameObject(OSError, path)

    def __dealloc__(self):
        self.end()

    cdef void end(self) noexcept:
        cdef int descriptor = self._descriptor
        if descriptor >= 0:
            # Closing alone leaves it locked while a child just forked still has its copy.
            flock(descriptor, LOCK_UN)
            self._descriptor = -1
            c_close(descriptor)
        open_lock_files.lock()
        open_lock_files.remove(self._link)
        open_lock_files.unlock()

    cdef int open_descriptor(self) except -1:
        if self._descriptor < 0:
            raise ValueError("the file is closed")
        return self._descriptor

    def lock(self):
        """Lock it: what it says of its last holder; None where another one has it."""
        cdef int descriptor = self.open_descriptor()
        cdef int done
        with nogil:
            while True:
                done = flock(descriptor, LOCK_EX | LOCK_NB)
                if done == 0 or c_errno != EINTR:
                    break
        if done == 0:
            return self.holder()
        if c_errno != EWOULDBLOCK:
            PyErr_SetFromErrnoWithFilenameObject(OSError, None)
        return None

    def holder(self):
        """The first bytes of it, which say who locked it last."""
        cdef char[holder_bytes] found
        cdef Py_ssize_t count
        cdef int descriptor = self.open_descriptor()
        with nogil:
            while True:
                count = pread(descriptor, found, holder_bytes, 0)
                if count >= 0 or c_errno != EINTR:
                    break
        if count < 0:
            PyErr_SetFromErrnoWithFilenameObject(OSError, None)
        return found[:count]

    def sign(self, bytes holder not None):
        """Say in it who has locked it, in place of all that it said."""
        cdef int descriptor = self.open_descriptor()
        cdef const char* data = PyBytes_AS_STRING(holder)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(holder)
        cdef Py_ssize_t done
        with nogil:
            done = ftruncate(descriptor, 0)
            if done == 0:
                done = pwrite(descriptor, data, <size_t>size, 0)
        if done < 0:
            PyErr_SetFromErrnoWithFilenameObject(OSError, None)

    def close(self):
        """Unlock and close it; does nothing the second time."""
        self.end()


def leave_lock_files():
    """For a forked child, whose one thread this is: close the copies that it got of locked files.

    Unlocking them would unlock the parent's.
    """
    cdef Link* link = open_lock_files.first()
    cdef LockFile file
    while link != NULL:
        file = <LockFile>link.owner
        open_lock_files.remove(link[0])
        if file._descriptor >= 0:
            c_close(file._descriptor)
            file._descriptor = -1
        link = open_lock_files.first()
