# Opening beneath a directory, as one step of the kernel; included after lock_file.pxi.

from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from libc.stdint cimport uint64_t

cdef extern from *:
    """
    #include <cerrno>
    #include <cstdint>
    #if defined(__linux__)
    #include <sys/syscall.h>
    #include <unistd.h>
    #ifndef SYS_openat2
    #define SYS_openat2 437  // the same on all machines; absent from headers before Linux 5.6
    #endif
    #endif

    namespace {
    // struct open_how of <linux/openat2.h>, which older headers lack; its flags are fixed for good.
    struct OpenHow {
      std::uint64_t flags, mode, resolve;
    };
    constexpr std::uint64_t no_magiclinks = 0x02, no_symlinks = 0x04, beneath = 0x08;

    int native_open_beneath(int directory, const char* path, std::uint64_t flags,
                            std::uint64_t mode) noexcept {
    #if defined(__linux__)
      OpenHow how{flags, mode, no_magiclinks | no_symlinks | beneath};
      return static_cast<int>(syscall(SYS_openat2, directory, path, &how, sizeof how));
    #else
      (void)directory, (void)path, (void)flags, (void)mode;
      errno = ENOSYS;
      return -1;
    #endif
    }
    }  // namespace
    """
    int native_open_beneath(int directory, const char* path, uint64_t flags, uint64_t mode) nogil

cdef extern from "<errno.h>" nogil:
    const int EAGAIN


def open_beneath(int directory, bytes path not None, int flags, int mode=0):
    """A descriptor of what is beneath a directory; links of no kind are followed (openat2(2)).

    It is closed on exec. ``mode`` must be 0 unless the flags create.

    Raises:
        OSError: ELOOP for a symbolic link in the path, EXDEV for one that leads out, ENOSYS or EPERM
            where the kernel or a filter of system calls doesn't have openat2.
    """
    cdef char* name = NULL
    cdef int descriptor
    cdef int tries = 0
    PyBytes_AsStringAndSize(path, &name, NULL)  # refuses a NUL in it
    while True:
        with nogil:
            descriptor = native_open_beneath(
                directory, name, <uint64_t><unsigned int>(flags | O_CLOEXEC), <uint64_t>mode
            )
        if descriptor >= 0:
            return descriptor
        # EAGAIN: something was renamed while ".." was followed, which may be over by now.
        if c_errno == EAGAIN and tries < 128:
            tries += 1
        elif c_errno != EINTR:
            PyErr_SetFromErrno(OSError)
        PyErr_CheckSignals()
