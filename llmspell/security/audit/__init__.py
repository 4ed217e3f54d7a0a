"""An append-only log of what was denied, accessed and changed, whose records hold each other."""

from llmspell.security.audit.chain import Anchor
from llmspell.security.audit.event import AuditKind, AuditSink, Event, note_denial
from llmspell.security.audit.log import AuditLog
from llmspell.security.audit.observers import record_accesses, record_attempts
from llmspell.security.audit.reading import read_audit
from llmspell.security.audit.record import AuditOutcome, AuditRecord
from llmspell.security.audit.step import audited, step_is_done
from llmspell.security.audit.verify import AuditProblem, AuditReport, verify_audit

__all__ = [
    "Anchor",
    "AuditKind",
    "AuditLog",
    "AuditOutcome",
    "AuditProblem",
    "AuditRecord",
    "AuditReport",
    "AuditSink",
    "Event",
    "audited",
    "note_denial",
    "read_audit",
    "record_accesses",
    "record_attempts",
    "step_is_done",
    "verify_audit",
]
