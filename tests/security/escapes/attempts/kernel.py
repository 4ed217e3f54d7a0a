"""Asks the kernel for what no tool needs; each says "done" where it got it."""

import ctypes
import os
import time

from calls import call


def io_uring(room):
    os.close(call("io_uring_setup", 4, ctypes.create_string_buffer(120)))
    return "done"


def user_faults(room):
    os.close(call("userfaultfd", 0))
    return "done"


def key(room):
    call("add_key", b"user", b"llmspell-escape", b"x", 1, -2)
    return "done"


def key_session(room):
    call("keyctl", 1, None)
    return "done"


def key_request(room):
    call("add_key", b"user", b"llmspell-escape", b"x", 1, -2)
    call("request_key", b"user", b"llmspell-escape", None, 0)
    return "done"


def bpf(room):
    attributes = (ctypes.c_uint32 * 18)(2, 4, 4, 1)
    os.close(call("bpf", 0, attributes, 72))
    return "done"


def performance_events(room):
    attributes = ctypes.create_string_buffer(120)
    attributes[0:8] = (1).to_bytes(4, "little") + (120).to_bytes(4, "little")
    os.close(call("perf_event_open", attributes, 0, -1, -1, 0))
    return "done"


def process_by_clone3(room):
    arguments = (ctypes.c_uint64 * 11)(0, 0, 0, 0, 17)
    child = call("clone3", arguments, 88)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return "done"


def module(room):
    call("init_module", ctypes.create_string_buffer(b"\x7fELF"), 4, b"")
    return "done"


def clock(room):
    now = (ctypes.c_long * 2)(int(time.time()), time.time_ns() % 1_000_000_000)
    call("clock_settime", 0, now)
    return "done"


def clock_of_old(room):
    now = (ctypes.c_long * 2)(int(time.time()), time.time_ns() // 1000 % 1_000_000)
    call("settimeofday", now, None)
    return "done"


def clock_rate(room):
    """Set to what it is."""
    state = (ctypes.c_long * 26)()
    call("adjtimex", state)
    state[0] = 0x4000  # ADJ_TICK; the value was read just now
    call("adjtimex", state)
    return "done"


def reboot_key(room):
    """That the keys reboot, as they do from the start."""
    call("reboot", 0xFEE1DEAD, 672274793, 0x89ABCDEF, None)
    return "done"


def host_name(room):
    name = os.uname().nodename.encode()
    call("sethostname", name, len(name))
    return "done"


def accounting(room):
    call("acct", None)
    return "done"


def ports(room):
    call("iopl", 3)
    return "done"


def port(room):
    call("ioperm", 0x80, 1, 1)
    return "done"


def segments(room):
    """A 16-bit segment, which kernels have been left by before."""
    entry = (ctypes.c_uint32 * 4)(0, 0, 0xFFFF, 0x51)
    call("modify_ldt", 1, entry, 16)
    return "done"


def watch_files(room):
    watch = call("inotify_init1", 0)
    call("inotify_add_watch", watch, room["outside"].encode(), 0xFFF)
    return "done"


def watch_all_files(room):
    os.close(call("fanotify_init", 0, 0))
    return "done"


def shared_segment(room):
    made = call("shmget", 0, 4096, 0o600)
    call("shmctl", made, 0, None)
    return "done"


def message_queue(room):
    made = call("msgget", 0, 0o600)
    call("msgctl", made, 0, None)
    return "done"


def semaphores(room):
    made = call("semget", 0, 1, 0o600)
    call("semctl", made, 0, 0, None)
    return "done"


def posix_message_queue(room):
    call("mq_open", b"llmspell-escape", os.O_CREAT | os.O_RDWR, 0o600, None)
    call("mq_unlink", b"llmspell-escape")
    return "done"


def hidden_memory(room):
    """Memory that not even the kernel has mapped."""
    os.close(call("memfd_secret", 0))
    return "done"


def file_in_memory(room):
    os.close(call("memfd_create", b"x", 0))
    return "done"


def program_in_memory(room):
    """A program that lies in no directory."""
    with open("/bin/true", "rb") as file:
        program = file.read()
    made = call("memfd_create", b"x", 0)
    os.write(made, program)
    child = os.fork()
    if child == 0:
        try:
            os.execve(made, ["true"], {})
        finally:
            os._exit(9)
    return "done" if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 else _refused()


def program(room):
    child = os.fork()
    if child == 0:
        try:
            os.execv("/bin/true", ["true"])
        finally:
            os._exit(9)
    return "done" if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 else _refused()


def program_of_its_own(room):
    """Written where it may write, and run."""
    path = room["writable"] + "/own-program"
    with open(path, "w") as file:
        file.write("#!/bin/sh\nexit 0\n")
    os.chmod(path, 0o700)
    child = os.fork()
    if child == 0:
        try:
            os.execv(path, [path])
        finally:
            os._exit(9)
    return "done" if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 else _refused()


def _refused():
    raise PermissionError("the program didn't run")
