"""The thread of a database that commits what waits too long."""

from __future__ import annotations

import atexit
import logging
import math
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Final

from llmspell.errors import ClosedError, DatabaseLocked, FlushFailed, LlmspellError, StorageFull
from llmspell.storage.policy import WritePolicy

if TYPE_CHECKING:
    from llmspell.storage.writer import Writer

__all__ = ["Flusher"]

_LOG = logging.getLogger("llmspell")

#: Calls that may wait in all queues of a database: each has one of the ledger's 4,096 holds, which
#: all processes share.
PLACES: Final = 512

#: Between looks at a tenant that another process writes to; others aren't kept waiting meanwhile.
LOCKED_SECONDS: Final = 0.02

#: The longest time between two tries at what can't be committed, as on a full disk.
MAX_PAUSE_SECONDS: Final = 10.0

#: The thread ends when there was nothing to do for so long.
IDLE_SECONDS: Final = 5.0


class Flusher:
    """Commits queues when their time has come, one behind the other. Thread-safe.

    It keeps writers alive as long as something waits in them, also where their database was
    forgotten unclosed, and commits that before the interpreter ends.
    """

    def __init__(self, policy: WritePolicy) -> None:
        self.policy = policy
        self._wake = threading.Condition()
        self._due: dict[Writer, float] = {}
        self._tries: dict[Writer, int] = {}
        self._places = threading.Semaphore(PLACES)
        self._thread: threading.Thread | None = None
        self._is_closed = False
        _ALL.add(self)

    def enter(self) -> bool:
        """Take a place for a call that is to wait; False where there is none."""
        return self._places.acquire(blocking=False)

    def leave(self) -> None:
        """Give a place back."""
        self._places.release()

    def notice(self, writer: Writer, *, at_once: bool) -> None:
        """Something waits in a writer's queue: its time runs from now, or has come."""
        self._schedule(writer, 0.0 if at_once else self.policy.flush_interval)

    def forget(self, writer: Writer) -> None:
        """Nothing waits there any more."""
        with self._wake:
            self._due.pop(writer, None)
            self._tries.pop(writer, None)

    def close(self) -> None:
        """End the thread when it has done what it is at."""
        with self._wake:
            self._is_closed = True
            self._wake.notify()
            thread = self._thread
        # It may be the thread itself that closes the database, from ``on_event``.
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def finish(self) -> None:
        """Commit all that waits, for the interpreter ends; what can't be is logged."""
        # First: what the thread has at hand is in none of the queues that have a time.
        self.close()
        with self._wake:
            writers = list(self._due)
        for writer in writers:
            try:
                writer.flush()
            except LlmspellError as error:
                _LOG.critical("lost at exit: %s", error)
                writer.give_up()

    def _schedule(self, writer: Writer, seconds: float) -> None:
        due = time.monotonic() + seconds
        with self._wake:
            is_sooner = due < self._due.get(writer, math.inf)
            if is_sooner and not self._is_closed:
                self._due[writer] = due
            else:
                self._due.setdefault(writer, due)
            if self._is_closed or self._due[writer] == math.inf:
                return
            # Also where it is due already: the thread may not have been to be started then.
            if self._thread is None:
                self._start()
            elif is_sooner:
                self._wake.notify()

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="llmspell-flush", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            # The next write tries again, and flush(), close() and the end commit all the same.
            _LOG.warning("no thread to commit what waits: %s", error)
        else:
            self._thread = thread

    def _run(self) -> None:
        while (writer := self._next()) is not None:
            self._flush(writer)

    def _next(self) -> Writer | None:
        """Wait for the next queue whose time has come; None ends the thread."""
        with self._wake:
            while not self._is_closed:
                writer = min(self._due, key=self._due.__getitem__, default=None)
                due = math.inf if writer is None else self._due[writer]
                seconds = due - time.monotonic()
                if writer is not None and seconds <= 0:
                    del self._due[writer]
                    return writer
                is_woken = self._wake.wait(min(seconds, IDLE_SECONDS))
                # Looked at again: one may have come between the end of the wait and the lock.
                if not is_woken and min(self._due.values(), default=math.inf) == math.inf:
                    break
            self._thread = None
            return None

    def _flush(self, writer: Writer) -> None:
        try:
            writer.flush_now()
        except DatabaseLocked:
            self._schedule(writer, LOCKED_SECONDS)
        except ClosedError as error:
            _LOG.warning("writes that waited ended with tenant %r: %s", writer.tenant, error)
        except FlushFailed as error:
            _LOG.error("%s", error)
            self._wait(writer, may_pass=isinstance(error.__cause__, (StorageFull, DatabaseLocked)))
        except Exception:
            # Behind the commit: the views make up for it at the next read.
            _LOG.exception("committing writes of tenant %r", writer.tenant)
        else:
            self._tries.pop(writer, None)

    def _wait(self, writer: Writer, *, may_pass: bool) -> None:
        """Keep a writer for another try; where only a caller can help, without a time for it."""
        tries = self._tries[writer] = self._tries.get(writer, 0) + 1
        pause = min(self.policy.flush_interval * 2.0**tries, MAX_PAUSE_SECONDS)
        self._schedule(writer, pause if may_pass else math.inf)


_ALL: weakref.WeakSet[Flusher] = weakref.WeakSet()
# Of the parent process, in a forked child: what waits there is for the parent to commit.
_INHERITED: list[Flusher] = []


def _finish_all() -> None:
    for flusher in list(_ALL):
        flusher.finish()


def _abandon_all() -> None:
    _INHERITED.extend(_ALL)
    _ALL.clear()


atexit.register(_finish_all)
os.register_at_fork(after_in_child=_abandon_all)
