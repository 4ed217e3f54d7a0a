"""The files of an audit log: its header, its segments, and what crashes left of writes."""

from __future__ import annotations

import os
import re
import secrets
import stat
import sys
from contextlib import suppress
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import Any, Final, NoReturn

from llmspell.errors import AuditDamaged, AuditFailed, ConfigError, InputError
from llmspell.security.audit.chain import HEADER_BYTES, Chain
from llmspell.security.files.directory import (
    CLOSED_ON_EXEC,
    NO_LINK,
    UNHURRIED,
    sync_directory,
)
from llmspell.security.secrets.secret import Secret

__all__ = [
    "Folder",
    "failed",
    "open_segment",
    "segment_name",
    "write_all",
]

_SEGMENT: Final = re.compile(r"([0-9]{19})\.jsonl", re.ASCII)
_TORN: Final = re.compile(r"torn-([0-9]{19})\.bin", re.ASCII)
_HEADER: Final = "header.json"
_FLAGS: Final = CLOSED_ON_EXEC | NO_LINK | UNHURRIED


class Folder:
    """A directory that holds one audit log and nothing else."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Name it; nothing is opened. Raises InputError where ``path`` is no path of text."""
        if not isinstance(path, (str, os.PathLike)) or not isinstance(os.fspath(path), str):
            raise InputError(f"the path of an audit log is a str or a Path, got {path!r}")
        text = os.fspath(path)
        if "\0" in text or not _is_encodable(text):
            raise InputError(f"the path of an audit log has no NUL and is valid Unicode: {text!r}")
        self.path = Path(path)

    @property
    def lock(self) -> Path:
        """What writers lock."""
        return self.path / "lock"

    def make(self) -> None:
        """Make it, for its owner alone, where it isn't there.

        On Windows, where it has no mode, who may write to it isn't looked at.

        Raises:
            ConfigError: it is another's, or others may write to it.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self.path.stat()
        # They could put links in the place of files; and what another makes here the owner can't
        # open, root's included.
        if sys.platform != "win32" and (
            found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        ):
            raise ConfigError(
                f"{self.path} is owned by user {found.st_uid} with mode "
                f"{stat.S_IMODE(found.st_mode):o}: an audit log is in a directory that its user "
                "alone may write to, as `chmod 700` makes it; run as its owner"
            )

    def header(self) -> bytes | None:
        """What the header holds; None where there is none."""
        try:
            descriptor = os.open(self.path / _HEADER, os.O_RDONLY | _FLAGS)
        except FileNotFoundError:
            return None
        try:
            _require_file(descriptor, _HEADER)
            return os.read(descriptor, HEADER_BYTES + 1)
        finally:
            os.close(descriptor)

    def begin(self, key: Secret[bytes] | None) -> Chain:
        """Make the header of a new log, while it is locked; AuditDamaged where one is gone."""
        if self.segments() or self.torn():
            raise AuditDamaged(
                f"{self.path}: there are records and no header: it was removed", reason="header"
            )
        self._sync_names()
        chain = Chain.make(secrets.token_hex(16), key)
        self._place(_HEADER, chain.header)
        return chain

    def segments(self) -> list[int]:
        """The first number of each segment, in order."""
        return self._numbers(_SEGMENT)

    def torn(self) -> list[int]:
        """For each file of a torn tail the number of the record that tells of it, in order."""
        return self._numbers(_TORN)

    def segment(self, first: int) -> Path:
        """The file of a segment."""
        return self.path / segment_name(first)

    def torn_file(self, seq: int) -> Path:
        """The file of a torn tail."""
        return self.path / f"torn-{seq:019}.bin"

    def set_aside(self, seq: int, raw: bytes) -> None:
        """Keep a torn tail in a file, durably."""
        self._place(self.torn_file(seq).name, raw)

    def sync(self) -> None:
        """Make the names in it durable."""
        sync_directory(self.path)

    def _sync_names(self) -> None:
        """Make the name of the directory durable, and those of the ones that were made for it.

        Also where a process made them that was killed before it had synced them.
        """
        device = self.path.stat().st_dev
        for above in self.path.resolve().parents:
            found = above.stat()
            if found.st_dev != device:  # a file system is mounted here: nobody made that name
                return
            with suppress(PermissionError):  # to read it: then we have made nothing in it
                sync_directory(above)
            if sys.platform == "win32" or found.st_uid != os.geteuid():
                return

    def _numbers(self, pattern: re.Pattern[str]) -> list[int]:
        try:
            names = os.listdir(self.path)
        except FileNotFoundError:
            return []
        return sorted(int(match[1]) for match in map(pattern.fullmatch, names) if match)

    def _place(self, name: str, raw: bytes) -> None:
        """Make a file that is there whole or not at all."""
        unfinished = self.path / f"{name}.new"
        with suppress(FileNotFoundError):
            unfinished.unlink()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS
        descriptor = os.open(unfinished, flags, 0o600)
        try:
            write_all(descriptor, raw)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        unfinished.replace(self.path / name)
        self.sync()


def segment_name(first: int) -> str:
    """The name of the segment whose first record has that number."""
    return f"{first:019}.jsonl"


def open_segment(path: Path, *, how: int = 0) -> int:
    """Open a segment; with ``how`` to write to it. AuditDamaged where it is no plain file."""
    descriptor = os.open(path, how | _FLAGS, 0o600)
    try:
        _require_file(descriptor, path.name)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def write_all(descriptor: int, raw: bytes) -> None:
    """Write all of some bytes, of which the system may take a part at a time."""
    rest = memoryview(raw)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def failed(path: Path, doing: str, error: OSError) -> NoReturn:
    """Raise AuditFailed for what the file system refused."""
    full = error.errno in (ENOSPC, EDQUOT)
    why = "the disk is full" if full else str(error)
    raise AuditFailed(f"{path}: {why} while {doing}; nothing of it is recorded") from error


def _require_file(descriptor: int, name: str) -> None:
    found: Any = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise AuditDamaged(f"{name} is no file of an audit log", reason="not_a_file")


def _is_encodable(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True
