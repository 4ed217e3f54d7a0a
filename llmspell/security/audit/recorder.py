"""Recording with counting: which events have a record of their own, and when counts have theirs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from llmspell.errors import AuditDamaged, AuditFailed, ClosedError
from llmspell.security.audit.chain import Anchor
from llmspell.security.audit.counting import Counts, Window
from llmspell.security.audit.event import Event
from llmspell.security.audit.record import AuditRecord, timestamp
from llmspell.security.audit.writer import Draft, Writer

__all__ = ["Recorder"]

_LOG = logging.getLogger("llmspell")


class Recorder:
    """Writes events, or counts them; safe to share between threads.

    Args:
        writer: of the log's files.
        path: of the log, for errors.
        interval: seconds in which equal events are counted; 0 for none.
    """

    def __init__(self, writer: Writer, path: Path, interval: float) -> None:
        self._writer = writer
        self._path = path
        self._interval = interval
        self._is_closed = False
        self._begin()

    def record(self, event: Event) -> AuditRecord | None:
        """Write it, or count it, which is told by None.

        Raises:
            AuditDamaged, AuditFailed: it isn't recorded.
            ClosedError: the log is closed.
        """
        if not self._interval or not event.is_countable:
            return self.write([Draft(event)])[0]
        with self._counting:
            window = self._counts.find(event, time.monotonic())
            if window is not None and window.notice is not None and not self._is_closed:
                window.take(event)
                return None
        with self._lock:
            return self._first_or_second(event)

    def write(self, drafts: Sequence[Draft]) -> list[AuditRecord]:
        """Write all of them, none counted; raises as :meth:`record`."""
        with self._lock:
            self._require_open()
            return self._writer.write(drafts)

    def head(self) -> Anchor:
        """The last record; raises as :meth:`record`."""
        with self._lock:
            self._require_open()
            return self._writer.head()

    def flush(self) -> None:
        """Record what is counted so far; raises as :meth:`record`, and then keeps the counts."""
        with self._lock:
            self._require_open()
            self._settle(None)

    def close(self) -> None:
        """Record what is counted, and close the files; does nothing the second time.

        Raises:
            AuditDamaged, AuditFailed: the counts are lost; the error says of how many.
        """
        with self._lock:
            if self._is_closed:
                return
            try:
                self._settle(None)
            except (AuditDamaged, AuditFailed) as error:
                error.add_note(f"{self._counts.left()} events that were counted aren't recorded")
                raise
            finally:
                self._is_closed = True
                if self._timer is not None:
                    self._timer.cancel()
                self._writer.close()

    def go_on_in_child(self) -> None:
        """In a forked child: what is counted is the parent's to record."""
        self._begin()
        self._writer.begin_anew()

    def _begin(self) -> None:
        self._lock = threading.Lock()  # of the files, and of windows that open or end
        self._counting = threading.Lock()  # of the counts: never held while the disk is waited for
        self._counts = Counts(self._interval)
        self._timer: threading.Timer | None = None

    def _require_open(self) -> None:
        if self._is_closed:
            raise ClosedError(f"{self._path}: the audit log is closed")

    def _first_or_second(self, event: Event) -> AuditRecord | None:
        """Record an event that nothing says is counted, while the files are this thread's."""
        self._require_open()
        now = time.monotonic()
        try:
            self._settle(now)
        except (AuditDamaged, AuditFailed) as error:
            # The next attempt is that of this very event, which raises if need be.
            _LOG.error("counted events wait to be recorded: %s", error)
        with self._counting:
            window = self._counts.find(event, now)
            is_first = window is None
            if window is None:
                window = self._counts.open(event, now)
            elif window.notice is not None:
                window.take(event)
                return None
        if is_first:
            try:
                return self._writer.write([Draft(window.shown(event))])[0]
            except BaseException:
                with self._counting:
                    self._counts.drop(window)
                raise
        left = window.ends - now
        until = timestamp(time.time_ns() + int(left * 1e9))
        (record,) = self._writer.write([Draft(window.shown(event), until=until)])
        with self._counting:
            window.notice = record.seq
        self._arm(left)
        return record

    def _settle(self, now: float | None) -> None:
        """Record the counts of windows that have ended, all for None; those that fail are kept."""
        with self._counting:
            self._counts.end(now)
        for window in self._counts.ended():
            self._writer.write([_counted(window)])
            self._counts.settle()

    def _arm(self, seconds: float) -> None:
        """See to it that the counts are recorded, even if nothing else is."""
        if self._timer is None:
            # It holds this object, which so outlives its last user until the counts are written.
            timer = threading.Timer(seconds, self._on_time)
            timer.daemon = True
            # Where there can be no thread, the next event or the end of the log records them.
            with suppress(RuntimeError):
                timer.start()
                self._timer = timer

    def _on_time(self) -> None:
        with self._lock:
            self._timer = None
            if self._is_closed:
                return
            try:
                self._settle(time.monotonic())
            except (AuditDamaged, AuditFailed) as error:
                _LOG.error("counted events wait to be recorded: %s", error)
            with self._counting:
                end = self._counts.next_end()
            if end is not None:
                self._arm(max(end - time.monotonic(), min(1.0, self._interval)))


def _counted(window: Window) -> Draft:
    return Draft(window.counted(), count=window.count, of=window.notice)
