"""Machine code of its own, which calls the kernel as no library would. For x86-64."""

import ctypes
import mmap
import os

# MAP_32BIT: the calls of another architecture take addresses of 32 bits.
_LOW = 0x40


def _page():
    return mmap.mmap(
        -1,
        mmap.PAGESIZE,
        mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _LOW,
        mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC,
    )


def _run(code, data=b""):
    """Run code that begins with rdi as the address of data; what it leaves in rax, signed."""
    page = _page()
    page[: len(code)] = code
    page[2048 : 2048 + len(data)] = data
    start = ctypes.addressof(ctypes.c_char.from_buffer(page))
    function = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p)(start)
    result = function(start + 2048)
    result = ctypes.c_int(result & 0xFFFFFFFF).value
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result, page


def _move(register, value):
    return bytes([0xB8 + register]) + value.to_bytes(4, "little")


_EAX, _ECX, _EDX, _ESI = 0, 1, 2, 6
_SYSCALL = b"\x0f\x05"
_INT80 = b"\xcd\x80"
_RETURN = b"\xc3"
# push rbx; and back before the return.
_KEEP, _BACK = b"\x53", b"\x5b"
_EBX_FROM_DATA = b"\x89\xfb"  # mov ebx, edi


def own_code(room):
    """Code of its own opens the file by the usual call."""
    code = _move(_ESI, 0) + _move(_EDX, 0) + _move(_EAX, 2) + _SYSCALL + _RETURN
    file, _ = _run(code, room["secret"].encode() + b"\0")
    return os.read(file, 4096).decode()


def old_call(room):
    """The same by the numbers of 32 bits."""
    code = _KEEP + _EBX_FROM_DATA + _move(_ECX, 0) + _move(_EDX, 0) + _move(_EAX, 5)
    file, _ = _run(code + _INT80 + _BACK + _RETURN, room["secret"].encode() + b"\0")
    return os.read(file, 4096).decode()


def old_call_that_harms_nobody(room):
    _run(_KEEP + _move(_EAX, 20) + _INT80 + _BACK + _RETURN)
    return "done"


def old_socket(room):
    """Sockets of 32 bits have one call for all that they do."""
    arguments = b"".join(one.to_bytes(4, "little") for one in (2, 2, 0))
    code = _KEEP + _move(3, 1) + b"\x89\xf9" + _move(_EAX, 102) + _INT80 + _BACK + _RETURN
    file, _ = _run(code, arguments)
    os.close(file)
    return "done"


def call_of_x32(room):
    code = _move(_ESI, 0) + _move(_EDX, 0) + _move(_EAX, 0x40000002) + _SYSCALL + _RETURN
    file, _ = _run(code, room["secret"].encode() + b"\0")
    return os.read(file, 4096).decode()


def number_with_high_bits(room):
    """Filters have compared 32 bits of what the kernel took 64 of, and the other way round."""
    code = (
        _move(_ESI, 0)
        + _move(_EDX, 0)
        + b"\x48\xb8"
        + (0x1_0000_0002).to_bytes(8, "little")
        + _SYSCALL
        + _RETURN
    )
    file, _ = _run(code, room["secret"].encode() + b"\0")
    return os.read(file, 4096).decode()
