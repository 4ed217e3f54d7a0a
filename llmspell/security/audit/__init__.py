"""An append-only log of what was denied, accessed and changed, whose records hold each other."""

from llmspell.security.audit.chain import Anchor
from llmspell.security.audit.event import AuditKind, AuditSink, Event, note_denial
from llmspell.security.audit.log import AuditLog
from llmspell.security.audit.reading import read_audit
from llmspell.security.audit.record import AuditRecord, Outcome
from llmspell.security.audit.verify import AuditProblem, AuditReport, verify_audit

__all__ = [
    "Anchor",
    "AuditKind",
    "AuditLog",
    "AuditProblem",
    "AuditRecord",
    "AuditReport",
    "AuditSink",
    "Event",
    "Outcome",
    "note_denial",
    "read_audit",
    "verify_audit",
]
