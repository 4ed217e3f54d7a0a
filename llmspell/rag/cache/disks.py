"""The tiers on disk that are open, as many as may be; and the thread that writes to them."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import lmdb

from llmspell.rag.cache.compartment import Compartment
from llmspell.rag.cache.disk import DAMAGE, DiskTier
from llmspell.rag.cache.entry import Made
from llmspell.rag.cache.pending import Pending
from llmspell.rag.cache.settings import EmbeddingCacheSettings
from llmspell.rag.cache.stats import Counters

__all__ = ["Disks"]

_LOG = logging.getLogger("llmspell")
#: Written in one transaction.
_BATCH: Final = 256
#: Seconds that a compartment whose disk failed is left alone.
_PAUSE_S: Final = 60.0

_Job = tuple[Compartment, bytes, Made]


class Disks:
    """What all compartments keep on disk. Thread-safe. A disk that fails has nothing.

    A put returns at once; a thread writes what waits, and ends with :meth:`close`.
    """

    def __init__(self, settings: EmbeddingCacheSettings, counters: Counters) -> None:
        """Open nothing."""
        self._settings = settings
        self._counters = counters
        self._lock = threading.Lock()
        self._open: OrderedDict[bytes, DiskTier] = OrderedDict()
        self._failed: dict[bytes, float] = {}
        self._renewed: dict[bytes, float] = {}  # until when damage is one more of the same
        # What waits is found, too: memory may have let go of it before it is written.
        self._waiting: dict[bytes, Made] = {}
        self._pending: Pending[_Job | None] = Pending(settings.max_pending)
        # Held while one is put, so that none comes behind the end, which nobody would write.
        self._putting = threading.Lock()
        self._writer: threading.Thread | None = None
        self._is_closed = False  # takes no more to write
        self._is_over = False  # opens nothing any more

    def get(
        self, compartment: Compartment, keys: Sequence[bytes], dim: int, oldest_us: int
    ) -> dict[bytes, Made]:
        """As :meth:`DiskTier.get`, and what waits; only that where the disk fails."""
        waiting: dict[bytes, Made] = {}
        if self._waiting:
            for key in keys:
                made = self._waiting.get(key)
                if made is not None and made.at_us >= oldest_us:
                    waiting[key] = made
            keys = [key for key in keys if key not in waiting]
            if not keys:
                return waiting
        tier = None
        try:
            tier = self._tier(compartment)
            return waiting if tier is None else waiting | tier.get(keys, dim, oldest_us)
        except (lmdb.Error, OSError) as error:
            self._fail(compartment, tier, error)
            return waiting

    def put(self, compartment: Compartment, key: bytes, made: Made) -> None:
        """Have a vector written; dropped, and counted, where too many wait, or nobody writes."""
        if compartment.directory is None or compartment.is_gone:
            return
        self._waiting[key] = made
        try:
            with self._putting:
                self._begin()
                self._pending.put_nowait((compartment, key, made))
        # RuntimeError: it is closed, or no thread can be started; the next one is tried again.
        except (queue.Full, RuntimeError):
            self._waiting.pop(key, None)
            self._counters.dropped.inc()

    def flush(self) -> None:
        """Wait until what waits is written, or all is closed: nobody writes what comes behind."""
        self._pending.wait()

    def state(self) -> tuple[int, int]:
        """Entries and bytes of those that are open; none of one that fails."""
        with self._lock:
            tiers = list(self._open.values())
        states = []
        for tier in tiers:
            with suppress(lmdb.Error, OSError):  # whoever uses it next mends it
                states.append(tier.state())
        return sum(n for n, _ in states), sum(size for _, size in states)

    def rest(self, scope: bytes) -> None:
        """Close what is open of a compartment."""
        while True:
            # Closed under the lock: a process mustn't have one open twice. But answers of others
            # need the lock, and don't wait for what is being written to this one.
            with self._lock:
                self._failed.pop(scope, None)
                self._renewed.pop(scope, None)
                tier = self._open.get(scope)
                if tier is None or tier.close_if_idle():
                    self._open.pop(scope, None)
                    return
            tier.wait_until_idle()

    def close(self) -> None:
        """Write what waits, and close all."""
        with self._putting:
            is_first, self._is_closed = not self._is_closed, True
        if self._writer is not None:
            if is_first:
                self._pending.put(None)
            self._writer.join()
        with self._lock:
            for tier in self._open.values():
                tier.close()
            self._open.clear()
            self._is_over = True
        self._pending.give_up()

    def _begin(self) -> None:
        """Start the thread where none runs; raises RuntimeError where none can."""
        if self._is_closed:
            raise RuntimeError("closed")
        if self._writer is None:
            writer = threading.Thread(
                target=self._write, name="llmspell-embedding-cache", daemon=True
            )
            writer.start()
            self._writer = writer

    def _fail(self, compartment: Compartment, tier: DiskTier | None, error: Exception) -> None:
        """Begin what is damaged anew; leave alone what fails otherwise, or is damaged again."""
        scope = compartment.scope
        with self._lock:
            until = time.monotonic() + _PAUSE_S
            if not isinstance(error, DAMAGE) or tier is None:
                self._failed[scope] = until
            elif self._open.get(scope) is tier:
                del self._open[scope]
                tier.discard()
                if self._renewed.get(scope, 0.0) > time.monotonic():
                    self._failed[scope] = until
                self._renewed[scope] = until
        _LOG.warning("the embedding cache in %s fails: %s", compartment.directory, error)

    def _tier(self, compartment: Compartment) -> DiskTier | None:
        directory, scope = compartment.directory, compartment.scope
        if directory is None:
            return None
        with self._lock:
            if self._failed and self._failed.get(scope, 0.0) > time.monotonic():
                return None
            tier = self._open.get(scope)
            if tier is not None:
                self._open.move_to_end(scope)
                return tier
            # The directory above goes with the tenant; one that was dropped gets none anew.
            if self._is_over or compartment.is_gone or not directory.parent.is_dir():
                return None
            tier = self._open[scope] = DiskTier(directory, self._settings, self._counters)
            self._close_oldest(tier)
        return tier

    def _close_oldest(self, newest: DiskTier) -> None:
        """Close those that are too many; not what is in use, for which an answer would wait."""
        for scope, tier in list(self._open.items()):
            if len(self._open) <= self._settings.max_open:
                return
            if tier is not newest and tier.close_if_idle():
                del self._open[scope]

    def _write(self) -> None:
        while True:
            first = self._pending.get()
            jobs = [first]
            while first is not None and len(jobs) < _BATCH and jobs[-1] is not None:
                try:
                    jobs.append(self._pending.get_nowait())
                except queue.Empty:
                    break
            by_scope: dict[bytes, tuple[Compartment, dict[bytes, Made]]] = {}
            for job in jobs:
                if job is not None:
                    compartment, key, made = job
                    by_scope.setdefault(compartment.scope, (compartment, {}))[1][key] = made
            for compartment, entries in by_scope.values():
                is_written = False
                try:
                    is_written = self._wrote(compartment, list(entries.items()))
                except Exception:  # without this thread, whoever flushes or closes waits for ever
                    _LOG.exception("writing to the embedding cache in %s", compartment.directory)
                if not is_written:
                    self._counters.dropped.inc(len(entries))
                for key in entries:
                    self._waiting.pop(key, None)
            for _ in jobs:
                self._pending.task_done()
            if jobs[-1] is None:
                return

    def _wrote(self, compartment: Compartment, entries: list[tuple[bytes, Made]]) -> bool:
        for _ in range(2):  # it may have been closed for another to be opened, or begun anew
            tier = None
            try:
                tier = self._tier(compartment)
                if tier is not None and tier.put(entries):
                    return True
            except (lmdb.Error, OSError) as error:
                self._fail(compartment, tier, error)
        return False
