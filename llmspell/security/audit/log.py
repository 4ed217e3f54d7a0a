"""The audit log: what happened, in an order that can't be changed unseen."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import weakref
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self

from llmspell.errors import AuditDamaged, AuditFailed, ConfigError
from llmspell.security.audit.chain import Anchor, as_key
from llmspell.security.audit.event import Event
from llmspell.security.audit.folder import Folder
from llmspell.security.audit.reading import read_records
from llmspell.security.audit.record import MAX_LINE_BYTES, AuditOutcome, AuditRecord
from llmspell.security.audit.recorder import Recorder
from llmspell.security.audit.writer import Draft, Writer
from llmspell.security.files.lock_file import leave_lock_files
from llmspell.security.secrets.secret import Secret

__all__ = ["AuditLog"]

_LOG = logging.getLogger("llmspell")

_SEGMENT_BYTES: Final = 64 << 20
_INTERVAL: Final = 60.0
_MAX_SECONDS: Final = 86_400


class AuditLog:
    """An append-only log of records, each of which has the hash of the one before.

    Threads share one object, and processes share the directory, each with an object of its own; one
    that is forked goes on by itself. A record is on the disk when :meth:`append` returns.

    Of what a tenant can cause in a loop (denials, accesses, unsandboxed runs, exports) equal events
    are counted, those of one kind, tenant, outcome and subject whose details have the same
    ``method``, ``reason``, ``result`` and ``error``. In an interval of ``count_interval`` seconds
    the first has a record, the second has one that says until when the rest is counted, and at its
    end one record says how many came and what their details come to. Of a tenant 32 different
    events of each outcome are told apart in an interval; others are counted together, with the
    first of their subjects.
    """

    def __init__(
        self, writer: Writer, folder: Folder, key: Secret[bytes] | None, interval: float
    ) -> None:
        """See :meth:`open`."""
        self._folder = folder
        self._key = key
        self._recorder = Recorder(writer, folder.path, interval)
        _ALL.add(self)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        key: Secret[bytes] | Secret[str] | bytes | None = None,
        segment_bytes: int = _SEGMENT_BYTES,
        count_interval: float = _INTERVAL,
        lock_timeout: float = 5.0,
    ) -> Self:
        """Open the log of a directory, or make it; what a crash left unfinished is set aside.

        Args:
            path: the directory, which is the log's alone. It is made for its owner alone.
            key: of HMAC-SHA-256, 16 bytes at least, so that who can write the files, but doesn't
                have it, can't make a chain that holds; None for SHA-256. A log keeps what it was
                made with.
            segment_bytes: size from which a new file is begun, 64 KiB at least.
            count_interval: seconds in which equal events are counted, a day at most; 0 gives each
                its record.
            lock_timeout: seconds that a record waits for another process.

        Raises:
            AuditDamaged: what is there is damaged by more than an unfinished write.
            AuditFailed: the directory can't be made, locked or read.
            ConfigError: an argument out of range, a key that isn't the log's, or a directory that
                is another's, or that others may write to.
            InputError: ``path`` is no path.
        """
        if not isinstance(segment_bytes, int) or segment_bytes < 8 * MAX_LINE_BYTES:
            raise ConfigError(f"segment_bytes must be an int of 64 KiB or more: {segment_bytes!r}")
        for name, value in (("count_interval", count_interval), ("lock_timeout", lock_timeout)):
            if not isinstance(value, (int, float)) or not 0 <= value <= _MAX_SECONDS:
                raise ConfigError(f"{name} must be 0 to 86,400 seconds, got {value!r}")
        folder, secret_key = Folder(path), as_key(key)
        writer = Writer(
            folder, secret_key, segment_bytes=segment_bytes, lock_timeout=float(lock_timeout)
        )
        return cls(writer, folder, secret_key, float(count_interval))

    def __repr__(self) -> str:
        return f"AuditLog({str(self._folder.path)!r})"

    def append(
        self,
        kind: str,
        *,
        subject: str,
        outcome: AuditOutcome = "done",
        tenant: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> AuditRecord | None:
        """Record something.

        Args:
            kind: a value of :class:`AuditKind`, or ``noun.verb`` of your own.
            subject: what it was done to; redacted, and cut to 512 bytes as they are in the line.
            outcome: "begun", "done", "denied" or "failed".
            tenant: id of the tenant on whose behalf; None for the operator or the machine.
            details: more of it: numbers, texts, lists of them, and mappings, which become names
                with dots; redacted, and cut to 512 bytes each and 3 KiB together.

        Returns:
            The record; None where it is counted with equal ones.

        Raises:
            AuditDamaged, AuditFailed: it isn't recorded; see :func:`note_denial` for denials.
            ClosedError: the log is closed.
            InputError: a kind, an outcome or a tenant that can't be one.
        """
        return self._recorder.record(Event(kind, subject, outcome, tenant, details))

    def append_many(self, events: Iterable[Event]) -> int:
        """Record many steps, of which none is counted, with few syncs; how many there were.

        Raises:
            AuditDamaged, AuditFailed: not all are recorded; those before may be.
            ClosedError: the log is closed.
        """
        return len(self._recorder.write([Draft(event) for event in events]))

    def head(self) -> Anchor:
        """The last record of the log: keep it elsewhere, and verify against it.

        Raises:
            AuditDamaged, AuditFailed: it can't be read.
            ClosedError: the log is closed.
        """
        return self._recorder.head()

    def records(
        self,
        *,
        tenant: str | None = None,
        kind: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[AuditRecord]:
        """What the log holds, in order and checked; arguments are those of :func:`read_audit`.

        Raises:
            AuditDamaged: at the first that doesn't hold.
        """
        return read_records(
            self._folder.path, self._key, tenant=tenant, kind=kind, since=since, until=until
        )

    def flush(self) -> None:
        """Record what is counted so far; raises as :meth:`append`, and then keeps the counts."""
        self._recorder.flush()

    def close(self) -> None:
        """Record what is counted, and close the files; does nothing the second time.

        Raises:
            AuditDamaged, AuditFailed: the counts are lost; the error says of how many.
        """
        self._recorder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _go_on_in_child(self) -> None:
        self._recorder.go_on_in_child()


_ALL: weakref.WeakSet[AuditLog] = weakref.WeakSet()


def _in_child() -> None:
    leave_lock_files()
    for log in list(_ALL):
        log._go_on_in_child()


def _at_exit() -> None:
    for log in list(_ALL):
        try:
            log.close()
        except (AuditDamaged, AuditFailed) as error:
            _LOG.error("%s: at exit: %s", log, error)


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_in_child)
atexit.register(_at_exit)
