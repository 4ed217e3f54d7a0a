"""Takes more of a disk than a tool may have."""

import ctypes
import os

from calls import checked, libc


def large_file(room):
    """More than the largest file that a tool may write."""
    with open(room["writable"] + "/large", "wb") as file:
        file.truncate(3 << 30)
    return "done"


def large_file_of_blocks(room):
    file = os.open(room["writable"] + "/large-too", os.O_WRONLY | os.O_CREAT, 0o600)
    os.posix_fallocate(file, 0, 1200 << 20)
    return "done"


def large_file_unseen(room):
    """Blocks that are beyond its end, and so of no size."""
    path = room["writable"] + "/large-unseen"
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
    checked(libc.fallocate(file, 1, 0, 1200 << 20), "fallocate")
    taken = os.fstat(file).st_blocks * 512
    os.unlink(path)
    return "done" if taken > 1 << 30 else "no"


def fill_the_disk(room):
    """Anywhere that it can write: its own directory apart."""
    for place in ("/tmp", "/var/tmp", "/dev/shm", room["outside"], room["base"], "/", "."):
        try:
            file = os.open(place, os.O_TMPFILE | os.O_RDWR, 0o600)
            for _ in range(64):
                os.write(file, b"x" * (1 << 20))
            return "done"
        except OSError as error:
            last = error
    raise last
