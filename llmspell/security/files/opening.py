"""Opening a file to use it: what may be asked for, and what may come of it."""

from __future__ import annotations

import errno
import os
import stat
import sys
from typing import Final

from llmspell.errors import InputError
from llmspell.security.files.directory import CLOSED_ON_EXEC, NO_LINK, UNHURRIED
from llmspell.security.files.place import Place

__all__ = ["changes", "check_flags", "check_mode", "open_place"]

_ACCESS: Final = os.O_RDONLY | os.O_WRONLY | os.O_RDWR
_EVERYWHERE: Final = (
    _ACCESS | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_TRUNC | NO_LINK | CLOSED_ON_EXEC
)
if sys.platform == "win32":
    _FLAGS: Final = _EVERYWHERE
else:
    _FLAGS: Final = _EVERYWHERE | os.O_SYNC | os.O_DSYNC | UNHURRIED

_SPECIAL: Final = "is a FIFO, a device or a socket; open it with special=True where that is meant"


def check_flags(flags: int, mode: int) -> None:
    """Raise InputError unless they are for opening a file to read and write it."""
    if flags & ~_FLAGS:
        raise InputError(f"the flags {flags & ~_FLAGS:#o} aren't for opening a file to use it")
    if flags & os.O_TRUNC and flags & _ACCESS == os.O_RDONLY:
        raise InputError("O_TRUNC empties a file, and needs O_WRONLY or O_RDWR with it")
    check_mode(mode)


def check_mode(mode: int) -> None:
    """Raise InputError where it is more than permissions."""
    if mode & ~0o777:
        raise InputError(f"the mode {mode:#o} is more than permissions; 0o777 is the most")


def changes(flags: int) -> bool:
    """Whether something may be written, or made, by what is opened so."""
    return flags & _ACCESS != os.O_RDONLY or bool(flags & os.O_CREAT)


def open_place(place: Place, flags: int, mode: int, *, special: bool, single_links: bool) -> int:
    """A descriptor of a file, whose flags were checked; see :meth:`FileSandbox.open_fd`."""
    # A file is looked at before anything in it is changed, so it isn't emptied by its opening.
    opening = (flags & ~os.O_TRUNC) | UNHURRIED | CLOSED_ON_EXEC
    with place.named():
        try:
            descriptor = place.open(opening, mode)
        except OSError as error:
            # A socket; a FIFO to write that none reads; a device that has no driver.
            if error.errno == errno.ENXIO and not special:
                raise place.refused(_SPECIAL) from None
            raise
    try:
        _check_kind(descriptor, place, special=special, single_links=single_links)
        with place.named():
            if flags & os.O_TRUNC and stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.ftruncate(descriptor, 0)
            if sys.platform != "win32" and not flags & os.O_NONBLOCK:
                os.set_blocking(descriptor, True)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_kind(descriptor: int, place: Place, *, special: bool, single_links: bool) -> None:
    found = os.fstat(descriptor)
    if stat.S_ISDIR(found.st_mode):
        # Not even for listing: ".." of a descriptor leads out of the root.
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), place.given)
    if not stat.S_ISREG(found.st_mode):
        if not special:
            raise place.refused(_SPECIAL)
    elif single_links and found.st_nlink > 1:
        raise place.refused(f"has {found.st_nlink} names, of which others may lie outside; copy it")
