"""LMDB environments as files: opened, and after a failed commit opened anew and put right.

When a sync fails, Linux may take the pages that it was to write for written: reads show them from
then on, the disk doesn't have them, and the next sync that succeeds doesn't cover them. So a commit
that failed is not simply tried again. What LMDB's roots say then may be on the disk or not, and the
next transaction would write over pages that the root on the disk leads to.

Putting right begins with a write transaction that changes nothing, which keeps all other writers
out. Both roots are written again as reads show them, and synced: a page that is written again is
dirty again, and a sync that succeeds covers it. Then the file is read past the page cache, and
every page of which the disk has something else is treated so too. When it is done, disk and cache
are the same by their own word, and what LMDB serves is what a power cut would leave.
"""

from __future__ import annotations

import errno
import logging
import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import lmdb

from llmspell.errors import CorruptFile

__all__ = [
    "DATA",
    "Opened",
    "has_reached_disk",
    "is_marked",
    "make_lmdb",
    "mark",
    "open_lmdb",
    "reopen",
]

_LOG = logging.getLogger("llmspell")

# LMDB's own default of 126 is shared by all threads of all processes.
MAX_READERS: Final = 1_024

# Read transactions kept for reuse: beginning one anew costs a lock, taking a spare 0.3 us.
MAX_SPARE_TXNS: Final = 16

DATA: Final = "data.mdb"
READERS: Final = "lock.mdb"

#: Beside it from a failed commit on, until the environment was put right.
MARK: Final = "unverified"

#: Bytes compared at a time; a multiple of every page size, as reads past the cache want it.
AT_ONCE: Final = 1 << 20

# The first two pages are roots, of even and of odd transactions: a page header, then magic number,
# version, address, size of the map, two tables, the last page, and the transaction's number (struct
# MDB_meta of LMDB 0.9 on machines of 64 bits). Its 136 bytes lie in one sector.
_ROOT_AT: Final = 16
_ROOT_BYTES: Final = 136
_NUMBER_AT: Final = 128
_MAGIC: Final = struct.pack("<II", 0xBEEFC0DE, 1)
_NUMBER: Final = struct.Struct("<Q")

#: Failures of a commit that come before anything of it is written, by what LMDB calls them.
_BEFORE_WRITING: Final = (
    lmdb.MapFullError,
    lmdb.TxnFullError,
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
)


class Opened(NamedTuple):
    """An environment that was opened.

    Args:
        env: the environment.
        databases: handles by name.
        number: of the last transaction that it holds.
    """

    env: lmdb.Environment
    databases: dict[bytes, Any]
    number: int


def has_reached_disk(error: BaseException, *, was_committing: bool) -> bool:
    """Whether a failed write may have left disk and page cache apart.

    Args:
        was_committing: its body had returned. What fails before is thrown away by LMDB, and no
            root leads to it.
    """
    if isinstance(error, lmdb.PanicError):
        return True
    if not was_committing or isinstance(error, _BEFORE_WRITING):
        return False
    return isinstance(error, (lmdb.Error, SystemError, OSError))


def mark(path: Path) -> None:
    """Note that a commit failed, for who opens the environment next; as well as the disk can."""
    with suppress(OSError):
        (path / MARK).touch()


def is_marked(path: Path) -> bool:
    """Whether a commit failed, and nobody has put the environment right since."""
    return (path / MARK).exists()


def make_lmdb(path: Path, names: Sequence[bytes], *, map_size: int) -> lmdb.Environment:
    """Open an environment that is yet to be filled, and synced in the end."""
    return _open(path, names, map_size=map_size, is_sync=False)


def open_lmdb(
    path: Path, names: Sequence[bytes], *, map_size: int, reads_only: bool = False
) -> Opened:
    """Open an environment that is there; raises CorruptFile where it is not what it must be.

    Unless it is for reads only, this waits for the writer of another process: LMDB's binding opens
    databases in a write transaction.
    """
    env = _open(path, names, map_size=map_size, is_sync=True, reads_only=reads_only)
    try:
        _complete(path / DATA, env, map_size)
        databases = {name: env.open_db(name, create=False) for name in names}
        return Opened(env, databases, env.info()["last_txnid"])
    except lmdb.NotFoundError as error:
        env.close()
        raise CorruptFile(f"{path}: a database is missing: {error}") from error
    except BaseException:
        env.close()
        raise


def reopen(path: Path, names: Sequence[bytes], *, map_size: int, least: int = 0) -> Opened:
    """Open an environment behind a failed commit, when nothing of this process has it open.

    It takes one read of the file, for which writers in other processes wait; their readers don't.

    Args:
        least: number of a transaction that was acknowledged.

    Raises:
        CorruptFile: the file is damaged, or transactions are missing that were acknowledged.
        OSError, lmdb.Error: the disk fails still.
    """
    opened = open_lmdb(path, names, map_size=map_size)
    try:
        # Others' writers wait for the end of this transaction, which changes nothing.
        with opened.env.begin(write=True) as txn:
            number = txn.id() - 1
            rewritten = _settle(path / DATA, opened.env.stat()["psize"], number)
            txn.abort()
        if number < least:
            raise CorruptFile(
                f"{path}: it ends with transaction {number}, but {least} was acknowledged"
            )
    except BaseException:
        opened.env.close()
        raise
    with suppress(OSError):
        (path / MARK).unlink(missing_ok=True)
    _LOG.warning(
        "%s: opened again behind a failed commit; it ends with transaction %d, and %d pages beside "
        "the roots had to be written again",
        path,
        number,
        rewritten,
    )
    return opened._replace(number=number)


