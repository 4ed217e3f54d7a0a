"""Changes what isn't the tool's; what it did shows outside."""

import ctypes
import fcntl
import mmap
import os
import socket
import stat

from calls import call, checked, libc


def write(room):
    with open(room["canary"], "w") as file:
        file.write("changed")


def append(room):
    with open(room["canary"], "a") as file:
        file.write("changed")


def cut(room):
    os.truncate(room["canary"], 1)


def cut_what_may_be_read(room):
    os.truncate(room["readable"] + "/data", 1)


def write_what_may_be_read(room):
    with open(room["readable"] + "/data", "w") as file:
        file.write("changed")


def write_by_reopening(room):
    found = os.open(room["readable"] + "/data", os.O_RDONLY)
    with open(f"/proc/self/fd/{found}", "w") as file:
        file.write("changed")


def write_by_link(room):
    with open(room["writable"] + "/canary-link", "w") as file:
        file.write("changed")


def write_by_dots(room):
    with open(room["writable"] + "/../outside/canary", "w") as file:
        file.write("changed")


def write_by_mapping(room):
    with open(room["canary"], "r+b") as file, mmap.mmap(file.fileno(), 4) as mapped:
        mapped[:4] = b"gone"


def write_by_hard_link(room):
    link = room["writable"] + "/hard-canary"
    os.link(room["canary"], link)
    with open(link, "w") as file:
        file.write("changed")


def delete(room):
    os.unlink(room["canary"])


def delete_what_may_be_read(room):
    os.unlink(room["readable"] + "/data")


def delete_directory(room):
    os.rmdir(room["outside"] + "/empty")


def replace(room):
    made = room["writable"] + "/replacement"
    with open(made, "w") as file:
        file.write("changed")
    os.replace(made, room["canary"])


def replace_own_directory(room):
    os.rename(room["writable"], room["base"] + "/renamed")


def exchange(room):
    """The two change places."""
    made = room["writable"] + "/exchanged"
    with open(made, "w") as file:
        file.write("changed")
    checked(libc.renameat2(-100, made.encode(), -100, room["canary"].encode(), 2), "renameat2")


def make_file(room):
    with open(room["outside"] + "/made", "x") as file:
        file.write("changed")


def make_directory(room):
    os.mkdir(room["outside"] + "/made")


def make_link(room):
    os.symlink("/etc/passwd", room["outside"] + "/made")


def make_pipe(room):
    os.mkfifo(room["outside"] + "/made")


def make_device(room):
    os.mknod(room["outside"] + "/made", stat.S_IFCHR | 0o600, os.makedev(1, 3))


def make_device_where_it_may_write(room):
    made = room["writable"] + "/device"
    os.mknod(made, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    with open(made, "rb") as file:
        return "done" if file.read(4) == bytes(4) else "no"


def make_pipe_where_it_may_write(room):
    os.mkfifo(room["writable"] + "/pipe-of-it")
    return "done"


def make_link_where_it_may_write(room):
    os.symlink(room["secret"], room["writable"] + "/link-of-it")
    return "done"


def make_socket(room):
    with socket.socket(socket.AF_UNIX) as talk:
        talk.bind(room["outside"] + "/made")


def make_unnamed_file(room):
    file = os.open(room["outside"], os.O_TMPFILE | os.O_RDWR, 0o600)
    os.write(file, b"x" * 4096)
    return "done"


def mode(room):
    os.chmod(room["canary"], 0o777)


def mode_by_descriptor(room):
    os.fchmod(os.open(room["readable"] + "/data", os.O_RDONLY), 0o4777)


def mode_of_own_program(room):
    """A program that gives everybody on this host the rights of the owner."""
    made = os.open(room["writable"] + "/program", os.O_WRONLY | os.O_CREAT, 0o755)
    os.write(made, b"#!/bin/sh\n")
    os.fchmod(made, 0o4755)
    if os.fstat(made).st_mode & stat.S_ISUID:
        return "done"
    raise PermissionError("without the right")


def mode_at_its_making(room):
    made = os.open(room["writable"] + "/made-with-rights", os.O_WRONLY | os.O_CREAT, 0o4755)
    if os.fstat(made).st_mode & stat.S_ISUID:
        return "done"
    raise PermissionError("without the right")


def mode_at_its_making_by_openat2(room):
    how = (ctypes.c_uint64 * 3)(os.O_WRONLY | os.O_CREAT, 0o4755, 0)
    path = room["writable"] + "/made-with-rights-too"
    made = call("openat2", -100, path.encode(), how, 24)
    if os.fstat(made).st_mode & stat.S_ISUID:
        return "done"
    raise PermissionError("without the right")


def times(room):
    os.utime(room["canary"], (77, 77))


def times_of_what_may_be_read(room):
    found = os.open(room["readable"] + "/data", os.O_RDONLY)
    os.utime(found, (77, 77))


def owner(room):
    os.chown(room["canary"], os.getuid(), room["other_group"])


def owner_of_what_may_be_read(room):
    os.fchown(os.open(room["readable"] + "/data", os.O_RDONLY), -1, room["other_group"])


def attribute(room):
    os.setxattr(room["canary"], "user.changed", b"x")


def lock(room):
    """A lease or a lock that keeps its owner waiting."""
    file = os.open(room["readable"] + "/data", os.O_RDONLY)
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    return "done"


def shared_memory_by_name(room):
    libc.shm_open.restype = ctypes.c_int
    checked(libc.shm_open(room["shm"].encode(), os.O_RDWR | os.O_CREAT, 0o600), "shm_open")


def file_of_everybody(room):
    with open("/tmp/" + room["shm"].lstrip("/"), "x") as file:
        file.write("changed")


def kernel_setting(room):
    """Written as it is, which is as good as otherwise."""
    with open("/proc/sys/kernel/core_pattern", "r+") as file:
        value = file.read()
        file.seek(0)
        file.write(value)
    return "done"


def control_group(room):
    """Its way out of the group that holds its memory."""
    with open(room["group"] + "/cgroup.procs", "w") as file:
        file.write("0")
    return "done"


def score_of_memory(room):
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("-900")
    return "done"
