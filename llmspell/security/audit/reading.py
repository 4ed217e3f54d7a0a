"""The records of a log in their order, each checked before it is given."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple

from llmspell.errors import AuditDamaged, InputError
from llmspell.security.audit.chain import Chain, as_key
from llmspell.security.audit.folder import Folder, open_segment, segment_name
from llmspell.security.audit.record import MAX_LINE_BYTES, AuditRecord, decode
from llmspell.security.audit.tail import BATCH_BYTES
from llmspell.security.files.lock_file import LockFile
from llmspell.security.secrets.secret import Secret

__all__ = ["Contents", "Placed", "chain_of", "contents_of", "read_audit", "read_records", "walk"]

_LOCK_SECONDS: Final = 1.0


class Segment(NamedTuple):
    """A segment, and how much of it there was when it was looked at."""

    first: int
    size: int


class Contents(NamedTuple):
    """The segments of a log, and the numbers of the records that tell of its torn tails."""

    segments: list[Segment]
    torn: list[int]


class Placed(NamedTuple):
    """A record, and where it stands, in bytes."""

    record: AuditRecord
    segment: str
    offset: int
    size: int


def read_audit(
    path: str | os.PathLike[str],
    *,
    key: Secret[bytes] | Secret[str] | bytes | None = None,
    tenant: str | None = None,
    kind: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Iterator[AuditRecord]:
    """The records of a log that this process needn't have open, nor be allowed to write.

    Each is checked as :func:`verify_audit` does before it is given. Where the log is keyed and
    ``key`` isn't given, that each record follows the one before is checked, and its hash isn't.

    Args:
        path: directory of the log.
        key: as :meth:`AuditLog.open` takes it.
        tenant: only what has this one; None for all, those without a tenant included.
        kind: only what has this one.
        since, until: only what happened from this time on, or before it; with a time zone.

    Raises:
        AuditDamaged: at the first record that doesn't hold, or at once where there is no log.
        ConfigError: another key than the log's.
        InputError: a time without a zone.
    """
    return read_records(path, as_key(key), tenant=tenant, kind=kind, since=since, until=until)


def read_records(
    path: str | os.PathLike[str],
    key: Secret[bytes] | None,
    *,
    tenant: str | None,
    kind: str | None,
    since: datetime | None,
    until: datetime | None,
) -> Iterator[AuditRecord]:
    """As :func:`read_audit`."""
    for name, bound in (("since", since), ("until", until)):
        if bound is not None and (not isinstance(bound, datetime) or bound.tzinfo is None):
            raise InputError(f"{name} must be a datetime with a time zone, got {bound!r}")
    folder = Folder(path)
    chain = chain_of(folder, key, must_have_key=False)

    def chosen() -> Iterator[AuditRecord]:
        for record, *_ in walk(folder, chain, contents_of(folder).segments):
            if (
                (tenant is None or record.tenant == tenant)
                and (kind is None or record.kind == kind)
                and (since is None or record.time >= since)
                and (until is None or record.time < until)
            ):
                yield record

    return chosen()


def chain_of(folder: Folder, key: Secret[bytes] | None, *, must_have_key: bool) -> Chain:
    """How the log of a directory hashes; raises AuditDamaged where there is none."""
    try:
        header = folder.header()
    except OSError as error:
        raise AuditDamaged(f"{folder.path}: {error}", reason="header") from error
    if header is None:
        raise AuditDamaged(f"{folder.path}: there is no audit log", reason="header")
    return Chain.read(header, key, must_have_key=must_have_key)


def contents_of(folder: Folder) -> Contents:
    """What there is between two writes, where this process may lock the log.

    Elsewhere, as of a copy that can't be written, as they are.
    """
    lock = None
    try:
        # Where somebody put another thing in its place, not even to open it.
        is_file = folder.lock.is_file() and not folder.lock.is_symlink()
        if is_file and os.access(folder.lock, os.W_OK):
            lock = LockFile(folder.lock)
            deadline = time.monotonic() + _LOCK_SECONDS
            while lock.lock() is None and time.monotonic() < deadline:
                time.sleep(0.001)
        found = []
        for first in folder.segments():
            # Not followed, like the file itself when it is opened.
            found.append(Segment(first, os.lstat(folder.segment(first)).st_size))
        return Contents(found, folder.torn())
    except OSError as error:
        raise AuditDamaged(f"{folder.path}: {error}", reason="unreadable") from error
    finally:
        if lock is not None:
            lock.close()


def walk(folder: Folder, chain: Chain, segments: list[Segment]) -> Iterator[Placed]:
    """All records in order; raises AuditDamaged at the first that doesn't hold."""
    seq = segments[0].first - 1 if segments else 0
    last = chain.seed if not seq else None
    for segment in segments:
        is_last = segment is segments[-1]
        if segment.first != seq + 1:
            why = f"it begins with record {segment.first}, and record {seq + 1} is due"
            raise _damaged(segment, 0, seq + 1, "segment", why)
        for placed in _segment(folder, chain, segment, seq, last, is_last=is_last):
            seq, last = placed.record.seq, placed.record.hash
            yield placed


def _segment(
    folder: Folder, chain: Chain, segment: Segment, seq: int, last: str | None, *, is_last: bool
) -> Iterator[Placed]:
    offset = 0
    try:
        with os.fdopen(open_segment(folder.segment(segment.first)), "rb") as file:
            while offset < segment.size:
                line = file.readline(min(MAX_LINE_BYTES + 1, segment.size - offset))
                record = _record(chain, segment, offset, line, seq, last, is_last=is_last)
                yield Placed(record, segment_name(segment.first), offset, len(line))
                seq, last = record.seq, record.hash
                offset += len(line)
    except AuditDamaged:
        raise
    except OSError as error:
        raise _damaged(segment, offset, seq + 1, "unreadable", str(error)) from error


def _record(
    chain: Chain,
    segment: Segment,
    offset: int,
    line: bytes,
    seq: int,
    last: str | None,
    *,
    is_last: bool,
) -> AuditRecord:
    due = seq + 1
    decoded = decode(line)
    if decoded is None:
        rest = segment.size - offset
        if is_last and rest <= BATCH_BYTES and offset + len(line) >= segment.size:
            why = (
                f"the last {rest} bytes are no whole record: a crash cut a write short, or they "
                "were changed. The next to open the log sets them aside, and records it"
            )
            raise _damaged(segment, offset, due, "torn", why)
        raise _damaged(segment, offset, due, "malformed", "this is no record in the one form")
    record, body = decoded
    if chain.can_hash and chain.digest(body) != record.hash:
        raise _damaged(segment, offset, due, "hash", "its hash is not that of what it says")
    if record.seq != due:
        why = f"record {record.seq} stands where record {due} is due"
        raise _damaged(segment, offset, due, "sequence", why)
    if last is not None and record.prev != last:
        raise _damaged(segment, offset, due, "link", "it doesn't follow the record before it")
    return record


def _damaged(segment: Segment, offset: int, seq: int, reason: str, why: str) -> AuditDamaged:
    name = segment_name(segment.first)
    return AuditDamaged(
        f"record {seq}, {name} at byte {offset}: {why}",
        reason=reason,
        segment=name,
        offset=offset,
        seq=seq,
    )
