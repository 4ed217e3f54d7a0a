"""The durable part of a tenant: log, records, ids, documents and counters in one environment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmspell.errors import (
    ClosedError,
    DimensionMismatch,
    LlmspellError,
    StorageFull,
    UnsupportedFormat,
)
from llmspell.quota import Slot, count_kept, forget_kept
from llmspell.storage.batch import Batch
from llmspell.storage.chain import Chain
from llmspell.storage.codec import FORMAT, pack_checked, unpack_checked
from llmspell.storage.environment import Environment
from llmspell.storage.ids import pack_expiry, pack_rowid, unpack_expiry, unpack_rowid
from llmspell.storage.kept_pages import KeptPages
from llmspell.storage.levels import Levels, Step
from llmspell.storage.log import Change, Counters
from llmspell.storage.member import Member
from llmspell.storage.moment import Moment
from llmspell.storage.record import StoredRecord, decode_vector
from llmspell.storage.state_table import StateTable
from llmspell.storage.stored_document import StoredDocument
from llmspell.storage.tables import (
    CHAINS,
    COUNTERS,
    DATABASES,
    DOCUMENTS,
    EXPIRY,
    LOG,
    META,
    RECORDS,
    STATE,
    VECTORS,
)
from llmspell.storage.transaction import Transaction
from llmspell.storage.write import Applied

__all__ = ["LogTail", "TenantStore"]

_ABOUT: Final = b"about"

#: Of the map, kept for deletes: a sixteenth, and no less than 4 MiB.
HEAD_ROOM_DIVISOR: Final = 16
LEAST_HEAD_ROOM: Final = 4 << 20

#: More than a record can add to the tables, besides those of its bytes.
PAGES_OF_A_RECORD: Final = 256


class LogTail(NamedTuple):
    """What happened behind a sequence number, as one moment shows it.

    Args:
        changes: entries of the log, in order; None where it doesn't go back that far any more.
        counters: as they are behind the last of them.
    """

    changes: list[Change] | None
    counters: Counters


class TenantStore:
    """Log, records and counters of a tenant; every write is one durable transaction.

    Reads are thread-safe. Writes are for one thread of one process at a time.
    """

    def __init__(self, path: Path, slot: Slot, *, map_size: int) -> None:
        """Open the store.

        Raises:
            CorruptFile: it is missing or damaged.
            UnsupportedFormat: another release made it.
        """
        self._path = path
        self._map_size = map_size
        head_room = max(LEAST_HEAD_ROOM, map_size // HEAD_ROOM_DIVISOR)
        # A room's lock of writers is held until a write has returned.
        self._env = Environment(path, DATABASES, map_size=map_size + head_room, has_one_writer=True)
        self._levels = Levels(slot)
        self._kept = KeptPages()
        try:
            with self._env.read() as txn:
                about = unpack_checked("store", self._get(txn, META, _ABOUT))
                if about["format"] != FORMAT:
                    raise UnsupportedFormat(f"{path}: version {about['format']}, expected {FORMAT}")
        except BaseException:
            self._env.close()
            raise

    @staticmethod
    def create(path: Path) -> None:
        """Make an empty store, durable before it has its name."""

        def fill(txn: Transaction, databases: dict[bytes, Any]) -> None:
            txn.put(_ABOUT, pack_checked({"format": FORMAT}), db=databases[META])
            txn.put(COUNTERS, Counters().encode(), db=databases[META])
            for name in CHAINS:
                Chain.create(txn, databases[name])

        Environment.create(path, DATABASES, fill)

    @property
    def memory(self) -> int:
        """Bytes that LMDB holds for it in this process, estimated: see :class:`KeptPages`."""
        return self._kept.bytes

    # --- reads

    def counters(self) -> Counters:
        """Counters behind the last write that any process has committed."""
        with self._env.read() as txn:
            return self._counters(txn)

    def fetch(self, rowids: Sequence[int]) -> list[bytes | None]:
        """Records of some rows, as one moment shows them; None where a row is gone."""
        return self._env.get_many(RECORDS, list(map(pack_rowid, rowids)))

    def get(self, keys: Sequence[bytes]) -> list[tuple[StoredRecord, NDArray[np.float32]] | None]:
        """Records and vectors of some ids, as one moment shows them; None for a missing id."""
        with self._env.read() as txn:
            moment = Moment(txn, self._env.databases)
            return [
                None if row is None else moment.whole(row, key)
                for key, row in zip(keys, moment.rows(keys), strict=True)
            ]

    @contextmanager
    def moment(self) -> Iterator[Moment]:
        """All that is held, as one moment shows it; pages that it needs aren't reused meanwhile."""
        with self._env.read() as txn:
            yield Moment(txn, self._env.databases)

    @contextmanager
    def copying(self) -> Iterator[tuple[Moment, Callable[[int], None]]]:
        """A moment as :meth:`moment`, and what writes the environment, as it is then, to a file."""
        with self._env.read() as txn:
            copy_to = partial(self._env.copy_to, txn=txn)
            yield Moment(txn, self._env.databases), copy_to

    def vectors(self, rowids: Sequence[int]) -> list[NDArray[np.float32] | None]:
        """Vectors of some rows, as one moment shows them; None where a row is gone."""
        raws = self._env.get_many(VECTORS, list(map(pack_rowid, rowids)))
        return [
            None if raw is None else decode_vector(rowid, raw)
            for rowid, raw in zip(rowids, raws, strict=True)
        ]

    def document(self, document_id: str) -> StoredDocument | None:
        """An ingested document."""
        with self._env.read() as txn:
            raw = self._chain(txn, DOCUMENTS).get(document_id.encode())
        return None if raw is None else StoredDocument.decode(raw)

    def embedders(self) -> dict[str, int] | None:
        """As :attr:`Moment.embedders`."""
        with self.moment() as moment:
            return moment.embedders

    @contextmanager
    def state(self) -> Iterator[StateTable]:
        """The state, as one moment shows it."""
        with self._env.read() as txn:
            yield StateTable(self._chain(txn, STATE))

    def records(self) -> Iterator[StoredRecord]:
        """All records in the order of their rows, as one moment shows them."""
        with self._env.read() as txn, txn.cursor(self._env.databases[RECORDS]) as cursor:
            for key, raw in cursor.iternext():
                yield StoredRecord(unpack_rowid(key)[0], raw)

    def all_vectors(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """All rows with their vectors in the order of the rows, as one moment shows them."""
        with self._env.read() as txn, txn.cursor(self._env.databases[VECTORS]) as cursor:
            for key, raw in cursor.iternext():
                rowid = unpack_rowid(key)[0]
                yield rowid, decode_vector(rowid, raw)

    def tail(self, after: int) -> LogTail:
        """Entries of the log behind a sequence number; raises CorruptFile for a damaged one."""
        with self._env.read() as txn:
            counters = self._counters(txn)
            changes: list[Change] = []
            cursor = txn.cursor(self._env.databases[LOG])
            if after < counters.sequence and cursor.set_range(pack_rowid(after + 1)):
                for key, raw in cursor.iternext():
                    sequence = unpack_rowid(key)[0]
                    if sequence != after + len(changes) + 1:
                        break
                    changes.append(Change.decode(sequence, raw))
            if after + len(changes) != counters.sequence:
                return LogTail(None, counters)
            return LogTail(changes, counters)

    def expiring(self, after_us: int, upto_us: int) -> tuple[list[int], int | None]:
        """Rows that expire behind one time and not behind another; and when the next one does."""
        due: list[int] = []
        with self._env.read() as txn:
            for key, _ in self._chain(txn, EXPIRY).items(pack_expiry(after_us + 1, 0)):
                expires_us, rowid = unpack_expiry(key)
                if expires_us > upto_us:
                    return due, expires_us
                due.append(rowid)
        return due, None

    # --- writes

    def apply(self, members: Sequence[Member], now_us: int, expired: Sequence[int] = ()) -> None:
        """Do writes in one transaction, one behind the other: all of them, durably, or nothing.

        Each gets an entry of the log, and its ``applied``. The caller holds the tenant's lock of
        writers, and publishes the log's new head.

        Args:
            expired: rows that go besides, where there is anything to do.

        Raises:
            ClosedError: the tenant was dropped.
            DimensionMismatch, DuplicateId, IdNotFound, QuotaExceeded: one of them is refused, and
                has it as its ``error``; nothing was written or charged.
            StorageFull: the map or the disk is full; nothing was written or charged.
            BaseException: from elsewhere, as KeyboardInterrupt; :meth:`settle` tells what holds.
        """
        for member in members:
            member.applied = member.error = None
        reserved: list[Member] = []

        def body(txn: Transaction) -> list[Step]:
            first = before = self._counters(txn)
            self._levels.agree(before)
            added = sum([member.records + len(member.write.state) for member in members])
            self._kept.begin(txn, self._env.databases, added)
            steps: list[Step] = []
            for member in members:
                is_held = member.hold is not None
                try:
                    after = self._do(txn, member, before, now_us, () if steps else expired)
                except LlmspellError as error:
                    # What LMDB raises is the store's, and gets its name outside of the transaction.
                    member.error = error
                    raise
                finally:
                    if not is_held and member.hold is not None:
                        reserved.append(member)
                if member.hold is not None and after != before:
                    steps.append(Step(member.hold, before, after))
                before = after
            if before.storage > first.storage:
                self._require_room(txn, members)
            removed = first.vectors + before.next_rowid - first.next_rowid - before.vectors
            self._kept.end(txn, self._env.databases, removed)
            return steps

        crossings = count_kept()
        try:
            self._levels.settle(self._env.write(body))
        except BaseException:
            # What was reserved for it has crossed nothing.
            forget_kept(crossings)
            for member in reserved:
                member.give_back()
            raise

    def _do(
        self,
        txn: Transaction,
        member: Member,
        before: Counters,
        now_us: int,
        expired: Sequence[int],
    ) -> Counters:
        """Do one write; returns the counters behind it."""
        write = member.write
        if write.dim and before.dim not in (0, write.dim):
            raise DimensionMismatch(
                f"vectors of dimension {before.dim} expected, got {write.dim}",
                expected=before.dim,
                actual=write.dim,
            )
        batch = Batch(txn, self._env.databases, before, now_us)
        created = batch.remove(write)
        if write.updates:
            batch.update(write.updates)
        state = batch.edit_state(write.state) if write.state else ()
        if not batch.changes(write):
            after = batch.counted_state(write)
            if after != before:
                member.hold = member.hold or self._levels.reserve(before, after)
                batch.write_counters(after)
            member.applied = Applied(None, after, 0, state)
            return after
        if expired:
            batch.remove_rows(expired)
        after = batch.counted(write, member.bytes)
        if member.hold is None:
            member.hold = self._levels.reserve(before, after)
        member.applied = Applied(batch.write(write, created, after), after, batch.gone, state)
        return after

    def settle(self) -> None:
        """Let the ledger agree with the log, after a write that may have been cut short.

        The caller holds the tenant's lock of writers.
        """
        counters = self.counters()
        with suppress(ClosedError):
            self._levels.agree(counters)

    def is_settled(self, counters: Counters) -> bool:
        """Whether the ledger agrees with the log, whose counters these are."""
        return self._levels.hold(counters)

    def trim(self, upto: int) -> None:
        """Remove the log up to and with a sequence number; no snapshot needs it any more."""
        last = pack_rowid(upto)

        def trim(txn: Transaction) -> None:
            with txn.cursor(self._env.databases[LOG]) as cursor:
                cursor.first()
                while (key := cursor.key()) and key <= last:
                    cursor.delete()

        self._env.write(trim)

    def close(self) -> None:
        """Close it when the reads under way have ended."""
        self._env.close()

    def _surely_has_room(self, members: Sequence[Member]) -> bool:
        """Whether the map has room whatever pages records take; it costs less than to count them.

        Beyond its bytes a record takes at most a few pages for their rounding, and a page of each
        depth of each table where that is split.
        """
        most = self._env.end_bytes
        for member in members:
            if member.write.documents or member.write.updates or member.write.state:
                return False
            most += member.bytes + member.records * PAGES_OF_A_RECORD * self._env.page_bytes
        return most <= self._map_size

    def _require_room(self, txn: Transaction, members: Sequence[Member]) -> None:
        """Leave the head-room of the map to what makes a tenant smaller: deletes copy pages too."""
        if self._surely_has_room(members):
            return
        taken = 0
        for database in self._env.databases.values():
            stat = txn.stat(database)
            pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
            taken += pages * stat["psize"]
        if taken > self._map_size:
            raise StorageFull(
                f"{self._path}: the map of {self._map_size} bytes is full; nothing was written. "
                "Delete data, or open the database with a larger map_size"
            )

    def _counters(self, txn: Transaction) -> Counters:
        return Counters.decode(self._get(txn, META, COUNTERS))

    def _chain(self, txn: Transaction, database: bytes) -> Chain:
        return Chain(txn, self._env.databases[database], database.decode())

    def _get(self, txn: Transaction, database: bytes, key: bytes) -> bytes | None:
        return txn.get(key, db=self._env.databases[database])
