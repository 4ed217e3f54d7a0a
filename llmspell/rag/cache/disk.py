"""The tier on disk: an LMDB environment of one compartment, oldest out first, save what was used.

It is a cache: where it is damaged it begins anew. A commit survives a crash of the process; the
last ones may be missing after one of the machine (``metasync=False``), and what is there is whole.
"""

from __future__ import annotations

import os
import shutil
import struct
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import lmdb

from llmspell.rag.cache.entry import Made, decode, encode
from llmspell.rag.cache.keys import KEY_BYTES
from llmspell.rag.cache.settings import EmbeddingCacheSettings
from llmspell.rag.cache.stats import Counters

__all__ = ["DAMAGE", "DiskTier"]

_NUMBER: Final = struct.Struct(">Q")
_BYTES: Final = b"bytes"
# Pages that are half full, a page of its own for a long vector, and some to work with.
_MAP_FACTOR: Final = 3
_MAP_BESIDE: Final = 32 << 20
# Places in a page, and lengths of keys, have 16 bits.
_BEHIND: Final = 2 << 16
# No vector takes so much; LMDB believes what a damaged page says of a length, to 4 GiB.
_LONGEST: Final = 1 << 20
# Used ones that are known; the rest are as if they weren't.
_MAX_USED: Final = 100_000
#: What LMDB raises where a file isn't as it wrote it, and of a transaction that met that before.
DAMAGE: Final = (
    lmdb.BadTxnError,
    lmdb.CorruptedError,
    lmdb.CursorFullError,
    lmdb.InvalidError,
    lmdb.PageFullError,
    lmdb.PageNotFoundError,
    lmdb.PanicError,
    lmdb.VersionMismatchError,
)


