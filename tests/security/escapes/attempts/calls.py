"""System calls by number, through ctypes; an error is an OSError as Python's own raise it."""

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

_X86 = os.uname().machine == "x86_64"

# name: (x86-64, everywhere else).
_NUMBERS = {
    "openat": (257, 56),
    "mknodat": (259, 33),
    "splice": (275, 76),
    "vmsplice": (278, 75),
    "ptrace": (101, 117),
    "personality": (135, 92),
    "pivot_root": (155, 41),
    "adjtimex": (159, 171),
    "chroot": (161, 51),
    "settimeofday": (164, 170),
    "mount": (165, 40),
    "umount2": (166, 39),
    "reboot": (169, 142),
    "sethostname": (170, 161),
    "iopl": (172, -1),
    "ioperm": (173, -1),
    "modify_ldt": (154, -1),
    "init_module": (175, 105),
    "delete_module": (176, 106),
    "acct": (163, 89),
    "syslog": (103, 116),
    "capset": (126, 91),
    "add_key": (248, 217),
    "keyctl": (250, 219),
    "request_key": (249, 218),
    "ioprio_set": (251, 30),
    "inotify_init1": (294, 26),
    "inotify_add_watch": (254, 27),
    "mbind": (237, 235),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    "unshare": (272, 97),
    "clone": (56, 220),
    "rt_sigqueueinfo": (129, 138),
    "tgkill": (234, 131),
    "perf_event_open": (298, 241),
    "fanotify_init": (300, 262),
    "prlimit64": (302, 261),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "setns": (308, 268),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "seccomp": (317, 277),
    "memfd_create": (319, 279),
    "bpf": (321, 280),
    "execveat": (322, 281),
    "userfaultfd": (323, 282),
    "memfd_secret": (447, 447),
    "pidfd_send_signal": (424, 424),
    "io_uring_setup": (425, 425),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "pidfd_open": (434, 434),
    "clone3": (435, 435),
    "openat2": (437, 437),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    "landlock_create_ruleset": (444, 444),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "msgget": (68, 186),
    "msgctl": (71, 187),
    "semget": (64, 190),
    "semctl": (66, 191),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
}


def call(name, *arguments):
    """Make a call; int, bytes, None and ctypes objects are taken."""
    number = _NUMBERS[name][0 if _X86 else 1]
    if number < 0:
        raise NotImplementedError(f"{name} isn't of this architecture")
    wide = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    result = libc.syscall(ctypes.c_long(number), *wide)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), name)
    return result


def checked(result, name):
    """What a function of the C library returned, or its error."""
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), name)
    return result


class Vector(ctypes.Structure):
    """struct iovec."""

    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
