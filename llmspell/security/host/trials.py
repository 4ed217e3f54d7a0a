"""Tries what the kernel enforces, each in a process of its own, and prints JSON of what held.

Run as a script by :mod:`llmspell.security.host.probing`, in a fresh interpreter of one thread: what
is tried here can't be undone, and a fork of the caller would take its threads' locks along. It
imports nothing of llmspell. System calls are made by number, from 424 on the same everywhere.
"""

import ctypes
import errno
import functools
import json
import os
import platform
import socket
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

PIDFD_SEND_SIGNAL, PIDFD_OPEN, OPENAT2 = 424, 434, 437
LANDLOCK_CREATE_RULESET, LANDLOCK_RESTRICT_SELF = 444, 446
LANDLOCK_CREATE_RULESET_VERSION = 1
LANDLOCK_ACCESS_FS_READ_DIR = 1 << 3

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS = 22, 38, 39
SECCOMP_MODE_FILTER = 2
SECCOMP_GET_ACTION_AVAIL = 2
SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW = 0x0005_0000, 0x7FFF_0000
SECCOMP = {"x86_64": 317, "aarch64": 277, "riscv64": 277}

CLONE_NEWUSER, CLONE_NEWNET = 0x1000_0000, 0x4000_0000
RESOLVE_BENEATH = 0x08

LIFETIME = 10  # seconds of a process that should have been ended long before


@functools.cache
def libc() -> ctypes.CDLL:
    """The C library that this process has; not all systems give it so."""
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    return library


class Missing(Exception):
    """What is tried isn't there, or doesn't hold; the text says how that showed."""


def call(name: str, number: int, *arguments: Any) -> int:
    """A system call, with its error as an OSError that names it."""
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result: int = libc().syscall(ctypes.c_long(number), *wide)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


def prctl(name: str, option: int, *arguments: Any) -> int:
    """A prctl, with its error as an OSError that names it."""
    wide = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments]
    wide += [ctypes.c_ulong(0)] * (4 - len(wide))
    result: int = libc().prctl(ctypes.c_int(option), *wide)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


def no_new_privs() -> bool:
    """Set it for good, and see it set."""
    prctl("PR_SET_NO_NEW_PRIVS", PR_SET_NO_NEW_PRIVS, 1)
    if prctl("PR_GET_NO_NEW_PRIVS", PR_GET_NO_NEW_PRIVS) != 1:
        raise Missing("PR_SET_NO_NEW_PRIVS was taken and isn't set")
    return True


def landlock_abi() -> int:
    """The interface's version, after the root directory was refused by a ruleset."""
    abi = call(
        "landlock_create_ruleset",
        LANDLOCK_CREATE_RULESET,
        None,
        0,
        LANDLOCK_CREATE_RULESET_VERSION,
    )
    no_new_privs()
    handled = ctypes.c_uint64(LANDLOCK_ACCESS_FS_READ_DIR)
    ruleset = call("landlock_create_ruleset", LANDLOCK_CREATE_RULESET, ctypes.byref(handled), 8, 0)
    os.listdir("/")
    call("landlock_restrict_self", LANDLOCK_RESTRICT_SELF, ruleset, 0)
    try:
        os.listdir("/")
    except PermissionError:
        return abi
    raise Missing("a ruleset was taken and / could still be listed")


class _Instruction(ctypes.Structure):
    _fields_ = [
        ("code", ctypes.c_uint16),
        ("jt", ctypes.c_uint8),
        ("jf", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    ]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint16), ("filter", ctypes.POINTER(_Instruction))]


def seccomp() -> bool:
    """Install a filter that refuses pidfd_open with EXDEV, and be refused so."""
    number = SECCOMP.get(platform.machine())
    if number is not None:
        action = ctypes.c_uint32(SECCOMP_RET_ERRNO)
        call("seccomp", number, SECCOMP_GET_ACTION_AVAIL, 0, ctypes.byref(action))
    no_new_privs()
    instructions = (
        _Instruction(0x20, 0, 0, 0),  # load the number of the call
        _Instruction(0x15, 0, 1, PIDFD_OPEN),  # another skips the next
        _Instruction(0x06, 0, 0, SECCOMP_RET_ERRNO | errno.EXDEV),
        _Instruction(0x06, 0, 0, SECCOMP_RET_ALLOW),
    )
    filter_ = (_Instruction * len(instructions))(*instructions)
    program = _Program(len(filter_), filter_)
    prctl("PR_SET_SECCOMP", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program))
    try:
        call("pidfd_open", PIDFD_OPEN, os.getpid(), 0)
    except OSError as error:
        if error.errno == errno.EXDEV:
            return True
    raise Missing("a filter was taken and the call went on")