class DiskTier:
    """Vectors of a compartment on disk. Thread-safe, and several processes may have it open."""

    def __init__(
        self, directory: Path, settings: EmbeddingCacheSettings, counters: Counters
    ) -> None:
        """Open it, or make it; one that can't be read is made anew, and counted as corrupt.

        Args:
            directory: of its own; its parent is there.
            settings: of the cache.
            counters: told what is corrupt.

        Raises:
            OSError, lmdb.Error: the disk failed.
        """
        self._settings = settings
        self._counters = counters
        self._idle = threading.Condition(threading.Lock())
        self._users = 0
        self._is_closed = False
        self._used: set[bytes] = set()
        try:
            self._open(directory)
        except DAMAGE:
            counters.corrupt.inc()
            shutil.rmtree(directory, ignore_errors=True)
            self._open(directory)

    def _open(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        env = lmdb.open(
            str(directory),
            map_size=_MAP_FACTOR * self._settings.disk_bytes + _MAP_BESIDE,
            max_dbs=3,
            max_readers=512,
            metasync=False,
            readahead=False,
            max_spare_txns=8,
        )
        try:
            self._data = directory / "data.mdb"
            self._inode = self._data.stat().st_ino
            if _is_short(self._data, env):
                # To read a page behind the end of the file would kill the process.
                raise lmdb.CorruptedError(f"{self._data} was cut off")
            env.reader_check()
            self._vectors = env.open_db(b"vectors")
            self._order = env.open_db(b"order", integerkey=False)
            self._meta = env.open_db(b"meta")
        except BaseException:
            env.close()
            raise
        self._env = env
        self._lengthen()

    def get(self, keys: Sequence[bytes], dim: int, oldest_us: int) -> dict[bytes, Made]:
        """The vectors of those keys that are there, whole, and made at ``oldest_us`` or later.

        Raises:
            OSError, lmdb.Error: the disk failed.
        """
        found: dict[bytes, Made] = {}
        if not self._enter():
            return found
        try:
            with self._env.begin(self._vectors, buffers=True) as transaction:
                for key in keys:
                    raw = transaction.get(key)
                    if raw is None:
                        continue
                    made = decode(key, raw[_NUMBER.size :], dim)
                    if made is None:
                        self._counters.corrupt.inc()
                    elif made.at_us >= oldest_us:
                        found[key] = made
        finally:
            self._leave()
        if len(self._used) < _MAX_USED:
            self._used.update(found)
        return found

    def put(self, entries: Sequence[tuple[bytes, Made]]) -> bool:
        """Write vectors in one transaction; others go where there are too many.

        Returns:
            False where it was closed before.

        Raises:
            OSError, lmdb.Error: the disk failed; nothing was written.
        """
        if not self._enter():
            return False
        try:
            with self._env.begin(write=True, buffers=True) as transaction:
                held = self._held(transaction)
                last = self._last(transaction)
                for number, (key, made) in enumerate(entries, last + 1):
                    held -= self._remove(transaction, key)
                    raw = _NUMBER.pack(number) + encode(key, made, self._settings)
                    transaction.put(key, raw, db=self._vectors)
                    transaction.put(_NUMBER.pack(number), key, db=self._order, append=True)
                    held += len(key) + len(raw)
                held = self._evict(transaction, held, last + len(entries))
                transaction.put(_BYTES, _NUMBER.pack(held), db=self._meta)
            self._lengthen()
            return True
        except lmdb.MapFullError:
            # Readers of a process that was killed may hold what was freed.
            self._env.reader_check()
            raise
        finally:
            self._leave()

    def state(self) -> tuple[int, int]:
        """Entries, and bytes of their keys and values."""
        if not self._enter():
            return 0, 0
        try:
            with self._env.begin() as transaction:
                return transaction.stat(self._vectors)["entries"], self._held(transaction)
        finally:
            self._leave()

    def close(self) -> None:
        """Close it when nobody is inside."""
        with self._idle:
            self._is_closed = True
            self._idle.wait_for(lambda: not self._users)
            self._env.close()

    def close_if_idle(self) -> bool:
        """Close it where nobody is inside; gives False where somebody is."""
        with self._idle:
            if self._users:
                return False
            self._is_closed = True
            self._env.close()
            return True

    def wait_until_idle(self) -> None:
        """Wait for those who are inside."""
        with self._idle:
            self._idle.wait_for(lambda: not self._users)

    def _evict(self, transaction: Any, held: int, last: int) -> int:
        """Drop the oldest beyond the bound; those used since are put behind the newest, once."""
        spared: set[bytes] = set()
        while held > self._settings.disk_bytes:
            with transaction.cursor(self._order) as cursor:
                if not cursor.first():
                    break
                number, key = cursor.item()
            number, key = bytes(number), bytes(key)
            raw = _value(transaction.get(key, db=self._vectors))
            if raw is not None and raw[: _NUMBER.size] != number:
                raw = None  # it was written anew since
            if raw is not None and key in self._used and key not in spared:
                spared.add(key)
                self._used.discard(key)
                transaction.delete(number, db=self._order)
                last += 1
                moved = _NUMBER.pack(last)
                transaction.put(key, moved + raw[_NUMBER.size :], db=self._vectors)
                transaction.put(moved, key, db=self._order, append=True)
                continue
            transaction.delete(number, db=self._order)
            if raw is not None:
                held -= len(key) + len(raw)
                transaction.delete(key, db=self._vectors)
        return held

    def _remove(self, transaction: Any, key: bytes) -> int:
        """Take an entry out; gives the bytes that it took."""
        raw = _value(transaction.get(key, db=self._vectors))
        if raw is None:
            return 0
        transaction.delete(raw[: _NUMBER.size], db=self._order)
        transaction.delete(key, db=self._vectors)
        return KEY_BYTES + len(raw)

    def _lengthen(self) -> None:
        """Have the file go on behind its last page, as far as a damaged one may lead a reader.

        Pages that were free at once are never written, and what is read behind the end of a file
        kills the process.
        """
        end = _end(self._env) + _BEHIND
        # macOS has no such call, and a full disk has no room: a file is read all the same.
        if self._data.stat().st_size < end and hasattr(os, "posix_fallocate"):
            with suppress(OSError), self._data.open("r+b") as file:
                os.posix_fallocate(file.fileno(), end - 1, 1)

    def _held(self, transaction: Any) -> int:
        raw = transaction.get(_BYTES, db=self._meta)
        return 0 if raw is None else _number(raw)

    def _last(self, transaction: Any) -> int:
        with transaction.cursor(self._order) as cursor:
            return _number(cursor.key()) if cursor.last() else 0

    def discard(self) -> None:
        """Close it, and remove its file, which is damaged; not one that another process made since.

        Counted as corrupt.
        """
        self.close()
        self._counters.corrupt.inc()
        with suppress(OSError):
            if self._data.stat().st_ino == self._inode:
                shutil.rmtree(self._data.parent, ignore_errors=True)

    def _enter(self) -> bool:
        """Keep it open until :meth:`_leave`; gives False where it was closed."""
        with self._idle:
            self._users += not self._is_closed
            return not self._is_closed

    def _leave(self) -> None:
        with self._idle:
            self._users -= 1
            if not self._users:
                self._idle.notify_all()


def _value(raw: memoryview | None) -> bytes | None:
    if raw is not None and len(raw) > _LONGEST:
        raise lmdb.CorruptedError(f"a value of {len(raw):,} bytes")
    return None if raw is None else bytes(raw)


def _number(raw: bytes) -> int:
    if len(raw) != _NUMBER.size:
        raise lmdb.CorruptedError(f"a number of {len(raw)} bytes")
    return int(_NUMBER.unpack(raw)[0])


def _end(env: lmdb.Environment) -> int:
    """Bytes of the pages that LMDB counts."""
    return int((env.info()["last_pgno"] + 1) * env.stat()["psize"])


def _is_short(path: Path, env: lmdb.Environment) -> bool:
    # Its pages first: another process that writes meanwhile makes the file longer, and then more.
    end = _end(env)
    return path.stat().st_size < end
