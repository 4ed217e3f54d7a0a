"""What ``llmspell audit`` prints."""

from __future__ import annotations

from typing import Any, TypedDict

__all__ = [
    "AuditListPayload",
    "AuditProblemPayload",
    "AuditRecordPayload",
    "AuditReportPayload",
]


class AuditRecordPayload(TypedDict):
    """One record of an audit log; times are in UTC, as the log has them."""

    seq: int
    time: str
    kind: str
    tenant: str | None
    subject: str
    outcome: str
    count: int
    until: str | None
    of: int | None
    batch: int | None
    details: dict[str, Any]
    hash: str


class AuditListPayload(TypedDict):
    """``llmspell audit show``."""

    records: list[AuditRecordPayload]


class AuditProblemPayload(TypedDict):
    """The first thing in an audit log that doesn't hold, and where."""

    reason: str
    message: str
    segment: str | None
    offset: int | None
    seq: int | None


class AuditReportPayload(TypedDict):
    """``llmspell audit verify``; ``head`` is the next anchor, of what holds."""

    sound: bool
    log: str
    first: int
    records: int
    segments: int
    bytes: int
    head: str | None
    torn: int
    uncounted: int
    notices: list[str]
    problem: AuditProblemPayload | None
