"""Whether a log is as it was written, and where it isn't."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

from llmspell.errors import AuditDamaged, InputError
from llmspell.security.audit.chain import Anchor, Chain, as_key
from llmspell.security.audit.event import AuditKind
from llmspell.security.audit.folder import Folder, open_segment
from llmspell.security.audit.reading import Contents, Placed, chain_of, contents_of, walk
from llmspell.security.audit.record import AuditRecord
from llmspell.security.secrets.secret import Secret

__all__ = ["AuditProblem", "AuditReport", "verify_audit"]

_MAX_NOTICES: Final = 100
#: A count is written when its interval ends, and that may be now.
_GRACE: Final = timedelta(seconds=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditProblem:
    """The first thing in a log that doesn't hold.

    Args:
        reason: a word from the table of docs/reference/audit.md.
        message: what it is.
        segment: name of the file; None where it is of the log as a whole.
        offset: byte in it where the bad record begins.
        seq: number of the record that is due there.
    """

    reason: str
    message: str
    segment: str | None = None
    offset: int | None = None
    seq: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What :func:`verify_audit` found.

    Args:
        records: that hold, up to the problem.
        segments: files that they are in.
        size: bytes of them.
        first: number of the first; 1 unless older segments were taken away.
        head: the last of those that hold. Kept elsewhere, it is the next anchor.
        problem: the first, or None.
        torn: unfinished writes of crashes that were set aside.
        uncounted: records whose repeats were being counted when the process died.
        notices: what ``torn`` and ``uncounted`` are about, in words; 100 at most.
    """

    records: int
    segments: int
    size: int
    first: int
    head: Anchor
    problem: AuditProblem | None
    torn: int
    uncounted: int
    notices: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        """Whether there is no problem."""
        return self.problem is None


def verify_audit(
    path: str | os.PathLike[str],
    anchor: Anchor | str | None = None,
    key: Secret[bytes] | Secret[str] | bytes | None = None,
) -> AuditReport:
    """Check a whole log: each record's form, hash, number, and that it follows the one before.

    It needs no right to write, and others may append meanwhile: what they add since isn't looked
    at. Without an anchor it can't be seen that records were cut off the end; without a key not that
    all was written anew. It takes the memory of a line or so.

    Args:
        path: directory of the log.
        anchor: a record that the log must still have, as :attr:`AuditReport.head` or
            :meth:`AuditLog.head` gave it before, or its text.
        key: as :meth:`AuditLog.open` takes it; needed where the log is keyed.

    Raises:
        AuditDamaged: there is no log, or its header can't be read.
        ConfigError: another key than the log's, or none where one is needed.
        InputError: no path, or no anchor.
    """
    if isinstance(anchor, str):
        anchor = Anchor.parse(anchor)
    if anchor is not None and not isinstance(anchor, Anchor):
        raise InputError(f"an anchor is an Anchor or its text, got {type(anchor).__name__}")
    folder = Folder(path)
    chain = chain_of(folder, as_key(key), must_have_key=True)
    return _Verification(folder, chain, anchor, contents_of(folder)).report()


class _Verification:
    def __init__(
        self, folder: Folder, chain: Chain, anchor: Anchor | None, contents: Contents
    ) -> None:
        self._folder = folder
        self._chain = chain
        self._anchor = anchor
        self._segments, self._torn = segments, _ = contents
        self._first = segments[0].first if segments else 1
        self._head = Anchor(chain.log, self._first - 1, chain.seed if self._first == 1 else "")
        self._size = 0
        self._noted: set[int] = set()
        self._counting: dict[int, datetime] = {}
        self._notices: list[str] = []

    def report(self) -> AuditReport:
        problem = None
        try:
            self._check_beginning()
            for placed in walk(self._folder, self._chain, self._segments):
                self._take(placed)
            self._check_end()
        except AuditDamaged as error:
            problem = AuditProblem(
                reason=error.reason,
                message=str(error),
                segment=error.segment,
                offset=error.offset,
                seq=error.seq,
            )
        due = datetime.now(UTC) - _GRACE
        uncounted = [(seq, until) for seq, until in self._counting.items() if until < due]
        for seq, until in uncounted:
            self._notice(
                f"record {seq}: its repeats until {until:%Y-%m-%d %H:%M:%S} UTC were being counted "
                "when the process died; how many there were isn't known"
            )
        return AuditReport(
            records=self._head.seq - self._first + 1,
            segments=sum(segment.first <= self._head.seq for segment in self._segments),
            size=self._size,
            first=self._first,
            head=self._head,
            problem=problem,
            torn=len(self._noted),
            uncounted=len(uncounted),
            notices=tuple(self._notices),
        )

    def _check_beginning(self) -> None:
        anchor = self._anchor
        if anchor is not None and anchor.log != self._chain.log:
            raise AuditDamaged(
                f"the anchor is of log {anchor.log}, and this is {self._chain.log}", reason="anchor"
            )
        if self._first > 1 and (anchor is None or anchor.seq < self._first - 1):
            raise AuditDamaged(
                f"the log begins with record {self._first}: where older segments were taken away, "
                f"give an anchor of record {self._first - 1} or a later one",
                reason="beginning",
            )
        if anchor is not None and anchor.seq == 0 and anchor.hash != self._chain.seed:
            raise self._other(anchor)

    def _take(self, placed: Placed) -> None:
        record, anchor = placed.record, self._anchor
        if anchor is not None and record.seq in (anchor.seq, anchor.seq + 1):
            found = record.hash if record.seq == anchor.seq else record.prev
            if found != anchor.hash:
                raise self._other(anchor)
        self._head = Anchor(self._chain.log, record.seq, record.hash)
        self._size += placed.size
        if record.until is not None:
            self._counting[record.seq] = record.until
        if record.of is not None:
            self._counting.pop(record.of, None)
        if record.kind == AuditKind.LOG_TORN:
            self._take_torn(record)

    def _take_torn(self, record: AuditRecord) -> None:
        self._noted.add(record.seq)
        file = self._folder.torn_file(record.seq)
        try:
            with os.fdopen(open_segment(file), "rb") as kept:
                digest = sha256()
                while part := kept.read(1 << 20):
                    digest.update(part)
            is_kept = digest.hexdigest() == record.details.get("sha256")
            state = "" if is_kept else ", and the file holds something else by now"
        except OSError:
            state = ", and the file isn't there any more"
        size = record.details.get("bytes")
        if type(size) is not int:  # a text might move the cursor of who reads it
            size = "some"
        self._notice(
            f"record {record.seq}: {size} bytes of an unfinished write were set aside in "
            f"{file.name}{state}"
        )

    def _check_end(self) -> None:
        anchor, head = self._anchor, self._head
        if anchor is not None and anchor.seq > head.seq:
            raise AuditDamaged(
                f"the log ends with record {head.seq}, and the anchor is record {anchor.seq}: its "
                "end was cut off",
                reason="truncated",
            )
        for seq in self._torn:
            if seq >= self._first and seq not in self._noted:
                raise AuditDamaged(
                    f"{self._folder.torn_file(seq).name} was set aside, and record {seq} doesn't "
                    "tell of it: a crash came between, or the log was changed",
                    reason="torn",
                )

    def _other(self, anchor: Anchor) -> AuditDamaged:
        return AuditDamaged(
            f"record {anchor.seq} is another than the anchor: the log was written anew",
            reason="anchor",
            seq=anchor.seq,
        )

    def _notice(self, text: str) -> None:
        if len(self._notices) < _MAX_NOTICES:
            self._notices.append(text)
