"""What a tenant's log is seen through in this process, and how it is kept in step."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from llmspell._hot import Position
from llmspell.config import TenantConfig
from llmspell.errors import ClosedError, CorruptFile, MissingDependency
from llmspell.index import IdBitmap, Index
from llmspell.quota import Slot
from llmspell.storage.filters import Filter
from llmspell.storage.log import Counters
from llmspell.storage.record import NEVER
from llmspell.storage.snapshots import LEXICAL, PAYLOAD, Snapshots
from llmspell.storage.store import TenantStore
from llmspell.storage.view import ATTEMPTS, CURVES, VectorView
from llmspell.storage.write import Applied, Write

if TYPE_CHECKING:
    from llmspell.storage.lexical import LexicalView
    from llmspell.storage.payload_view import PayloadView

__all__ = ["Views"]

_R = TypeVar("_R")


class Views:
    """The vector index of a tenant, its payload index and its lexical index. Thread-safe.

    They follow the log, whoever writes it: :meth:`catch_up` reads what other processes committed,
    and :meth:`follow` takes what this one wrote from its hands. One thread at a time changes them;
    searches go on meanwhile.
    """

    __slots__ = (
        "_config",
        "_directory",
        "_flush",
        "_is_closed",
        "_lexical",
        "_lock",
        "_payload",
        "_slot",
        "_store",
        "_vectors",
        "epoch",
        "position",
    )

    def __init__(
        self, directory: Path, store: TenantStore, slot: Slot, config: TenantConfig
    ) -> None:
        """Open them at the state of the store; raises CorruptFile where a record is damaged."""
        self._directory = directory
        self._store = store
        self._slot = slot
        self._config = config
        self._lock = threading.RLock()
        self._is_closed = False
        self._flush: weakref.WeakMethod[Callable[[], None]] | None = None
        #: Grows before rows leave the index: a filter evaluated before may name such rows.
        self.epoch = 0
        self._payload: PayloadView | None = None
        self._lexical: LexicalView | None = None
        #: What searches look at first, and where the vector index is.
        self.position = Position(slot)
        self._vectors = VectorView(directory, store, config, self.now_us(), self.position)
        self.position.sequence = self._vectors.sequence
        self._expire()

    def now_us(self) -> int:
        """Microseconds since 1970 by the ledger's calendar, which no step of the clock moves."""
        return self._slot.ledger.utc_ns() // 1_000

    @property
    def counters(self) -> Counters:
        """Of the entry of the log that the views have reached."""
        return self._vectors.counters

    @property
    def sequence(self) -> int:
        """Of the entry of the log that the views have reached."""
        return self.position.sequence

    @property
    def index(self) -> Index | None:
        """The vector index as far as it has come; None until the first vectors are written."""
        return self._vectors.index

    @property
    def expired(self) -> list[int]:
        """Rows that have expired and that the store still has."""
        return self._vectors.expired

    def current(self) -> Index | None:
        """The vector index with every write that was acknowledged, and nothing that has expired.

        None until the first vectors are written.
        """
        if self.position.is_behind():
            if self.position.is_queued and self._flush is not None:
                flush = self._flush()
                if flush is not None:
                    flush()
            self.refresh()
        return self._vectors.index

    def refresh(self) -> None:
        """Follow the log where it has gone on, without what waits to be committed."""
        if self.position.is_late():
            self.catch_up()

    def doubt(self) -> None:
        """A write was cut short: look into the log before the next use."""
        self.position.is_unsure = True

    def flush_by(self, flush: Callable[[], None]) -> None:
        """Commit by this method what waits; it must not be what keeps its object alive."""
        self._flush = weakref.WeakMethod(flush)

    def await_flush(self, is_queued: bool) -> None:
        """Whether acknowledged writes wait to be committed; reads that want to see all flush."""
        self.position.is_queued = is_queued

    def catch_up(self) -> None:
        """Follow the log to its end.

        Raises:
            ClosedError: they are closed.
            CorruptFile: log and records don't fit together.
        """
        with self._lock:
            if self._is_closed:
                raise ClosedError(f"{self._directory}: closed")
            tail = self._store.tail(self._vectors.sequence)
            if tail.changes and self._vectors.check(self.now_us()):
                self.epoch += 1
                tail = self._store.tail(self._vectors.sequence)
            if tail.changes is None:
                self._payload = None
                self.epoch += 1
                self._vectors.reload(self.now_us())
            elif tail.changes or self.position.is_unsure:
                if self._payload is not None:
                    self._payload.follow(tail.changes, tail.counters.sequence)
                self.epoch += 1
                if not self._vectors.follow(tail):
                    self._vectors.reload(self.now_us())
            self.position.is_unsure = False
            self.position.sequence = self._vectors.sequence
            self._expire()

    def follow(self, applied: Applied, write: Write) -> None:
        """Follow a write of this process; in this order, so that no search misses a record.

        A record that is replaced is in each view twice for a moment; its old row can't be fetched.
        """
        change = applied.change
        if change is None:
            return
        position, vectors, sequence = self.position, self._vectors, applied.counters.sequence
        with self._lock:
            if not vectors.is_checked and vectors.check(self.now_us()):
                # The records have what was written, and so has the index that was made of them.
                self.epoch += 1
                position.is_unsure = True
            if vectors.sequence >= sequence and not position.is_unsure:
                return
            if vectors.sequence != sequence - 1 or position.is_unsure:
                self.catch_up()
                return
            if write.vectors is not None and len(write.vectors):
                vectors.add(change.first, write.vectors)
            if self._payload is not None:
                self._payload.add(change, [put.plain_metadata for put in write.puts])
            self.epoch += 1
            vectors.finish(change, applied.counters)
            position.sequence = sequence
            for put in write.puts:
                if put.expires_us < position.next_expiry_us:
                    position.next_expiry_us = put.expires_us
            if vectors.is_snapshot_due:
                self.snapshot()

    def mend(self, index: Index, error: CorruptFile) -> None:
        """Open the view anew where a search found the index damaged; search again then.

        Raises:
            CorruptFile: ``error``, where the index is whole and it has another cause.
        """
        with self._lock:
            if self._is_closed:
                raise ClosedError(f"{self._directory}: closed")
            if index is not self._vectors.index:
                return
            if not self._vectors.check(self.now_us()):
                raise error
            self.epoch += 1
            self.position.is_unsure = True
            self.catch_up()

    def allowed(self, condition: Filter) -> IdBitmap | NDArray[np.uint64]:
        """Rows that a filter keeps, as a search takes them."""
        return self._ask(lambda payload: payload.allowed(condition))

    def matching(self, condition: Filter) -> NDArray[np.int64]:
        """Rows that a filter keeps, ascending."""
        return self._ask(lambda payload: payload.matching(condition))

    def ask_words(self, question: Callable[[LexicalView], _R]) -> _R:
        """Ask the lexical index with every write that the other views have followed.

        It opens with the first call, which takes a while where no snapshot holds. Writes and other
        searches go on meanwhile. Where one of these fails to open it or to follow, which closes it
        for all, it is opened anew.

        Raises:
            ClosedError: they are closed.
            CorruptFile: a record is damaged.
            MissingDependency: the extra ``lexical`` isn't installed.
        """
        tries = ATTEMPTS
        while True:
            view = self._lexical_view()
            try:
                view.reach(self.position.sequence)
                return question(view)
            except ClosedError:
                tries -= 1
                if self._is_closed or not view.is_closed or not tries:
                    raise

    def snapshot(self) -> None:
        """Save them, and trim the log behind what is needed to open them."""
        with self._lock:
            if self._lexical is not None:
                self._lexical.snapshot()
            if self._payload is not None:
                self._payload.snapshot()
            self._vectors.snapshot()

    def renew(self, damaged: Iterable[Path]) -> None:
        """Write new files in place of damaged ones that the views open from, from the log.

        Searches, writes and the views in memory go on: a file may be what one of these is mapped
        from, so what is written is read from the store, or from a snapshot that holds.

        Raises:
            CorruptFile: what it is to be made of is damaged as well.
        """
        from llmspell.storage.payload_view import PayloadView

        names = {path.name for path in damaged}
        snapshots = Snapshots(self._directory)
        indexes = [n for n in snapshots.sequences() if snapshots.path(n).name in names]
        if indexes:
            now_us, position = self.now_us(), Position(self._slot)
            view = VectorView(self._directory, self._store, self._config, now_us, position)
            view.renew(indexes)
        if PAYLOAD in names:
            (self._directory / PAYLOAD).unlink(missing_ok=True)
            sequence = self._store.counters().sequence
            payload = PayloadView(self._directory, self._store, self._config, sequence)
            with self._lock:
                payload.snapshot()
        if LEXICAL in names:
            (self._directory / LEXICAL).unlink(missing_ok=True)
            self._renew_lexical()
        if CURVES in names:
            # What it tells is measured again where nobody remembers it.
            (self._directory / CURVES).unlink(missing_ok=True)
            with self._lock:
                self._vectors.forget_kept()
                self._vectors.keep_curves()

    def close(self, *, snapshot: bool, has_written: bool) -> None:
        """Refuse to follow from now on.

        Args:
            snapshot: save what the next opening should begin with.
            has_written: this process changed something; else others will see to a snapshot.
        """
        with self._lock:
            was_closed, self._is_closed = self._is_closed, True
            try:
                if not snapshot or was_closed or self.position.is_unsure:
                    return
                if has_written or self._vectors.is_snapshot_due:
                    self.snapshot()
                else:
                    self._vectors.keep_curves()
                    if self._lexical is not None and not self._lexical.has_snapshot:
                        self._lexical.snapshot()
            finally:
                # Its snapshot is an open file.
                self._payload = None
                if self._lexical is not None:
                    self._lexical.close()
                    self._lexical = None

    def _ask(self, question: Callable[[PayloadView], _R]) -> _R:
        payload = self._payload or self._open_payload()
        try:
            return question(payload)
        except CorruptFile as error:
            # Fields of a snapshot are read when they are first asked for.
            with self._lock:
                payload.rebuild(error)
            return question(payload)

    def _open_payload(self) -> PayloadView:
        # Not at open: a tenant that never filters pays nothing for it.
        with self._lock:
            if self._payload is None:
                from llmspell.storage.payload_view import PayloadView

                self.catch_up()
                self._payload = PayloadView(
                    self._directory, self._store, self._config, self._vectors.sequence
                )
            return self._payload

    def _lexical_view(self) -> LexicalView:
        view = self._lexical
        if view is None or view.is_closed:
            from llmspell.storage.lexical import LexicalView

            with self._lock:
                if self._is_closed:
                    raise ClosedError(f"{self._directory}: closed")
                view = self._lexical
                if view is None or view.is_closed:
                    view = LexicalView(self._directory, self._store, self._config)
                    self._lexical = view
        return view

    def _renew_lexical(self) -> None:
        from llmspell.storage.lexical import LexicalView

        view = LexicalView(self._directory, self._store, self._config)
        try:
            # Without the engine nothing is read from the file either.
            with suppress(MissingDependency):
                view.reach(self._store.counters().sequence)
                view.snapshot()
        finally:
            view.close()

    def _expire(self) -> None:
        now_us = self.now_us()
        due, following = self._store.expiring(0, now_us)
        fresh = set(due).difference(self._vectors.expired)
        if fresh and self._vectors.check(now_us):
            self.epoch += 1
            fresh.difference_update(self._vectors.expired)
        if fresh:
            self.epoch += 1
            self._vectors.expire(sorted(fresh))
        self.position.next_expiry_us = NEVER if following is None else following
