"""Files beneath given directories, and no others."""

from __future__ import annotations

import builtins
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

from llmspell.errors import ClosedError, PathEscape, PathNotAllowed
from llmspell.security.denials import Denials
from llmspell.security.files.directory import SandboxEntry
from llmspell.security.files.opening import changes, check_flags, check_mode, open_place
from llmspell.security.files.path_validator import path_text
from llmspell.security.files.place import Place
from llmspell.security.files.resolving import Resolver, ResolverName, resolver_for
from llmspell.security.files.roots import PathArgument, Root, absolute_path, locate, open_roots

if TYPE_CHECKING:
    from llmspell.security.audit import AuditSink

__all__ = ["FileSandbox", "SandboxEntry"]


class FileSandbox:
    """Opens, lists and changes what is beneath its roots, whatever path it is asked for.

    A path is resolved beneath a directory that is held open, in the same step that opens it: there
    is no moment between check and use. No symbolic link is followed, wherever it points; ``..`` is
    refused. Relative paths are those of the first root. Where roots lie in one another the
    innermost counts. For any thread; a call begun before ``close`` ends as it would have.

    What the file system itself lacks is raised as by the built-in :func:`open`
    (``FileNotFoundError``, ``FileExistsError``, ``IsADirectoryError``, ...), with the path as it
    was given.

    Args:
        roots: absolute paths of directories whose files may be read and written.
        read_only: the same, for files that may be read alone.
        single_links: refuse regular files that have several names (hard links), since another one
            may lie outside; it is looked at when a file is opened.
        resolver: "openat2" (Linux 5.6), "walk" (any POSIX system, slower), or "auto": the first
            where the kernel has it.
        audit: is told of each denial, as ``file.access``, before it is raised.
        tenant: id of the tenant on whose behalf files are asked for, for these records.

    Raises:
        ConfigError: a root isn't there, or a read-only root lies in a writable one.
    """

    def __init__(
        self,
        roots: Iterable[PathArgument] = (),
        *,
        read_only: Iterable[PathArgument] = (),
        single_links: bool = False,
        resolver: ResolverName = "auto",
        audit: AuditSink | None = None,
        tenant: str | None = None,
    ) -> None:
        self._denials = Denials(audit, "file.access", tenant)
        self._roots: list[Root] = open_roots(roots, read_only)
        self._single_links = single_links
        self._resolver: Resolver = resolver_for(self._roots[0].directory, resolver)

    @property
    def resolver(self) -> str:
        """How paths are resolved: "openat2" or "walk"."""
        return self._resolver.name

    def absolute(self, path: PathArgument, *, writes: bool = False) -> str:
        """The absolute path that a path names; the file isn't looked at.

        Raises:
            PathEscape: a component is ``..``.
            PathNotAllowed: it is beneath no root, or is to be written in one that is read-only.
        """
        place = self._locate(path, writes=writes)
        return absolute_path((*place.root.spellings[1], *place.parts))

    def open_fd(
        self,
        path: PathArgument,
        flags: int = os.O_RDONLY,
        mode: int = 0o666,
        *,
        special: bool = False,
    ) -> int:
        """A descriptor of a regular file, closed on exec; the caller closes it.

        Args:
            path: relative to the first root, or absolute.
            flags: those of :func:`os.open` that say how a file is read and written.
            mode: permissions of a file that is made, less the umask.
            special: let FIFOs, devices and sockets through too; opening one never waits.

        Raises:
            InputError: a flag of another kind, such as O_PATH or O_DIRECTORY.
            PathEscape: a component is a symbolic link, or ``..``.
            PathNotAllowed: it is beneath no root, read-only, special, or has several names.
        """
        check_flags(flags, mode)
        place = self._locate(path, writes=changes(flags))
        return open_place(place, flags, mode, special=special, single_links=self._single_links)

    def open(
        self,
        path: PathArgument,
        mode: str = "r",
        *,
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        special: bool = False,
    ) -> IO[Any]:
        """A file object, as from the built-in :func:`open`; text is UTF-8 unless told otherwise.

        Raises: as :meth:`open_fd`.
        """
        if encoding is None and "b" not in mode:
            encoding = "utf-8"
        return builtins.open(
            path_text(path),  # a number would be a descriptor, from anywhere
            mode,
            buffering,
            encoding,
            errors,
            newline,
            opener=lambda _, flags: self.open_fd(path, flags, special=special),
        )

    def listdir(self, path: PathArgument = ".") -> list[str]:
        """The names in a directory, in no order; those of links are among them."""
        return [entry.name for entry in self.scandir(path)]

    def scandir(self, path: PathArgument = ".") -> list[SandboxEntry]:
        """The names in a directory and what each was when it was looked at, in no order."""
        place = self._locate(path)
        with place.named(), place.directory() as found:
            return found.entries()

    def walk(self, path: PathArgument = ".") -> Iterator[tuple[str, list[str], list[str]]]:
        """Directories from the top down, as :func:`os.walk`: path, directories in it, other names.

        Directories that are removed from the second list aren't entered. One that has gone, or has
        become a link, when its turn comes is left out. Nothing is open between two steps.
        """
        waiting = [os.fspath(path)]
        while waiting:
            here = waiting.pop()
            try:
                entries = self.scandir(here)
            except (FileNotFoundError, NotADirectoryError, PathEscape):
                if here == os.fspath(path):
                    raise
                continue
            inner = sorted(entry.name for entry in entries if entry.is_dir)
            yield here, inner, sorted(entry.name for entry in entries if not entry.is_dir)
            waiting.extend(os.path.join(here, name) for name in reversed(inner))

    def stat(self, path: PathArgument = ".") -> os.stat_result:
        """What the file system says of a file; it isn't opened."""
        place = self._locate(path)
        with place.named(), place.parent() as (parent, name):
            if not parent.is_link(name):
                return parent.stat(name)
        raise place.escape(place.parts[-1])

    def mkdir(
        self,
        path: PathArgument,
        mode: int = 0o777,
        *,
        parents: bool = False,
        exist_ok: bool = False,
    ) -> None:
        """Make a directory; with ``parents`` those above it too, where they are missing."""
        check_mode(mode)
        place = self._locate(path, writes=True)
        with place.named():
            for length in range(1 if parents else len(place.parts), len(place.parts)):
                self._mkdir(place.above(length), 0o777, exist_ok=True)
            self._mkdir(place, mode, exist_ok=exist_ok)

    @staticmethod
    def _mkdir(place: Place, mode: int, *, exist_ok: bool) -> None:
        try:
            with place.parent() as (parent, name):
                parent.mkdir(name, mode)
        except FileExistsError:
            if not exist_ok:
                raise
            # A link in its place, or a file, is refused; a directory is opened and closed.
            with place.directory():
                pass

    def unlink(self, path: PathArgument) -> None:
        """Remove a file; of a symbolic link, the link itself."""
        place = self._locate(path, writes=True)
        with place.named(), place.parent() as (parent, name):
            parent.unlink(name)

    def rmdir(self, path: PathArgument) -> None:
        """Remove an empty directory; a root is never removed."""
        place = self._locate(path, writes=True)
        with place.named(), place.parent() as (parent, name):
            parent.rmdir(name)

    def rename(self, source: PathArgument, target: PathArgument) -> None:
        """Give a file or directory another name beneath the same root, in place of what has it.

        Raises:
            PathNotAllowed: the two are beneath different roots, or one is a root.
        """
        old = self._locate(source, writes=True)
        new = self._locate(target, writes=True)
        for place in (old, new):
            if not place.parts:
                raise place.refused("is the root itself, which keeps its name")
        if new.root is not old.root:
            raise new.refused(f"is to be renamed from the root {old.root.name!r}; copy it instead")
        with ExitStack() as held:
            with old.named():
                parent, name = held.enter_context(old.parent())
            with new.named():
                new_parent, new_name = held.enter_context(new.parent())
            with old.named():
                parent.rename(name, new_parent, new_name)

    def close(self) -> None:
        """Let go of the roots; files that were opened stay open. Does nothing the second time."""
        self._roots = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _locate(self, path: PathArgument, *, writes: bool = False) -> Place:
        roots = self._roots
        if not roots:
            raise ClosedError("the file sandbox is closed")
        try:
            root, parts = locate(roots, path)
        except (PathEscape, PathNotAllowed) as denial:
            self._denials.noted(denial, os.fspath(path))
            raise
        place = Place(root, parts, os.fspath(path), self._resolver, self._denials)
        if writes and not root.is_writable:
            raise place.refused("is to be written, and the root is read-only")
        return place
