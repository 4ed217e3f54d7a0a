"""The writing end of a log's files: one write at a time, on the disk before it is acknowledged."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Final

from llmspell.errors import AuditDamaged, AuditFailed
from llmspell.security.audit.chain import Anchor, Chain
from llmspell.security.audit.event import AuditKind, Event
from llmspell.security.audit.folder import (
    Folder,
    failed,
    open_segment,
    segment_name,
    write_all,
)
from llmspell.security.audit.record import MAX_LINE_BYTES, AuditRecord, encode, line_of, timestamp
from llmspell.security.audit.tail import BATCH_BYTES, Tail, find_tail
from llmspell.security.files.lock_file import LockFile
from llmspell.security.secrets.secret import Secret

__all__ = ["Draft", "Writer"]

#: Between two looks at a lock that another process holds; it is held for a sync or so.
_RETRY_SECONDS: Final = 0.0005
_MAX_RETRY_SECONDS: Final = 0.01


@dataclass(frozen=True, slots=True)
class Draft:
    """A record to be: an event, and what is counted with it, as in :class:`AuditRecord`."""

    event: Event
    count: int = 1
    until: datetime | None = None
    of: int | None = None


class Writer:
    """Appends to the files of one log, which other processes append to as well.

    For one thread at a time. In a forked child it goes on by itself after :meth:`begin_anew`.
    """

    def __init__(
        self, folder: Folder, key: Secret[bytes] | None, *, segment_bytes: int, lock_timeout: float
    ) -> None:
        """Find the end of the log, or make it.

        Raises:
            AuditDamaged: the log is damaged beyond an unfinished write.
            AuditFailed: it can't be made, locked or read.
            ConfigError: the key is not the log's.
        """
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._lock_timeout = lock_timeout
        self._descriptor = -1
        self._open_segment: int | None = None
        self._tail = Tail(0, "", None, 0)
        self._is_sure = False
        self._token = _token()
        try:
            folder.make()
        except OSError as error:
            failed(folder.path, "making the directory", error)
        with self._locked():
            header = folder.header()
            if header is None:
                self.chain = folder.begin(key)
            else:
                self.chain = Chain.read(header, key, must_have_key=True)
            self._find_end(None)

    def write(self, drafts: Sequence[Draft]) -> list[AuditRecord]:
        """Append records, durably, those of one batch all or none.

        Raises:
            AuditDamaged, AuditFailed: what isn't returned isn't recorded; earlier batches may be.
        """
        with self._locked():
            self._catch_up()
            return self._append(drafts)

    def head(self) -> Anchor:
        """The last record, whoever wrote it, on the disk for sure."""
        with self._locked():
            self._catch_up()
            if self._tail.segment is not None:
                os.fsync(self._segment(self._tail))
            return Anchor(self.chain.log, self._tail.seq, self._tail.hash)

    def close(self) -> None:
        """Close the segment; the next write would open it again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def begin_anew(self) -> None:
        """In a forked child: be another writer than the parent."""
        self.close()
        self._token = _token()
        self._is_sure = False

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone among the processes; what the file system refuses raises AuditFailed."""
        lock = None
        try:
            lock = LockFile(self._folder.lock)
            holder = self._wait(lock)
            if holder != self._token:
                self._is_sure = False
                lock.sign(self._token)
            yield
        except (AuditDamaged, AuditFailed):
            raise
        except OSError as error:
            failed(self._folder.path, "appending to the audit log", error)
        finally:
            if lock is not None:
                lock.close()

    def _wait(self, lock: LockFile) -> bytes:
        deadline = time.monotonic() + self._lock_timeout
        pause = _RETRY_SECONDS
        while (holder := lock.lock()) is None:
            if time.monotonic() >= deadline:
                raise AuditFailed(
                    f"{self._folder.path}: another process has the audit log locked, waited "
                    f"{self._lock_timeout:g} s; nothing of it is recorded"
                )
            time.sleep(pause)
            pause = min(pause * 1.5, _MAX_RETRY_SECONDS)
        return holder

    def _catch_up(self) -> None:
        """Know the end: it is where this writer left it, unless another one wrote since."""
        is_there = self._is_sure and (
            self._descriptor < 0 or os.fstat(self._descriptor).st_size == self._tail.end
        )
        if not is_there:
            if self._folder.header() != self.chain.header:
                raise AuditDamaged(
                    f"{self._folder.path}: the header is not that of the log that was opened",
                    reason="header",
                )
            self._find_end(self._tail)

    def _find_end(self, known: Tail | None) -> None:
        """Find the end, set aside what an unfinished write left there, and record that."""
        self._is_sure = False
        self._tail = find_tail(self._folder, self.chain, known)
        tail, seq = self._tail, self._tail.seq + 1
        if tail.torn and tail.segment is not None:
            self._set_aside(tail.torn, tail.segment, tail.end, seq)
            self._tail = tail = replace(tail, torn=b"")
        self._is_sure = True
        if seq in self._folder.torn():
            raw = self._folder.torn_file(seq).read_bytes()
            details = {
                "bytes": len(raw),
                "sha256": sha256(raw).hexdigest(),
                "segment": None if tail.segment is None else segment_name(tail.segment),
                "offset": tail.end,
            }
            name = self._folder.torn_file(seq).name
            self._append([Draft(Event(AuditKind.LOG_TORN, name, "done", None, details))])

    def _set_aside(self, torn: bytes, segment: int, end: int, seq: int) -> None:
        kept = b""
        with suppress(FileNotFoundError):
            # Of a crash in the midst of this, or before it was recorded.
            kept = self._folder.torn_file(seq).read_bytes()
        if not kept.endswith(torn):
            self._folder.set_aside(seq, kept + torn)
        descriptor = open_segment(self._folder.segment(segment), how=os.O_WRONLY)
        try:
            os.ftruncate(descriptor, end)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _append(self, drafts: Sequence[Draft]) -> list[AuditRecord]:
        is_many = len(drafts) > 1
        written: list[AuditRecord] = []
        batch: list[AuditRecord] = []
        lines: list[bytes] = []
        size = 0
        tail = self._tail
        for draft in drafts:
            if lines and (
                size + MAX_LINE_BYTES > BATCH_BYTES
                or self._tail.end + size + MAX_LINE_BYTES > self._segment_bytes
            ):
                self._put(lines, batch)
                written += batch
                batch, lines, size = [], [], 0
            record, line = self._make(draft, tail, self._tail.seq + 1 if is_many else None)
            batch.append(record)
            lines.append(line)
            size += len(line)
            tail = Tail(record.seq, record.hash, None, 0)
        if lines:
            self._put(lines, batch)
        return written + batch

    def _make(self, draft: Draft, tail: Tail, first: int | None) -> tuple[AuditRecord, bytes]:
        event = draft.event
        record = AuditRecord(
            seq=tail.seq + 1,
            time=timestamp(time.time_ns()),
            kind=str(event.kind),
            tenant=event.tenant,
            subject=event.clean_subject(),
            outcome=event.outcome,
            count=draft.count,
            until=draft.until,
            of=draft.of,
            batch=first,
            details=event.clean_details(),
            prev=tail.hash,
        )
        body = encode(record)
        digest = self.chain.digest(body)
        return replace(record, hash=digest), line_of(body, digest)

    def _put(self, lines: list[bytes], records: list[AuditRecord]) -> None:
        """One write and one sync; where either fails, the file is cut back to what it was."""
        raw = b"".join(lines)
        self._is_sure = False
        tail = self._tail
        if tail.segment is None or (tail.end and tail.end + len(raw) > self._segment_bytes):
            tail = self._begin_segment(tail)
        descriptor = self._segment(tail)
        try:
            write_all(descriptor, raw)
            os.fsync(descriptor)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(descriptor, tail.end)
            failed(self._folder.path, "appending to the audit log", error)
        last = records[-1]
        self._tail = replace(tail, seq=last.seq, hash=last.hash, end=tail.end + len(raw))
        self._is_sure = True

    def _begin_segment(self, tail: Tail) -> Tail:
        if tail.segment is not None:
            # Its last record may be of a process that was killed before it had synced it.
            os.fsync(self._segment(tail))
        self.close()
        first = tail.seq + 1
        how = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
        self._descriptor = open_segment(self._folder.segment(first), how=how)
        self._open_segment = first
        # Its name before its first record: one that is acknowledged must not lie in no file.
        self._folder.sync()
        self._tail = replace(tail, segment=first, end=0)
        return self._tail

    def _segment(self, tail: Tail) -> int:
        if self._descriptor < 0 or self._open_segment != tail.segment:
            assert tail.segment is not None
            self.close()
            how = os.O_WRONLY | os.O_APPEND
            self._descriptor = open_segment(self._folder.segment(tail.segment), how=how)
            self._open_segment = tail.segment
        return self._descriptor


def _token() -> bytes:
    # The number of a process would do for those of one namespace alone.
    return secrets.token_hex(10).encode()
