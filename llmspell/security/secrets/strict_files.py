"""Files that hold secrets: read only where nobody else could have read or replaced them."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from llmspell.errors import ConfigError, InsecureFile, SecretUnavailable
from llmspell.security.files.directory import UNHURRIED, Directory, open_directory
from llmspell.security.secrets.secret import Secret

__all__ = ["absolute", "read_strict", "replace_strict"]

_OTHERS_READ: Final = stat.S_IRWXO | stat.S_IRWXG
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def absolute(path: str | os.PathLike[str]) -> Path:
    """An absolute path.

    Raises:
        ConfigError: it isn't one, since what a relative one means changes with the directory.
    """
    made = Path(path)
    if not made.is_absolute():
        raise ConfigError(f"the path {str(made)!r} of a place of secrets isn't absolute")
    return made


def read_strict(
    directory: Path, parts: tuple[str, ...], *, limit: int, group_may_read: bool = False
) -> Secret[bytes] | None:
    """What is in a file beneath a directory; None where either isn't there, or it is empty.

    Each component is opened from the one above and looked at through its descriptor, so that what
    was judged is what is read. Links in ``directory`` itself are the operator's and are followed.
    On Windows owners and modes aren't looked at: who may read and write is up to its lists.

    Args:
        directory: absolute.
        parts: components below it; the last is the file.
        limit: bytes that it may have at most.
        group_may_read: whether the file's group may read it.

    Raises:
        InsecureFile: the file is a link, no regular file, has a second name, or is another user's
            or open to others; or a directory at or below ``directory`` is another's, or others may
            write to it; or the file is longer than ``limit``.
        SecretUnavailable: the disk, or our rights, don't let it be read.
    """
    named = directory.joinpath(*parts)
    try:
        with _opened(directory, parts[:-1]) as above:
            # Without waiting for a writer, should it be a FIFO.
            descriptor = above.open(parts[-1], os.O_RDONLY | UNHURRIED)
        try:
            _judge_file(os.fstat(descriptor), named, limit, group_may_read)
            return _content(descriptor, limit, named)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return None
    except InsecureFile:
        raise
    except OSError as error:
        # What systems say of a link that isn't to be followed.
        if error.errno in {errno.ELOOP, errno.EMLINK, errno.ENOTDIR}:
            raise InsecureFile(
                f"{named}: it, or a directory above it, is a symbolic link or no directory; "
                "secrets are read from plain files alone"
            ) from None
        raise SecretUnavailable(f"{named} can't be read: {error.strerror}") from None


@contextmanager
def _opened(directory: Path, parts: tuple[str, ...]) -> Iterator[Directory]:
    """A directory that is held open, each one on the way below ``directory`` judged."""
    reached = open_directory(os.path.realpath(directory))
    try:
        named = directory
        _judge_directory(reached.about(), named)
        for part in parts:
            following = reached.below(part)
            reached.close()
            reached = following
            named = named / part
            _judge_directory(reached.about(), named)
        yield reached
    finally:
        reached.close()


def _is_ours(about: os.stat_result) -> bool:
    # Root can read and replace every file anyway.
    return sys.platform == "win32" or about.st_uid in {os.geteuid(), 0}


def _mode(about: os.stat_result) -> int:
    """Its mode, as far as it says who may do what: Windows has lists of access instead."""
    return 0 if sys.platform == "win32" else stat.S_IMODE(about.st_mode)


def _judge_directory(about: os.stat_result, named: Path) -> None:
    sticky_of_root = about.st_uid == 0 and about.st_mode & stat.S_ISVTX
    if not _is_ours(about):
        raise InsecureFile(f"the directory {named} belongs to user {about.st_uid}, not to us")
    if _mode(about) & _OTHERS_WRITE and not sticky_of_root:
        raise InsecureFile(
            f"others may write to the directory {named} (mode {stat.S_IMODE(about.st_mode):o}); "
            f"chmod go-w {named}"
        )


def _judge_file(about: os.stat_result, named: Path, limit: int, group_may_read: bool) -> None:
    mode = _mode(about)
    if not stat.S_ISREG(about.st_mode):
        raise InsecureFile(f"{named} is no regular file")
    if not _is_ours(about):
        raise InsecureFile(f"{named} belongs to user {about.st_uid}, not to us")
    if mode & (_OTHERS_READ & ~stat.S_IRGRP if group_may_read else _OTHERS_READ):
        raise InsecureFile(f"{named} is open to others (mode {mode:o}); chmod 600 {named}")
    # None where it was replaced since it was opened, and this is still what was there.
    if about.st_nlink > 1:
        raise InsecureFile(f"{named} has {about.st_nlink} names; a copy of it has one")
    if about.st_size > limit:
        raise InsecureFile(f"{named} has {about.st_size} bytes; at most {limit} are read")


def _content(descriptor: int, limit: int, named: Path) -> Secret[bytes] | None:
    """All of it. Holds what it read in no frame that raises, as tracebacks may show locals."""
    pieces: list[Secret[bytes]] = []
    left = limit + 1
    while left > 0:
        piece = os.read(descriptor, min(left, 65536))
        if not piece:
            break
        left -= len(piece)
        pieces.append(Secret(piece))
        del piece
    if left == 0:
        raise InsecureFile(f"{named} grew beyond {limit} bytes while it was read")
    return Secret(b"".join(piece.reveal() for piece in pieces)) if pieces else None


def replace_strict(path: Path, content: Secret[bytes]) -> None:
    """Put a file there, readable by us alone, as a whole or not at all, also after a power cut.

    One at a time: the caller holds a lock, or is alone.

    Args:
        path: absolute; its directory is there.
        content: of the file.

    Raises:
        InsecureFile: others may write to the directory.
        OSError: the disk failed; what was there is there.
    """
    name, draft = path.name, f".{path.name}.new"
    with _opened(path.parent, ()) as above:
        # What a crash left.
        with suppress(FileNotFoundError):
            above.unlink(draft)
        descriptor = above.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            written = 0
            while written < len(content.reveal()):
                written += os.write(descriptor, content.reveal()[written:])
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        above.rename(draft, above, name)
        above.sync()
