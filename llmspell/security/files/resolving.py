"""Two ways to open what is beneath a directory without following a link on the way."""

from __future__ import annotations

import errno
import os
from typing import Final, Literal, Protocol

from llmspell._hot import open_beneath
from llmspell.errors import ConfigError
from llmspell.security.files.directory import Directory, held

__all__ = ["ByKernel", "ByWalk", "Resolver", "ResolverName", "resolver_for"]

ResolverName = Literal["auto", "openat2", "walk"]

# What a kernel without openat2, or a container's filter of system calls, answers to it.
MISSING: Final = {errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EINVAL, errno.E2BIG}


class Resolver(Protocol):
    """Leads to what ``parts`` name, from a directory; ``parts`` may be empty."""

    name: str

    def open(self, directory: Directory, parts: tuple[str, ...], flags: int, mode: int = 0) -> int:
        """A descriptor of it."""

    def directory(self, directory: Directory, parts: tuple[str, ...]) -> Directory:
        """The directory that they name, to be closed."""


class ByKernel:
    """openat2(2): the kernel resolves the whole path, or refuses it. Linux 5.6 and later."""

    name = "openat2"

    def open(self, directory: Directory, parts: tuple[str, ...], flags: int, mode: int = 0) -> int:
        """A descriptor; ELOOP or EXDEV where a component is a link."""
        path = os.fsencode("/".join(parts) or ".")
        return open_beneath(directory.descriptor, path, flags, mode if flags & os.O_CREAT else 0)

    def directory(self, directory: Directory, parts: tuple[str, ...]) -> Directory:
        """As :meth:`open`."""
        return held(lambda flags: self.open(directory, parts, flags))


class ByWalk:
    """One component after the other, each refused where it is a link.

    By openat(2) what was opened stays what it is: a directory that is replaced by a link later is
    still the directory. That costs an opened directory for each component.
    """

    name = "walk"

    def open(self, directory: Directory, parts: tuple[str, ...], flags: int, mode: int = 0) -> int:
        """A descriptor; ELOOP, or ENOTDIR within the path, where a component is a link."""
        if len(parts) < 2:
            return directory.open(parts[0] if parts else ".", flags, mode)
        above = self.directory(directory, parts[:-1])
        try:
            return above.open(parts[-1], flags, mode)
        finally:
            above.close()

    def directory(self, directory: Directory, parts: tuple[str, ...]) -> Directory:
        """As :meth:`open`."""
        reached = directory.below(parts[0] if parts else ".")
        try:
            for part in parts[1:]:
                following = reached.below(part)
                reached.close()
                reached = following
        except BaseException:
            reached.close()
            raise
        return reached


def resolver_for(directory: Directory, name: ResolverName) -> Resolver:
    """The resolver of that name; for "auto" the kernel's where it answers.

    Raises:
        ConfigError: there is none of that name, or the kernel has none.
    """
    if name not in {"auto", "openat2", "walk"}:
        raise ConfigError(f"resolver is {name!r}; it is one of 'auto', 'openat2' and 'walk'")
    if name == "walk" or (name == "auto" and directory.descriptor < 0):
        return ByWalk()
    try:
        ByKernel().directory(directory, ()).close()
    except OSError as error:
        if error.errno not in MISSING:
            raise
        if name == "openat2":
            raise ConfigError(
                "resolver='openat2': this kernel, or its filter of system calls, has no openat2"
                f" ({error.strerror}); use 'auto' or 'walk'"
            ) from error
        return ByWalk()
    return ByKernel()
