"""A directory, and what is done to the names in it: by a descriptor, or by its path.

Descriptors of directories are POSIX's. On Windows a directory has its path alone: a name is looked
at before it is used, and a file again after it was opened.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NoReturn, Protocol

__all__ = [
    "CLOSED_ON_EXEC",
    "NO_LINK",
    "UNHURRIED",
    "Directory",
    "NamedDirectory",
    "SandboxEntry",
    "held",
    "open_directory",
    "sync_directory",
]

# Flags of os.open under one name each: 0 where Windows has no such thing, or does so anyway.
if sys.platform == "win32":
    CLOSED_ON_EXEC: Final = os.O_NOINHERIT | os.O_BINARY
    NO_LINK: Final = 0
    UNHURRIED: Final = 0
else:
    CLOSED_ON_EXEC: Final = os.O_CLOEXEC
    NO_LINK: Final = os.O_NOFOLLOW
    # A FIFO without a writer must not hang the opening, nor a terminal become the process's own.
    UNHURRIED: Final = os.O_NONBLOCK | os.O_NOCTTY
    # A directory on the way needs to be searched, not read; Linux alone can tell these apart.
    _ON_THE_WAY: Final = os.O_DIRECTORY | NO_LINK | CLOSED_ON_EXEC | getattr(os, "O_PATH", 0)
    _LISTED: Final = os.O_RDONLY | os.O_DIRECTORY | NO_LINK | CLOSED_ON_EXEC

# IsReparseTagNameSurrogate of the Windows SDK: of symbolic links, junctions and their like.
_LEADS_AWAY: Final = 0x2000_0000


@dataclass(frozen=True, slots=True)
class SandboxEntry:
    """One name in a directory; a symbolic link is neither a file nor a directory."""

    name: str
    is_dir: bool
    is_file: bool
    is_symlink: bool


class Directory(Protocol):
    """A directory that stays what it is as far as the system can see to that.

    No link is followed; ELOOP, or ENOTDIR, is raised where one is met. ``"."`` is the directory.
    ``descriptor`` is -1 where it has none.
    """

    @property
    def descriptor(self) -> int: ...
    def about(self) -> os.stat_result: ...
    def below(self, name: str) -> Directory: ...
    def open(self, name: str, flags: int, mode: int = 0) -> int: ...
    def stat(self, name: str) -> os.stat_result: ...
    def is_link(self, name: str) -> bool: ...
    def entries(self) -> list[SandboxEntry]: ...
    def mkdir(self, name: str, mode: int) -> None: ...
    def unlink(self, name: str) -> None: ...
    def rmdir(self, name: str) -> None: ...
    def rename(self, name: str, target: Directory, target_name: str) -> None: ...
    def sync(self) -> None: ...
    def close(self) -> None: ...


def open_directory(path: str) -> Directory:
    """The directory of that path, whose links are followed before; raises OSError."""
    if sys.platform == "win32":
        return NamedDirectory(path)
    else:
        return HeldDirectory(os.open(path, _ON_THE_WAY))


def held(opens: Callable[[int], int]) -> Directory:
    """A directory by the descriptor that is opened with the flags given."""
    if sys.platform == "win32":
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    else:
        return HeldDirectory(opens(_ON_THE_WAY))


def sync_directory(path: str | os.PathLike[str]) -> None:
    """Make the names in it durable. Windows does so by itself, as far as it does."""
    if sys.platform != "win32":
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | CLOSED_ON_EXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class _Kept:
    """What can't be copied: a copy would have the same number, and close it for the other."""

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            "a file sandbox holds directories open, and can't be copied or pickled; make another"
        )


