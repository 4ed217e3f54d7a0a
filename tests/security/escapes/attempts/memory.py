"""Takes more of the machine than a tool may hold at once; "done" where it had it."""

import contextlib
import ctypes
import fcntl
import mmap
import os
import select
import socket
import threading
import time

from calls import call, checked, libc

_PAGE = mmap.PAGESIZE


def _touch(memory, size):
    for place in range(0, size, _PAGE):
        memory[place] = 1


def allocate(room):
    held = bytearray(b"\1") * room["bytes"]
    return "done" if len(held) == room["bytes"] else "no"


def allocate_in_pieces(room):
    held = []
    while sum(map(len, held)) < room["bytes"]:
        held.append(b"\1" * (1 << 16) + os.urandom(1))
    return "done"


def allocate_numbers(room):
    """Small objects, which no limit of one block stops."""
    held = list(range(room["bytes"] // 36))
    return "done" if held else "no"


def by_c_library(room):
    libc.malloc.restype = ctypes.c_void_p
    place = libc.malloc(ctypes.c_size_t(room["bytes"]))
    if not place:
        raise MemoryError("malloc")
    ctypes.memset(place, 1, room["bytes"])
    return "done"


def map_private(room):
    with mmap.mmap(-1, room["bytes"], mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:
        _touch(held, room["bytes"])
    return "done"


def map_shared(room):
    with mmap.mmap(-1, room["bytes"], mmap.MAP_SHARED | mmap.MAP_ANONYMOUS) as held:
        _touch(held, room["bytes"])
    return "done"


def map_at_once(room):
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x8000  # MAP_POPULATE
    with mmap.mmap(-1, room["bytes"], flags):
        return "done"


def file_in_memory(room):
    file = call("memfd_create", b"x", 0)
    for _ in range(room["bytes"] >> 20):
        os.write(file, b"x" * (1 << 20))
    return "done"


def by_name(room):
    file = checked(libc.shm_open(room["shm"].encode(), os.O_RDWR | os.O_CREAT, 0o600), "shm_open")
    libc.shm_unlink(room["shm"].encode())
    for _ in range(room["bytes"] >> 20):
        os.write(file, b"x" * (1 << 20))
    return "done"


def in_a_directory_of_memory(room):
    """Files of a tmpfs, where the tool may write in one."""
    path = room["memory"] + "/filled"
    with open(path, "wb", buffering=0) as file:
        for _ in range(room["bytes"] >> 20):
            file.write(b"x" * (1 << 20))
        os.unlink(path)
        return "done"


def of_system_five(room):
    made = call("shmget", 0, room["bytes"], 0o600)
    try:
        place = call("shmat", made, None, 0)
        ctypes.memset(place, 1, room["bytes"])
    finally:
        call("shmctl", made, 0, None)
    return "done"


def stacks_of_threads(room):
    """Each thread fills its own."""
    size = 8 << 20
    threading.stack_size(size)
    go = threading.Event()
    failed = []

    def fill():
        try:
            held = ctypes.create_string_buffer(1)
            held = bytearray(b"\1") * (size // 2)
            go.wait()
            del held
        except MemoryError as error:
            failed.append(error)

    threads = []
    try:
        for _ in range(room["bytes"] // size * 2):
            threads.append(threading.Thread(target=fill, daemon=True))
            threads[-1].start()
    except RuntimeError as error:
        raise MemoryError(str(error)) from None
    finally:
        go.set()
        for thread in threads:
            if thread.ident:
                thread.join()
    if failed:
        raise MemoryError
    return "done"


def pipes(room):
    """What is written to a pipe and not read is the kernel's to hold."""
    held = []
    size = 0
    while size < room["bytes"]:
        ours, theirs = os.pipe()
        held += [ours, theirs]
        os.set_blocking(theirs, False)
        try:
            while True:
                size += os.write(theirs, b"x" * 65536)
        except BlockingIOError:
            continue
    return "done"


def sockets(room):
    held = []
    size = 0
    while size < room["bytes"]:
        one, other = socket.socketpair()
        held += [one, other]
        one.setblocking(False)
        try:
            while True:
                size += one.send(b"x" * 65536)
        except BlockingIOError:
            continue
    return "done"


def larger_pipes(room):
    held = []
    for _ in range(room["bytes"] >> 20):
        ours, theirs = os.pipe()
        held += [ours, theirs]
        fcntl.fcntl(theirs, 1031, 1 << 20)
        os.write(theirs, b"x" * (1 << 20))
    return "done"


def descriptors(room):
    held = [os.dup(0) for _ in range(1_000)]
    return "done" if held else "no"


def _end(children):
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, 9)


def _await_all(ours, wanted):
    """Each tells that it has what it wanted; an end of one is a refusal."""
    count = 0
    while count < wanted:
        ended, code = os.waitpid(-1, os.WNOHANG)
        if ended:
            raise MemoryError(f"a child ended: {code}")
        if select.select([ours], [], [], 0.01)[0]:
            count += len(os.read(ours, wanted))


def in_children(room):
    """Each is within its own limit; all together aren't."""
    ours, theirs = os.pipe()
    children = []
    wanted = 4
    try:
        for _ in range(wanted):
            child = os.fork()
            if child == 0:
                held = bytearray(b"\1") * (room["bytes"] // wanted)
                os.write(theirs, b"1")
                time.sleep(60)
                os._exit(len(held) and 0)
            children.append(child)
        os.close(theirs)
        _await_all(ours, wanted)
        return "done"
    finally:
        _end(children)


def shared_with_children(room):
    """Mapped before, filled by those that come."""
    parts = [mmap.mmap(-1, 1 << 20) for _ in range(32)]
    wanted = max(2, (room["bytes"] >> 20) // 32)
    children = []
    try:
        ours, theirs = os.pipe()
        for _ in range(wanted):
            child = os.fork()
            if child == 0:
                held = [bytearray(b"\1") * (1 << 20) for _ in parts]
                os.write(theirs, b"1")
                time.sleep(60)
                os._exit(len(held) and 0)
            children.append(child)
        os.close(theirs)
        _await_all(ours, wanted)
        return "done"
    finally:
        _end(children)


def fork_bomb(room):
    """Many at one time: each waits, as nothing of it is stopped."""
    children = []
    try:
        for _ in range(room["processes"]):
            child = os.fork()
            if child == 0:
                time.sleep(60)
                os._exit(0)
            children.append(child)
        return "done"
    finally:
        _end(children)


def fork_of_forks(room):
    """Each has two, and none is waited for."""
    ours, theirs = os.pipe()
    group = os.fork()
    if group == 0:
        os.setsid()
        for _ in range(6):
            try:
                os.fork()
            except OSError:
                break
        os.write(theirs, b"1")
        time.sleep(60)
        os._exit(0)
    try:
        count = 0
        while count < 64:
            if not select.select([ours], [], [], 1)[0]:
                raise BlockingIOError(f"{count} came")
            count += len(os.read(ours, 64))
        return "done"
    finally:
        os.killpg(group, 9)


def threads(room):
    """Threads without end, each of which waits."""
    threading.stack_size(1 << 16)
    go = threading.Event()
    held = []
    try:
        for _ in range(400):
            held.append(threading.Thread(target=go.wait, daemon=True))
            held[-1].start()
        return "done"
    except RuntimeError as error:
        raise BlockingIOError(str(error)) from None
    finally:
        go.set()
