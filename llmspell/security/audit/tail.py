"""Where a log ends: its last whole record, and what an unfinished write left behind it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from llmspell.errors import AuditDamaged
from llmspell.security.audit.chain import Chain
from llmspell.security.audit.folder import Folder, open_segment, segment_name
from llmspell.security.audit.record import MAX_LINE_BYTES, AuditRecord, decode

__all__ = ["BATCH_BYTES", "Tail", "find_tail"]

#: What one write may hold, and so the most that a crash can leave unfinished.
BATCH_BYTES: Final = 32 * 1024
_WINDOW: Final = 4 * BATCH_BYTES


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a log.

    Args:
        seq: of the last whole record; 0 where there is none.
        hash: of it, or the seed.
        segment: the last one, by its first number; None where there is none.
        end: offset behind the last whole record in that segment.
        torn: what stands behind it.
    """

    seq: int
    hash: str
    segment: int | None
    end: int
    torn: bytes = b""


def find_tail(folder: Folder, chain: Chain, known: Tail | None = None) -> Tail:
    """Find the end, reading from a known one on where that is still in the last segment.

    Raises:
        AuditDamaged: more doesn't hold than one unfinished write can explain.
    """
    segments = folder.segments()
    if not segments:
        return Tail(0, chain.seed, None, 0)
    last = segments[-1]
    if known is not None and known.segment == last:
        return _walk(folder, chain, last, known.end, known.seq, known.hash)
    found = _walk(folder, chain, last, 0, None, "")
    if found.seq:
        return found
    if len(segments) == 1:
        before, is_whole = Tail(0, chain.seed, None, 0), last == 1
    else:
        before = _walk(folder, chain, segments[-2], 0, None, "")
        # It was whole, and on the disk, before the next was made.
        is_whole = not before.torn and before.seq == last - 1
    if not is_whole:
        raise _damaged(last, 0, "the segment before it doesn't end where it begins")
    return Tail(before.seq, before.hash, last, 0, found.torn)


def _walk(
    folder: Folder, chain: Chain, segment: int, start: int, seq: int | None, last: str
) -> Tail:
    """Go over a segment's end: from a known record on, or over as much as a write may have left."""
    descriptor = open_segment(folder.segment(segment), how=os.O_RDONLY)
    try:
        size = os.fstat(descriptor).st_size
        if size < start:
            raise _damaged(segment, size, "it has become shorter")
        if seq is None:
            start = max(0, size - _WINDOW)
        raw = _read(descriptor, start, size)
    finally:
        os.close(descriptor)
    position = 0
    if seq is None and start:
        position = raw.find(b"\n") + 1
        if not position:
            raise _damaged(segment, start, "there is no record in its end")
    while position < len(raw):
        end = raw.find(b"\n", position, position + MAX_LINE_BYTES) + 1
        record = _whole(chain, raw[position:end], segment, start + position) if end else None
        follows = seq is None or (
            record is not None and (record.seq, record.prev) == (seq + 1, last)
        )
        if record is None or not follows:
            break
        seq, last, position = record.seq, record.hash, end
    torn = raw[position:]
    if len(torn) > BATCH_BYTES:
        raise _damaged(segment, start + position, "more of it than one write doesn't hold")
    if torn and _has_other_write(chain, torn, (seq or 0) + 1):
        why = "it doesn't hold, and what was written later does"
        raise _damaged(segment, start + position, why)
    return Tail(seq or 0, last, segment, start + position, torn)


def _has_other_write(chain: Chain, torn: bytes, first: int) -> bool:
    """Whether there is a whole record in it of a write that began behind its beginning.

    A crash leaves one write unfinished, the last: what was acknowledged before another began is
    whole, unless somebody changed it.
    """
    for line in torn.splitlines(keepends=True):
        decoded = decode(line)
        if decoded is not None and chain.digest(decoded[1]) == decoded[0].hash:
            batch = decoded[0].batch
            if batch is None or batch > first:
                return True
    return False


def _whole(chain: Chain, line: bytes, segment: int, offset: int) -> AuditRecord | None:
    decoded = decode(line)
    if decoded is None or chain.digest(decoded[1]) != decoded[0].hash:
        return None
    record = decoded[0]
    return record if offset or record.seq == segment else None


def _read(descriptor: int, start: int, end: int) -> bytes:
    parts = []
    os.lseek(descriptor, start, os.SEEK_SET)
    while start < end and (part := os.read(descriptor, min(end - start, 1 << 20))):
        parts.append(part)
        start += len(part)
    return b"".join(parts)


def _damaged(segment: int, offset: int, why: str) -> AuditDamaged:
    return AuditDamaged(
        f"{segment_name(segment)} at byte {offset}: {why}; nothing is appended to a damaged log. "
        "`llmspell audit verify` says what is wrong; keep it, and begin another elsewhere",
        reason="tail",
    )
