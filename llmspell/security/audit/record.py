"""A record of an audit log and its one form in bytes: a line of JSON in ASCII."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

__all__ = [
    "MAX_LINE_BYTES",
    "MAX_NAME_CHARS",
    "AuditRecord",
    "Details",
    "AuditOutcome",
    "decode",
    "encode",
    "is_kind",
    "line_of",
    "timestamp",
]

AuditOutcome: TypeAlias = Literal["begun", "done", "denied", "failed"]
Details: TypeAlias = Mapping[str, "str | int | float | bool | list[Any] | None"]

#: The bounds of :mod:`llmspell.security.audit.event` keep every line below it.
MAX_LINE_BYTES: Final = 8192
#: Of kinds and of names of details.
MAX_NAME_CHARS: Final = 64

_KIND: Final = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)+", re.ASCII)
_HASH: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MAX_INT: Final = (1 << 63) - 1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """Something that happened, as the log has it.

    Args:
        seq: 1 for the first of the log, then without a gap.
        time: in UTC, by the clock of the machine; ``seq`` gives the order.
        kind: what was done, a value of :class:`AuditKind` or a kind of your own.
        tenant: on whose behalf; None for the operator or the machine.
        subject: to what: the name of a secret, a host, a path, a tool; redacted and cut.
        outcome: "begun" of a step whose end has a record of its own, "done", "denied" or "failed".
        count: how many times; of repeats maybe 0.
        until: None, or: equal ones until then are counted, and a record whose ``of`` is this
            ``seq`` says how many there were. Where none does, the process died.
        of: ``seq`` of the record whose repeats are counted here; None otherwise.
        batch: ``seq`` of the first of those that were written at once with it; None where it was
            written alone.
        details: more of it, redacted and cut; where ``of`` is a number, what those of the repeats
            come to: ``NAME.sum`` and ``NAME.max`` of numbers, and lists of different values.
        prev: hash of the record before.
        hash: of this one.
    """

    seq: int
    time: datetime
    kind: str
    tenant: str | None
    subject: str
    outcome: AuditOutcome
    count: int = 1
    until: datetime | None = None
    of: int | None = None
    batch: int | None = None
    details: Details
    prev: str
    hash: str = ""


_FIELDS: Final = tuple(AuditRecord.__dataclass_fields__)


def timestamp(time_ns: int) -> datetime:
    """A time since the epoch, to the microsecond."""
    return _EPOCH + timedelta(microseconds=time_ns // 1_000)


def is_kind(text: str) -> bool:
    """Whether it has the form of a kind, ``noun.verb``."""
    return len(text) <= MAX_NAME_CHARS and _KIND.fullmatch(text) is not None


def encode(record: AuditRecord) -> bytes:
    """What the hash of a record covers: a JSON object of all its fields but the hash.

    Its line is the same with ``hash`` as its last field, so ``sha256sum`` can check it, too.
    """
    body = {
        "seq": record.seq,
        "time": _time(record.time),
        "kind": record.kind,
        "tenant": record.tenant,
        "subject": record.subject,
        "outcome": record.outcome,
        "count": record.count,
        "until": None if record.until is None else _time(record.until),
        "of": record.of,
        "batch": record.batch,
        "details": record.details,
        "prev": record.prev,
    }
    return json.dumps(body, separators=(",", ":"), allow_nan=False).encode("ascii")


def line_of(body: bytes, digest: str) -> bytes:
    """The line of a record: what its hash covers, and the hash."""
    return b'%b,"hash":"%b"}\n' % (body[:-1], digest.encode("ascii"))


def decode(line: bytes) -> tuple[AuditRecord, bytes] | None:
    """The record of a line and what its hash covers; None where it has not the one form."""
    if len(line) > MAX_LINE_BYTES or not line.endswith(b"\n"):
        return None
    try:
        fields = json.loads(line)
        if not isinstance(fields, dict) or tuple(fields) != _FIELDS or not _is_typed(fields):
            return None
        fields["time"] = datetime.fromisoformat(fields["time"])
        if fields["until"] is not None:
            fields["until"] = datetime.fromisoformat(fields["until"])
        record = AuditRecord(**fields)
        body = encode(record)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None
    # Whatever else JSON lets one write for the same: spaces, escapes, a key twice, 1.0 for 1.
    return (record, body) if line_of(body, record.hash) == line else None


def _time(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _is_typed(fields: dict[str, Any]) -> bool:
    of, batch = fields["of"], fields["batch"]
    # None came since is a count, too.
    numbers = [fields["seq"], fields["count"] if of is None else 1]
    numbers += [number for number in (of, batch) if number is not None]
    tenant, until = fields["tenant"], fields["until"]
    return (
        all(type(number) is int and 1 <= number <= _MAX_INT for number in numbers)
        and (type(fields["count"]) is int and 0 <= fields["count"] <= _MAX_INT)
        and all(isinstance(fields[name], str) for name in ("time", "kind", "subject"))
        and is_kind(fields["kind"])
        and (tenant is None or isinstance(tenant, str))
        and (until is None or isinstance(until, str))
        and fields["outcome"] in ("begun", "done", "denied", "failed")
        and isinstance(fields["details"], dict)
        and all(isinstance(fields[n], str) and _HASH.fullmatch(fields[n]) for n in ("prev", "hash"))
    )
