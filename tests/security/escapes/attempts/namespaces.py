"""Makes the world another one: namespaces, mounts, roots."""

import ctypes
import os

from calls import call


def _unshare(flags):
    call("unshare", flags)
    return "done"


def users(room):
    return _unshare(0x10000000)


def mounts(room):
    return _unshare(0x00020000)


def networks(room):
    return _unshare(0x40000000)


def processes(room):
    return _unshare(0x20000000)


def names(room):
    return _unshare(0x04000000)


def ipc(room):
    return _unshare(0x08000000)


def groups(room):
    return _unshare(0x02000000)


def clocks(room):
    return _unshare(0x00000080)


def users_by_clone(room):
    child = call("clone", 0x10000000 | 17, 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return "done"


def users_by_clone3(room):
    arguments = (ctypes.c_uint64 * 11)(0x10000000, 0, 0, 0, 17)
    child = call("clone3", arguments, 88)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return "done"


def enter_namespace(room):
    call("setns", os.open("/proc/self/ns/uts", os.O_RDONLY), 0)
    return "done"


def enter_by_handle(room):
    """All that a process is in at once."""
    call("setns", call("pidfd_open", os.getppid(), 0), 0x04000000)
    return "done"


def mount(room):
    call("unshare", 0x00020000)
    call("mount", None, b"/", None, 0x44000, None)
    call("mount", b"none", room["readable"].encode(), b"tmpfs", 0, None)
    return "done"


def bind_mount(room):
    call("unshare", 0x00020000)
    call("mount", None, b"/", None, 0x44000, None)
    call("mount", room["outside"].encode(), room["readable"].encode(), None, 0x1000, None)
    with open(room["readable"] + "/secret") as file:
        return file.read()


def tree_of_mounts(room):
    os.close(call("open_tree", -100, room["outside"].encode(), 1))
    return "done"


def file_system(room):
    os.close(call("fsopen", b"tmpfs", 0))
    return "done"


def root(room):
    call("chroot", room["outside"].encode())
    with open("/secret") as file:
        return file.read()


def root_of_where_it_stands(room):
    call("chroot", b".")
    return "done"


def out_of_the_root(room):
    """The classic way out of a changed root."""
    try:
        inner = os.open(".", os.O_RDONLY)
        call("chroot", b"/tmp")
        os.fchdir(inner)
    except OSError:
        pass
    for _ in range(64):
        os.chdir("..")
    call("chroot", b".")
    with open(room["secret"]) as file:
        return file.read()


def new_root(room):
    call("unshare", 0x00020000)
    call("mount", None, b"/", None, 0x44000, None)
    call("mount", b"none", room["outside"].encode(), b"tmpfs", 0, None)
    os.mkdir(room["outside"] + "/old")
    call("pivot_root", room["outside"].encode(), (room["outside"] + "/old").encode())
    return "done"


def unmount(room):
    call("unshare", 0x00020000)
    call("mount", None, b"/", None, 0x44000, None)
    call("umount2", b"/dev/shm", 2)
    return "done"