if sys.platform != "win32":

    class HeldDirectory(_Kept):
        """By a descriptor, which is this object's: closed with its last use, or before."""

        __slots__ = ("descriptor",)

        def __init__(self, descriptor: int) -> None:
            self.descriptor = descriptor

        def about(self) -> os.stat_result:
            """What the system says of it."""
            return os.fstat(self.descriptor)

        def below(self, name: str) -> HeldDirectory:
            """A directory in it."""
            return HeldDirectory(os.open(name, _ON_THE_WAY, dir_fd=self.descriptor))

        def open(self, name: str, flags: int, mode: int = 0) -> int:
            """A descriptor of what has that name."""
            return os.open(name, flags | NO_LINK | CLOSED_ON_EXEC, mode, dir_fd=self.descriptor)

        def stat(self, name: str) -> os.stat_result:
            """What the system says of a name; of a link, of itself."""
            return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)

        def is_link(self, name: str) -> bool:
            """Whether a name is a symbolic link."""
            return stat.S_ISLNK(self.stat(name).st_mode)

        def entries(self) -> list[SandboxEntry]:
            """The names in it, in no order."""
            listed = os.open(".", _LISTED, dir_fd=self.descriptor)
            try:
                return _entries(listed)
            finally:
                os.close(listed)

        def mkdir(self, name: str, mode: int) -> None:
            """Make a directory."""
            os.mkdir(name, mode, dir_fd=self.descriptor)

        def unlink(self, name: str) -> None:
            """Remove a file or a link."""
            os.unlink(name, dir_fd=self.descriptor)

        def rmdir(self, name: str) -> None:
            """Remove an empty directory."""
            os.rmdir(name, dir_fd=self.descriptor)

        def rename(self, name: str, target: Directory, target_name: str) -> None:
            """Give another name to what has one, in place of what has that."""
            assert isinstance(target, HeldDirectory)
            os.rename(name, target_name, src_dir_fd=self.descriptor, dst_dir_fd=target.descriptor)

        def sync(self) -> None:
            """Make the names in it durable."""
            # A descriptor of O_PATH can't be synced.
            whole = os.open(".", _LISTED, dir_fd=self.descriptor)
            try:
                os.fsync(whole)
            finally:
                os.close(whole)

        def close(self) -> None:
            """Let go of it."""
            descriptor, self.descriptor = self.descriptor, -1
            if descriptor >= 0:
                os.close(descriptor)

        def __del__(self, close: Callable[[int], None] = os.close) -> None:
            if self.descriptor >= 0:
                close(self.descriptor)


class NamedDirectory(_Kept):
    """By its path, which leads elsewhere if somebody puts a link into it meanwhile."""

    __slots__ = ("path",)

    descriptor: Final = -1

    def __init__(self, path: str) -> None:
        self.path = path
        if not stat.S_ISDIR(self._looked_at(".").st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)

    def about(self) -> os.stat_result:
        """What the system says of it."""
        return self._looked_at(".")

    def below(self, name: str) -> NamedDirectory:
        """A directory in it."""
        self._looked_at(name)
        return NamedDirectory(self._named(name))

    def open(self, name: str, flags: int, mode: int = 0) -> int:
        """A descriptor of what has that name, now that it is opened too."""
        try:
            self._looked_at(name)
        except FileNotFoundError:
            if not flags & os.O_CREAT:
                raise
        descriptor = os.open(self._named(name), flags | NO_LINK | CLOSED_ON_EXEC, mode)
        try:
            if not os.path.samestat(os.fstat(descriptor), self._looked_at(name)):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def stat(self, name: str) -> os.stat_result:
        """What the system says of a name; of a link, of itself."""
        return os.lstat(self._named(name))

    def is_link(self, name: str) -> bool:
        """Whether a name is a symbolic link, a junction, or another that leads away."""
        return _leads_away(self.stat(name))

    def entries(self) -> list[SandboxEntry]:
        """The names in it, in no order."""
        self._looked_at(".")
        return _entries(self.path)

    def mkdir(self, name: str, mode: int) -> None:
        """Make a directory."""
        os.mkdir(self._named(name), mode)

    def unlink(self, name: str) -> None:
        """Remove a file or a link."""
        os.unlink(self._named(name))

    def rmdir(self, name: str) -> None:
        """Remove an empty directory."""
        os.rmdir(self._named(name))

    def rename(self, name: str, target: Directory, target_name: str) -> None:
        """Give another name to what has one, in place of what has that."""
        assert isinstance(target, NamedDirectory)
        os.replace(self._named(name), target._named(target_name))

    def sync(self) -> None:
        """Make the names in it durable: nothing that a program does here."""

    def close(self) -> None:
        """Let go of it: nothing is held."""

    def _named(self, name: str) -> str:
        return self.path if name == "." else os.path.join(self.path, name)

    def _looked_at(self, name: str) -> os.stat_result:
        found = self.stat(name)
        if _leads_away(found):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
        return found


def _entries(directory: int | str) -> list[SandboxEntry]:
    with os.scandir(directory) as found:
        return [_entry(one) for one in found]


def _entry(found: os.DirEntry[str]) -> SandboxEntry:
    is_link = found.is_symlink() or (
        sys.platform == "win32" and _leads_away(found.stat(follow_symlinks=False))
    )
    return SandboxEntry(
        name=found.name,
        is_dir=not is_link and found.is_dir(follow_symlinks=False),
        is_file=not is_link and found.is_file(follow_symlinks=False),
        is_symlink=is_link,
    )


def _leads_away(found: os.stat_result) -> bool:
    return stat.S_ISLNK(found.st_mode) or bool(getattr(found, "st_reparse_tag", 0) & _LEADS_AWAY)
