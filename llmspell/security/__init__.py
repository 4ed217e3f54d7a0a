"""What the kernel and the checks before it enforce, and how secrets are kept."""

from llmspell.security.redaction import (
    Finding,
    RedactingFilter,
    RedactingSpanProcessor,
    RedactionStream,
    Redactor,
    find,
    redact,
    redact_attributes,
)
from llmspell.security.secret import Secret

__all__ = [
    "Finding",
    "RedactingFilter",
    "RedactingSpanProcessor",
    "RedactionStream",
    "Redactor",
    "Secret",
    "find",
    "redact",
    "redact_attributes",
]
