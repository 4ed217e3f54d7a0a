"""Two ways to open what is beneath a directory without following a link on the way."""

from __future__ import annotations

import errno
import os
from typing import Final, Literal, Protocol

from llmspell._hot import open_beneath
from llmspell.errors import ConfigError

__all__ = ["ByKernel", "ByWalk", "Resolver", "ResolverName", "resolver_for"]

ResolverName = Literal["auto", "openat2", "walk"]

# A directory on the way needs to be searched, not read; Linux alone can tell these apart.
ON_THE_WAY: Final = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_PATH", 0)

# What a kernel without openat2, or a container's filter of system calls, answers to it.
MISSING: Final = {errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EINVAL, errno.E2BIG}


class Resolver(Protocol):
    """Opens the path that ``parts`` name, from a directory; ``parts`` may be empty."""

    name: str

    def open(self, directory: int, parts: tuple[str, ...], flags: int, mode: int = 0) -> int: ...


class ByKernel:
    """openat2(2): the kernel resolves the whole path, or refuses it. Linux 5.6 and later."""

    name = "openat2"

    def open(self, directory: int, parts: tuple[str, ...], flags: int, mode: int = 0) -> int:
        """A descriptor; ELOOP or EXDEV where a component is a link."""
        path = os.fsencode("/".join(parts) or ".")
        return open_beneath(directory, path, flags, mode if flags & os.O_CREAT else 0)


class ByWalk:
    """openat(2) of one component after the other, each refused where it is a link.

    What was opened stays what it is: a directory that is replaced by a link later is still the
    directory. Costs an opened directory for each component.
    """

    name = "walk"

    def open(self, directory: int, parts: tuple[str, ...], flags: int, mode: int = 0) -> int:
        """A descriptor; ELOOP, or ENOTDIR within the path, where a component is a link."""
        flags |= os.O_NOFOLLOW | os.O_CLOEXEC
        if not parts:
            return os.open(".", flags, mode, dir_fd=directory)
        reached = directory
        try:
            for part in parts[:-1]:
                following = os.open(part, ON_THE_WAY, dir_fd=reached)
                if reached != directory:
                    os.close(reached)
                reached = following
            return os.open(parts[-1], flags, mode, dir_fd=reached)
        finally:
            if reached != directory:
                os.close(reached)


def resolver_for(directory: int, name: ResolverName) -> Resolver:
    """The resolver of that name; for "auto" the kernel's where it answers.

    Raises:
        ConfigError: there is none of that name, or the kernel has none.
    """
    if name not in {"auto", "openat2", "walk"}:
        raise ConfigError(f"resolver is {name!r}; it is one of 'auto', 'openat2' and 'walk'")
    if name == "walk":
        return ByWalk()
    try:
        os.close(ByKernel().open(directory, (), ON_THE_WAY))
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
