"""Takes rights that it has not, or shakes off what holds it."""

import ctypes
import mmap
import os
import resource

from calls import call, checked, libc


def personality(room):
    call("personality", 0x0040000)
    return "done"


def another_user(room):
    os.setuid(65534)
    return "done"


def other_groups(room):
    os.setgroups([65534])
    return "done"


def all_rights(room):
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    rights = (ctypes.c_uint32 * 6)(0xFFFFFFFF, 0xFFFFFFFF, 0, 0x1FF, 0x1FF, 0)
    call("capset", header, rights)
    return "done"


def rights_by_prctl(room):
    checked(libc.prctl(28, 1, 0, 0, 0), "prctl")  # PR_SET_SECUREBITS, SECBIT_NOROOT
    return "done"


def higher_limits(room):
    """More descriptors than it began with may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = (ctypes.c_ulong * 2)(hard + 1, hard + 1)
    checked(libc.setrlimit(resource.RLIMIT_NOFILE, wanted), "setrlimit")
    return "done"


def locked_memory(room):
    page = mmap.mmap(-1, 1 << 20)
    place = ctypes.addressof(ctypes.c_char.from_buffer(page))
    checked(libc.mlock(ctypes.c_void_p(place), 1 << 20), "mlock")
    return "done"


def relax_filter(room):
    """A filter that allows everything, on top; then the file."""
    try:
        checked(libc.prctl(38, 1, 0, 0, 0), "prctl")
        allow = (ctypes.c_uint64 * 1)(0x7FFF0000 << 32 | 0x06)
        program = (ctypes.c_uint64 * 2)(1, ctypes.addressof(allow))
        call("seccomp", 1, 0, program)
    except OSError:
        pass
    with open(room["secret"]) as file:
        return file.read()


def listen_to_filter(room):
    """A filter with a listener, which answers calls in the kernel's place."""
    checked(libc.prctl(38, 1, 0, 0, 0), "prctl")
    allow = (ctypes.c_uint64 * 1)(0x7FFF0000 << 32 | 0x06)
    program = (ctypes.c_uint64 * 2)(1, ctypes.addressof(allow))
    os.close(call("seccomp", 1, 8, program))
    return "done"


def relax_files(room):
    """A wider set of rules, on top; then the file."""
    handled = (ctypes.c_uint64 * 1)(1 << 2)
    try:
        rules = call("landlock_create_ruleset", handled, 8, 0)
        parent = os.open("/", os.O_PATH)
        beneath = (1 << 2).to_bytes(8, "little") + parent.to_bytes(4, "little")
        libc.syscall(445, rules, 1, ctypes.create_string_buffer(beneath), 0)
        checked(libc.prctl(38, 1, 0, 0, 0), "prctl")
        libc.syscall(446, rules, 0)
    except OSError:
        pass
    with open(room["secret"]) as file:
        return file.read()
