"""Ordered tables of an environment whose answers can be trusted, also that a key is not there.

LMDB checks nothing that it reads. An entry's checksum tells that it is as it was written; that a
key is missing could still be a flipped bit in it, or in a page above it. So each entry also names
the key behind it, as signed DNS zones do (RFC 4034, NSEC): a key is not there where the entry
before its place says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn, cast

from llmspell._hot import chain_content, chain_entry, crc32c
from llmspell.errors import CorruptFile
from llmspell.storage.transaction import Cursor, Transaction

__all__ = ["Chain"]

_HEAD_BYTES: Final = 8
#: Before all keys, which are longer or begin with a greater byte.
FIRST: Final = b"\0"
END: Final = b""


class Chain:
    """A table in one transaction, changed through one of these at a time. For its thread alone.

    A value is a checksum of key and value, the checksum of the next key, and the content.
    """

    __slots__ = ("_cursor", "_database", "_missed", "_name", "_txn")

    def __init__(self, txn: Transaction, database: Any, name: str) -> None:
        self._txn = txn
        self._database = database
        self._name = name
        # Most writes need one of their tables at most.
        self._cursor: Cursor | None = None
        # The key that was looked for last and isn't there, and the entry before its place.
        self._missed: tuple[bytes, tuple[bytes, int, bytes]] | None = None

    @staticmethod
    def create(txn: Transaction, database: Any) -> None:
        """Make an empty table."""
        txn.put(FIRST, chain_entry(FIRST, crc32c(END), b""), db=database)

    def get(self, key: bytes) -> bytes | None:
        """Content of a key, None where it isn't there; raises CorruptFile."""
        if key == FIRST:
            return None
        raw = self._txn.get(key, db=self._database)
        if raw is not None:
            return self._decode(key, raw)[1]
        self._missed = key, self._before(key)
        return None

    def count(self) -> int:
        """How many keys there are, as LMDB counts them."""
        return int(self._txn.stat(self._database)["entries"]) - 1

    def put(self, key: bytes, content: bytes) -> None:
        """Set the content of a key, which is not :data:`FIRST`."""
        missed, self._missed = self._missed, None
        place = missed[1] if missed is not None and missed[0] == key else None
        raw = None if place is not None else self._txn.get(key, db=self._database)
        if raw is not None:
            following = self._decode(key, raw)[0]
        else:
            before, following, before_content = place or self._before(key)
            self._txn.put(
                before, chain_entry(before, crc32c(key), before_content), db=self._database
            )
        self._txn.put(key, chain_entry(key, following, content), db=self._database)

    def pop(self, key: bytes) -> bytes | None:
        """Remove a key and return its content; None where it isn't there."""
        self._missed = None
        if key == FIRST:
            return None
        raw = self._txn.get(key, db=self._database)
        if raw is None:
            self._before(key)
            return None
        following, content = self._decode(key, raw)
        self._txn.delete(key, db=self._database)
        before, _, before_content = self._before(key, crc32c(key))
        self._txn.put(before, chain_entry(before, following, before_content), db=self._database)
        return content

    def items(self, after: bytes = FIRST) -> Iterator[tuple[bytes, bytes]]:
        """Keys behind ``after``, which needn't be there, with their contents, in order."""
        return cast("Iterator[tuple[bytes, bytes]]", self.survey(after, _refuse))

    def survey(
        self, after: bytes, damaged: Callable[[CorruptFile], object]
    ) -> Iterator[tuple[bytes, bytes | None]]:
        """As :meth:`items`, and behind what doesn't hold as well, where ``damaged`` doesn't raise.

        The content of an entry that doesn't hold is None.
        """
        cursor = self._cursor = self._cursor or self._txn.cursor(self._database)
        following: int | None = None
        try:
            start = after if cursor.set_key(after) else self._before(after)[0]
            cursor.set_key(start)
            following = self._decode(start, cursor.value())[0]
            there = cursor.next()
        except CorruptFile as error:
            damaged(error)
            there = cursor.set_range(after) and (cursor.key() != after or cursor.next())
        key = after
        while there:
            before, key = key, cursor.key()
            if key <= before:
                damaged(CorruptFile(f"{self._name}: its keys are out of order at {key!r}"))
                return
            if following is not None and crc32c(key) != following:
                damaged(CorruptFile(f"{self._name}: an entry before {key!r} is missing"))
            content: bytes | None = None
            try:
                following, content = self._decode(key, cursor.value())
            except CorruptFile as error:
                damaged(error)
                following = None
            yield key, content
            there = cursor.next()
        if following is not None and following != crc32c(END):
            damaged(CorruptFile(f"{self._name}: the last entries are missing"))

    def _before(self, key: bytes, named: int | None = None) -> tuple[bytes, int, bytes]:
        """The entry before a missing key: its key, the checksum of the next key, its content.

        Args:
            named: what it must name as next; the key that follows where None.
        """
        cursor = self._cursor = self._cursor or self._txn.cursor(self._database)
        if cursor.set_range(key):
            found = cursor.key()
            there = cursor.prev()
        else:
            found = END
            there = cursor.last()
        if not there:
            raise CorruptFile(f"{self._name}: its first entry is missing")
        before = cursor.key()
        following, content = self._decode(before, cursor.value())
        if following != (crc32c(found) if named is None else named):
            raise CorruptFile(f"{self._name}: an entry behind {before!r} is missing")
        return before, following, content

    def _decode(self, key: bytes, raw: bytes) -> tuple[int, bytes]:
        entry = chain_content(key, raw)
        if entry is not None:
            return entry
        if len(raw) < _HEAD_BYTES:
            raise CorruptFile(f"{self._name}: the entry of {key!r} is cut short")
        raise CorruptFile(f"{self._name}: the checksum of {key!r} does not match")


def _refuse(error: CorruptFile) -> NoReturn:
    raise error