def user_namespaces() -> bool:
    """Enter one, and become its root."""
    user = os.geteuid()
    _unshare("unshare(CLONE_NEWUSER)", CLONE_NEWUSER, "user")
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)
    if os.geteuid() != 0:
        raise Missing("a user namespace was taken and its root isn't this process")
    return True


def network_namespaces() -> bool:
    """Enter an empty one, by a user namespace or, with the right to, without."""
    try:
        _unshare("unshare(CLONE_NEWUSER | CLONE_NEWNET)", CLONE_NEWUSER | CLONE_NEWNET, "net")
    except OSError:
        _unshare("unshare(CLONE_NEWNET)", CLONE_NEWNET, "net")
    others = [name for _, name in socket.if_nameindex() if name != "lo"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there:
        try:
            there.connect(("192.0.2.1", 9))
        except OSError:
            return True
    raise Missing(f"a network namespace was taken and has a way out: {', '.join(others)}")


def _unshare(name: str, flags: int, kind: str) -> None:
    before = os.readlink(f"/proc/self/ns/{kind}")
    if libc().unshare(ctypes.c_int(flags)) < 0:
        raise OSError(ctypes.get_errno(), name)
    if os.readlink(f"/proc/self/ns/{kind}") == before:
        raise Missing(f"{name} was taken and the namespace is the same")


def openat2() -> bool:
    """Open a directory beneath /, and be refused what leads out of one."""
    how = (ctypes.c_uint64 * 3)(os.O_PATH | os.O_CLOEXEC, 0, RESOLVE_BENEATH)
    root = os.open("/proc", os.O_PATH | os.O_CLOEXEC)
    for name, leads_out in ((b"self", False), (b"..", True)):
        try:
            call("openat2", OPENAT2, root, ctypes.c_char_p(name), ctypes.byref(how), 24)
        except OSError as error:
            if not leads_out or error.errno != errno.EXDEV:
                raise
        else:
            if leads_out:
                raise Missing("RESOLVE_BENEATH was taken and .. could be opened")
    return True


def pidfd() -> bool:
    """Hold a child by a descriptor, end it by that and wait for it by that."""
    child = os.fork()
    if child == 0:
        time.sleep(LIFETIME)
        os._exit(0)
    try:
        handle = call("pidfd_open", PIDFD_OPEN, child, 0)
        call("pidfd_send_signal", PIDFD_SEND_SIGNAL, handle, 9, None, 0)
        ended = os.waitid(os.P_PIDFD, handle, os.WEXITED)
    except OSError:
        os.kill(child, 9)
        raise
    if ended is None or ended.si_status != 9:
        raise Missing("a process was signalled by its descriptor and didn't end by that")
    return True


def tried(trial: Callable[[], Any]) -> dict[str, Any]:
    """What a trial gave, in a process of its own: ``{"value"}`` or ``{"reason"}``."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        # Whatever happens, this process must not return to the caller's caller.
        try:
            os.write(writing, json.dumps(_outcome(trial)).encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.close(writing)
    with open(reading, "rb") as stream:
        text = stream.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if not text:
        return {"reason": f"the process that tried it ended with {status}"}
    answer = json.loads(text)
    return dict(answer)


def _outcome(trial: Callable[[], Any]) -> dict[str, Any]:
    try:
        return {"value": trial()}
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, str(error.errno))
        return {"reason": f"{error.filename or error.strerror}: {name}"}
    except Missing as missing:
        return {"reason": str(missing)}


TRIALS: dict[str, Callable[[], Any]] = {
    "no_new_privs": no_new_privs,
    "landlock_abi": landlock_abi,
    "seccomp": seccomp,
    "user_namespaces": user_namespaces,
    "network_namespaces": network_namespaces,
    "openat2": openat2,
    "pidfd": pidfd,
}

if __name__ == "__main__":
    json.dump({name: tried(trial) for name, trial in TRIALS.items()}, sys.stdout)
