"""A walk over everything that a store holds, each part held against the others.

It goes by pages, each of which is a moment of its own: writes may go on between them. So what it
holds against each other it finds at one moment, but for the sums: those it compares where nothing
was written from its first page to its last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap64

from llmspell.config import Metric
from llmspell.errors import (
    CorruptFile,
    DatabaseLocked,
    StorageError,
    UnsupportedFormat,
    UseAfterFork,
)
from llmspell.storage.chain import FIRST
from llmspell.storage.codec import UNDECODABLE
from llmspell.storage.embedders import count_embedders
from llmspell.storage.ids import pack_rowid, unpack_expiry, unpack_rowid
from llmspell.storage.judging import (
    LAST_ROW,
    is_expiry_of,
    judge_change,
    judge_counts,
    judge_document,
    judge_embedders,
    judge_record,
    judge_ties,
    judge_vector,
    refused_vectors,
    with_id,
)
from llmspell.storage.log import Change, Counters
from llmspell.storage.moment import Moment
from llmspell.storage.record import StoredRecord
from llmspell.storage.state_table import judge_state
from llmspell.storage.stored_document import StoredDocument
from llmspell.storage.tables import DOCUMENTS, EXPIRY, IDS, LOG, RECORDS, STATE, VECTORS

__all__ = ["Walk"]

#: Entries of a page, where their bytes aren't more.
PAGE_ENTRIES: Final = 4_096
#: Further walks over the records alone, where something was written during the ones before.
RECOUNTS: Final = 2

_BEFORE_ROWS: Final = pack_rowid(0)
ROW_BYTES: Final = 8

Page: TypeAlias = Callable[[Moment, bytes], bytes | None]
"""Looks at what lies behind a key; gives the last key that it came to, None at the end."""


class Walk:
    """One walk over a store. Use it from one thread.

    Args:
        moments: gives the store at a moment.
        metric: of the tenant, whose index must be able to take the vectors.
        damaged: is told of each damage, and may raise.
        spend: is told between moments how many bytes were read, and may wait, or raise to stop.
        page_bytes: read in one moment, at least one entry.

    Attributes:
        records, vectors, documents, state_entries, log_entries: looked at so far.
        is_recounted: whether the sums were those of one moment and could be compared.
        counters: at the last moment; None where they are damaged.
    """

    def __init__(
        self,
        moments: Callable[[], AbstractContextManager[Moment]],
        metric: Metric,
        damaged: Callable[[StorageError], object],
        *,
        spend: Callable[[int], object] = lambda read: None,
        page_bytes: int = 1 << 20,
    ) -> None:
        self._moments = moments
        self._metric = metric
        self._told = damaged
        self._spend = spend
        self._page_bytes = page_bytes
        self._read = 0
        self._moments_seen: set[tuple[int, int]] = set()
        self._is_sound = True
        self._seen = BitMap64()
        self._storage = 0
        self._embedders: Counter[str] | None = Counter()
        self._last_entry: int | None = None
        self.counters: Counters | None = None
        self.records = self.vectors = self.documents = 0
        self.state_entries = self.log_entries = 0
        self.is_recounted = False

    def run(self) -> None:
        """Walk over ids, records, vectors, expiries, documents, state and log; compare the sums."""
        self._go_over(self._ids, FIRST)
        self._go_over(self._records, _BEFORE_ROWS)
        self._go_over(self._vectors, _BEFORE_ROWS)
        self._go_over(self._expiries, FIRST)
        self._go_over(self._documents, FIRST)
        self._go_over(self._state, FIRST)
        self._go_over(self._log, _BEFORE_ROWS)
        self._go_over(self._sums, FIRST)
        for _ in range(RECOUNTS):
            if not self._is_sound or len(self._moments_seen) <= 1:
                return
            self._moments_seen.clear()
            self.is_recounted = False
            self._storage = 0
            # Documents are walked over once.
            self._embedders = None
            self._go_over(self._storage_again, _BEFORE_ROWS)
            self._go_over(self._state_again, FIRST)
            self._go_over(self._sums, FIRST)

    def _go_over(self, page: Page, start: bytes) -> None:
        place: bytes | None = start
        while place is not None:
            self._read = 0
            try:
                with self._moments() as moment:
                    self._look(moment)
                    place = page(moment, place)
            except (DatabaseLocked, UseAfterFork):
                raise
            except StorageError as error:  # of LMDB, which finds nothing behind that
                self._damaged(error)
                place = None
            self._spend(self._read)

    def _look(self, moment: Moment) -> None:
        try:
            self.counters = moment.counters
            self._moments_seen.add((self.counters.sequence, self.counters.state_writes))
        except CorruptFile as error:
            self.counters = None
            self._damaged(error)

    def _damaged(self, error: StorageError) -> None:
        self._is_sound = False
        self._told(error)

    @contextmanager
    def _judging(self, where: str, key: bytes | None = None) -> Iterator[None]:
        """Tell of what the block raises.

        Args:
            where: it is, where the error can't say so.
            key: of the record that it is about; its id is told besides.
        """
        try:
            yield
        except (CorruptFile, UnsupportedFormat) as error:
            self._damaged(error if key is None else with_id(error, key))
        except UNDECODABLE as error:
            self._damaged(CorruptFile(f"{where}: it can't be decoded: {error!r}"))

    def _has_seen(self, row: bytes) -> bool:
        return len(row) == ROW_BYTES and int.from_bytes(row) in self._seen

    def _is_full(self, entries: int) -> bool:
        return self._read >= self._page_bytes or entries >= PAGE_ENTRIES

    def _ids(self, moment: Moment, after: bytes) -> bytes | None:
        keys: list[bytes] = []
        vectors: list[NDArray[np.float32]] = []
        rows: list[int] = []
        try:
            survey = moment.table(IDS).survey(after, self._damaged)
            for entries, (key, row) in enumerate(survey, 1):
                self._read += len(key)
                if row is not None:
                    rowid = int.from_bytes(row)
                    self._seen.add(rowid & LAST_ROW)
                    with self._judging(f"record {rowid}", key):
                        self._judge_record(moment, moment.whole(row, key, vector=False)[0])
                    with self._judging(f"vector {rowid}", key):
                        vectors.append(self._vector(moment, rowid))
                        rows.append(rowid)
                        keys.append(key)
                if self._is_full(entries):
                    return key
            return None
        finally:
            self._judge_vectors(rows, vectors, keys)

    def _judge_record(self, moment: Moment, record: StoredRecord) -> None:
        self._read += len(record.key) + record.storage - record.vector_bytes
        judge_record(record, self.counters)
        self.records += 1
        self._storage += record.storage
        judge_ties(moment, record, self.counters)

    def _vector(self, moment: Moment, rowid: int) -> NDArray[np.float32]:
        vector = moment.vector(rowid)
        self._read += vector.nbytes
        judge_vector(rowid, vector, self.counters)
        self.vectors += 1
        return vector

    def _judge_vectors(
        self, rows: list[int], vectors: list[NDArray[np.float32]], keys: list[bytes]
    ) -> None:
        """Whether an index takes them."""
        for error in refused_vectors(rows, vectors, keys, self._metric):
            self._damaged(error)

    def _records(self, moment: Moment, after: bytes) -> bytes | None:
        """Those that no id led to: written since, or with an id that is damaged."""
        ids = moment.table(IDS)
        for entries, key in enumerate(moment.keys(RECORDS, after), 1):
            self._read += len(key)
            if not self._has_seen(key):
                with self._judging("records"):
                    rowid = unpack_rowid(key)[0]
                    self._seen.add(rowid)
                    record = StoredRecord(rowid, moment.value(RECORDS, key) or b"")
                    if ids.get(record.key) != key:
                        raise CorruptFile(f"record {rowid}: its id doesn't lead to it")
                    self._judge_record(moment, record)
                    self._judge_vectors([rowid], [self._vector(moment, rowid)], [record.key])
            if self._is_full(entries):
                return key
        return None

    def _vectors(self, moment: Moment, after: bytes) -> bytes | None:
        """Whether each is that of a record."""
        for entries, key in enumerate(moment.keys(VECTORS, after), 1):
            self._read += len(key)
            if not self._has_seen(key):
                with self._judging("vectors"):
                    rowid = unpack_rowid(key)[0]
                    if moment.value(RECORDS, key) is None:
                        raise CorruptFile(f"vector {rowid}: there is no record of its row")
                    self._vector(moment, rowid)
            if self._is_full(entries):
                return key
        return None

    def _expiries(self, moment: Moment, after: bytes) -> bytes | None:
        survey = moment.table(EXPIRY).survey(after, self._damaged)
        for entries, (key, content) in enumerate(survey, 1):
            self._read += len(key)
            if content is not None:
                with self._judging("expiry"):
                    expires_us, rowid = unpack_expiry(key)
                    raw = moment.value(RECORDS, pack_rowid(rowid))
                    self._read += len(raw or b"")
                    if raw is None or not is_expiry_of(rowid, raw, expires_us):
                        raise CorruptFile(
                            f"expiry of record {rowid}: there are other expiries than records say"
                        )
            if self._is_full(entries):
                return key
        return None

    def _documents(self, moment: Moment, after: bytes) -> bytes | None:
        survey = moment.table(DOCUMENTS).survey(after, self._damaged)
        for entries, (key, content) in enumerate(survey, 1):
            self._read += len(key)
            if content is not None:
                self._read += len(content)
                self.documents += 1
                with self._judging("documents"):
                    self._judge_document(moment, key.decode(), content)
            if self._is_full(entries):
                return key
        return None

    def _state(self, moment: Moment, after: bytes) -> bytes | None:
        survey = moment.table(STATE).survey(after, self._damaged)
        for entries, (key, content) in enumerate(survey, 1):
            self._read += len(key)
            if content is not None:
                self._read += len(content)
                self.state_entries += 1
                with self._judging("state"):
                    self._storage += judge_state(key, content)
            if self._is_full(entries):
                return key
        return None

    def _judge_document(self, moment: Moment, name: str, content: bytes) -> None:
        document = StoredDocument.decode(content)
        if self._embedders is not None:
            self._embedders.update(count_embedders([document]))
        judge_document(moment, name, document)

    def _log(self, moment: Moment, after: bytes) -> bytes | None:
        entries = 0
        for key in moment.keys(LOG, after):
            with self._judging("log"):
                sequence = unpack_rowid(key)[0]
                last, self._last_entry = self._last_entry, sequence
                # Between two moments all up to here may have been trimmed, but not less than that.
                is_trimmed = not entries and next(moment.keys(LOG, _BEFORE_ROWS), b"") == key
                if last is not None and sequence != last + 1 and not is_trimmed:
                    self._damaged(CorruptFile(f"log entry {last + 1}: missing"))
                raw = moment.value(LOG, key) or b""
                self._read += len(raw)
                self.log_entries += 1
                judge_change(sequence, Change.decode(sequence, raw), self.counters)
            entries += 1
            if self._is_full(entries):
                return key
        if self._last_entry is not None and self.counters is not None:
            is_there = entries or next(moment.keys(LOG, _BEFORE_ROWS), None) is not None
            sequence = self.counters.sequence
            if is_there and self._last_entry != sequence:
                self._damaged(CorruptFile(f"log entry {sequence}: missing, though it is the last"))
        return None

    def _sums(self, moment: Moment, _: bytes) -> bytes | None:
        """How many there are, which one moment tells, and the bytes, if all was of that moment."""
        counters = self.counters
        if counters is None:
            return None
        tables = (moment.table(name).count() for name in (DOCUMENTS, IDS))
        found = (*tables, *moment.stored())
        with self._judging("counters"):
            judge_counts(found, counters)
        if self._is_sound and len(self._moments_seen) == 1:
            self.is_recounted = True
            if self._storage != counters.storage:
                self._damaged(
                    CorruptFile(
                        f"counters: {self._storage} bytes of storage are there, the counters say "
                        f"{counters.storage}"
                    )
                )
            if self._embedders is not None:
                with self._judging("embedders"):
                    judge_embedders(moment, dict(self._embedders))
        return None

    def _state_again(self, moment: Moment, after: bytes) -> bytes | None:
        if len(self._moments_seen) > 1:
            return None
        survey = moment.table(STATE).survey(after, self._damaged)
        for entries, (key, content) in enumerate(survey, 1):
            size = len(key) + len(content or b"")
            self._read += size
            self._storage += size
            if self._is_full(entries):
                return key
        return None

    def _storage_again(self, moment: Moment, after: bytes) -> bytes | None:
        if len(self._moments_seen) > 1:
            return None
        for entries, key in enumerate(moment.keys(RECORDS, after), 1):
            with self._judging("records"):
                raw = moment.value(RECORDS, key) or b""
                self._read += len(raw)
                self._storage += StoredRecord(unpack_rowid(key)[0], raw).storage
            if self._is_full(entries):
                return key
        return None
