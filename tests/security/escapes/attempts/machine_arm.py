"""Machine code of its own, which calls the kernel as no library would. For 64-bit ARM."""

import ctypes
import mmap
import os

_DATA = 2048
_PROT_READ_EXEC = 5
_OPENAT = 56
_CALL = (0xD4000001).to_bytes(4, "little")  # svc #0
_RETURN = (0xD65F03C0).to_bytes(4, "little")


def _run(code, data):
    """Run code that begins with x0 as the address of data; what it leaves in x0, signed."""
    page = mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_WRITE)
    page[: len(code)] = code
    page[_DATA : _DATA + len(data)] = data
    start = ctypes.addressof(ctypes.c_char.from_buffer(page))
    # Once it is written: the kernel then has the instruction cache read it anew.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(start), ctypes.c_size_t(len(page)), _PROT_READ_EXEC):
        raise OSError(ctypes.get_errno(), "mprotect")
    result = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p)(start)(start + _DATA)
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


def _move(register, value, shift=0):
    """movz, or movk of the next half words."""
    word = (0xF2800000 if shift else 0xD2800000) | (shift // 16) << 21 | value << 5 | register
    return word.to_bytes(4, "little")


_PATH_SECOND = (0xAA0003E1).to_bytes(4, "little")  # mov x1, x0
_AT_FDCWD = (0x92800C60).to_bytes(4, "little")  # mov x0, #-100
_OPEN = _PATH_SECOND + _AT_FDCWD + _move(2, 0) + _move(3, 0) + _move(8, _OPENAT)


def _opened(code, room):
    file = _run(code + _CALL + _RETURN, room["secret"].encode() + b"\0")
    return os.read(file, 4096).decode()


def own_code(room):
    """Code of its own opens the file by the usual call."""
    return _opened(_OPEN, room)


def number_with_high_bits(room):
    """Filters have compared 32 bits of what the kernel took 64 of, and the other way round."""
    return _opened(_OPEN + _move(8, 1, 32), room)