def _open(
    path: Path,
    names: Sequence[bytes],
    *,
    map_size: int,
    is_sync: bool,
    reads_only: bool = False,
) -> lmdb.Environment:
    _reserve_readers(path / READERS)
    env = lmdb.open(
        str(path),
        map_size=map_size,
        max_dbs=len(names),
        max_readers=MAX_READERS,
        max_spare_txns=MAX_SPARE_TXNS,
        create=not reads_only,
        readonly=reads_only,
        readahead=False,
        sync=is_sync,
        metasync=is_sync,
        writemap=False,
        lock=True,
    )
    env.reader_check()
    return env


def _reserve_readers(path: Path) -> None:
    """Let the table of readers have disk for its beginning: LMDB maps it, and makes it sparse.

    On a full disk the first to write there, with SIGBUS, would be its end. What lies behind takes
    disk when more than 60 read at once.
    """
    # Not opened where it is whole: this runs before LMDB has it open in this process, and only so
    # does closing it not take LMDB's locks away.
    with suppress(FileNotFoundError):
        if path.stat().st_blocks:
            return
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.posix_fallocate(descriptor, 0, mmap.PAGESIZE)
    finally:
        os.close(descriptor)


def _complete(path: Path, env: lmdb.Environment, map_size: int) -> None:
    """Let the file reach to the last page that LMDB counts: what is mapped behind its end kills.

    Free pages at the end may never have been written; so many zeros do for them. Of a file that was
    cut off they are pages that LMDB refuses.
    """
    page = env.stat()["psize"]
    end = (env.info()["last_pgno"] + 1) * page
    size = path.stat().st_size
    if end > env.info()["map_size"]:
        raise CorruptFile(f"{path}: it counts {end} bytes, more than its map has")
    # LMDB makes the map larger where its root counts more pages, and the root has no checksum.
    if end - size > map_size:
        raise CorruptFile(f"{path}: it counts {end} bytes, but has {size}")
    if size < end:
        with path.open("r+b") as file:
            # This never makes it shorter, whatever another process adds meanwhile. The last page
            # alone: what is between takes no disk.
            os.posix_fallocate(file.fileno(), end - page, page)


def _settle(file: Path, page: int, number: int) -> int:
    """Make the disk have what the page cache shows; returns how many pages but roots it hadn't."""
    descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    try:
        _write_roots(file, descriptor, page, number)
        os.fsync(descriptor)
        strayed = list(_strayed(file, descriptor, page))
        if not strayed:
            return 0
        for at in strayed:
            os.pwrite(descriptor, os.pread(descriptor, page, at), at)
        os.fsync(descriptor)
        left = list(_strayed(file, descriptor, page))
        if left:
            raise CorruptFile(
                f"{file}: the disk doesn't keep what is written to page {left[0] // page}"
            )
        return len(strayed)
    finally:
        os.close(descriptor)


def _write_roots(file: Path, descriptor: int, page: int, number: int) -> None:
    """Write the root of a transaction again, and let the other one lead to the same.

    The other may be that of the transaction that failed, on the disk alone or in the cache alone.
    """
    kept, other = (number & 1) * page + _ROOT_AT, (~number & 1) * page + _ROOT_AT
    root = os.pread(descriptor, _ROOT_BYTES, kept)
    if root[: len(_MAGIC)] != _MAGIC or _NUMBER.unpack_from(root, _NUMBER_AT)[0] != number:
        raise CorruptFile(f"{file}: transaction {number} has no root that can be read")
    os.pwrite(descriptor, root, kept)
    older = root[:_NUMBER_AT] + _NUMBER.pack(max(number - 1, 0))
    os.pwrite(descriptor, older, other)


def _strayed(file: Path, descriptor: int, page: int) -> Iterator[int]:
    """Where pages begin of which the disk has something else than the page cache."""
    size = os.fstat(descriptor).st_size
    past_cache = -1
    try:
        past_cache = os.open(file, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
        with mmap.mmap(-1, AT_ONCE) as memory:
            for start in range(0, size, AT_ONCE):
                taken = os.preadv(past_cache, [memory], start)
                shown = os.pread(descriptor, taken, start)
                if memory[:taken] != shown:
                    for at in range(0, taken, page):
                        if memory[at : min(at + page, taken)] != shown[at : at + page]:
                            yield start + at
    except OSError as error:
        # Not every file system can read past the cache. The roots are right all the same.
        if error.errno != errno.EINVAL:
            raise
    finally:
        if past_cache >= 0:
            os.close(past_cache)
