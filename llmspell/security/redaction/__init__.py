"""Secrets found in text and replaced, in one piece, in a stream, in logs and in traces."""

from llmspell.security.redaction.hooks import (
    RedactingFilter,
    RedactingSpanProcessor,
    redact_attributes,
)
from llmspell.security.redaction.redactor import (
    KINDS,
    Redactor,
    SecretFinding,
    find_secrets,
    redact,
)
from llmspell.security.redaction.stream import RedactionStream

__all__ = [
    "KINDS",
    "RedactingFilter",
    "RedactingSpanProcessor",
    "RedactionStream",
    "Redactor",
    "SecretFinding",
    "find_secrets",
    "redact",
    "redact_attributes",
]
