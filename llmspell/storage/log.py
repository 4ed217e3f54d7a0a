"""Entries of a tenant's log, and the counters that change with them."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmspell._hot import checked_bytes
from llmspell.errors import CorruptFile, UnsupportedFormat
from llmspell.storage.codec import FORMAT, pack, unpack, without_checksum

__all__ = ["NO_ROWS", "Change", "Counters", "Update"]

_CHANGE = struct.Struct("<BQIII")
_COUNTERS = struct.Struct("<7Q")

NO_ROWS: Final[NDArray[np.uint64]] = np.array([], dtype=np.uint64)
NO_ROWS.flags.writeable = False


class Update(NamedTuple):
    """A record that kept its row and got other metadata."""

    row: int
    before: bytes  #: the metadata that it had, encoded
    after: bytes


class Change(NamedTuple):
    """An entry of the log: rows that came, which are consecutive, rows that went, and updates."""

    first: int
    added: int
    removed: NDArray[np.uint64]
    updates: tuple[Update, ...] = ()

    def encode(self) -> bytes:
        """Bytes of the entry."""
        updates = pack(self.updates) if self.updates else b""
        count = len(self.removed)
        head = _CHANGE.pack(FORMAT, self.first, self.added, count, len(updates))
        rows = self.removed.astype("<u8", copy=False).tobytes() if count else b""
        return checked_bytes(head + rows + updates)

    @classmethod
    def decode(cls, sequence: int, raw: bytes) -> Change:
        """The entry of some bytes; raises CorruptFile and UnsupportedFormat."""
        body = without_checksum(f"log entry {sequence}", raw, _CHANGE.size)
        version, first, added, removed, updates = _CHANGE.unpack_from(body)
        if version != FORMAT:
            raise UnsupportedFormat(f"log entry {sequence}: version {version}, expected {FORMAT}")
        end = _CHANGE.size + 8 * removed
        if len(body) != end + updates:
            raise CorruptFile(f"log entry {sequence}: {len(body)} bytes, {removed} rows")
        rows = np.frombuffer(body, "<u8", count=removed, offset=_CHANGE.size)
        return cls(
            first, added, rows, tuple(Update(*one) for one in unpack(body[end:])) if updates else ()
        )


class Counters(NamedTuple):
    """What the store knows of itself; written in the transaction that changes it.

    Args:
        next_rowid: of the next record; rows are never used again.
        sequence: of the last entry of the log.
        documents, vectors: held now.
        storage: bytes held now, see :attr:`llmspell.storage.record.StoredRecord.storage`.
        dim: of all vectors; 0 until the first ones are written.
        state_writes: that changed the state; they have no entry in the log, for no view needs one.
    """

    next_rowid: int = 1
    sequence: int = 0
    documents: int = 0
    vectors: int = 0
    storage: int = 0
    dim: int = 0
    state_writes: int = 0

    def encode(self) -> bytes:
        """Bytes of the counters."""
        return checked_bytes(_COUNTERS.pack(*self))

    @classmethod
    def decode(cls, raw: bytes | None) -> Counters:
        """The counters of some bytes; raises CorruptFile."""
        return cls._make(_COUNTERS.unpack(without_checksum("counters", raw, _COUNTERS.size)))
