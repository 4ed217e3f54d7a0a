"""Tools that the kernel confines; validators, and secrets."""

from llmspell.security.addresses import is_public, why_not_public
from llmspell.security.argument_rules import ArgumentRule, Matching, OneOf, PathBeneath, Text
from llmspell.security.command_validator import Command, CommandValidator
from llmspell.security.domain_rules import DomainRules
from llmspell.security.file_sandbox import FileSandbox, SandboxEntry
from llmspell.security.levels import SecurityLevel
from llmspell.security.paths import PathValidator
from llmspell.security.program_rule import ProgramRule
from llmspell.security.reading_programs import reading_programs
from llmspell.security.redaction import Finding, RedactingFilter, RedactingSpanProcessor, RedactionStream, Redactor, find, redact, redact_attributes
from llmspell.security.requirements import SecurityRequirements, check
from llmspell.security.secret import Secret
from llmspell.security.shell_words import split_words
from llmspell.security.url import Url, parse_url
from llmspell.security.url_validator import Checked, Resolver, UrlValidator, open_checked

__all__ = [
    "ArgumentRule",
    "Checked",
    "Command",
    "CommandValidator",
    "DomainRules",
    "FileSandbox",
    "Finding",
    "Matching",
    "OneOf",
    "PathBeneath",
    "PathValidator",
    "ProgramRule",
    "RedactingFilter",
    "RedactingSpanProcessor",
    "RedactionStream",
    "Redactor",
    "Resolver",
    "SandboxEntry",
    "Secret",
    "SecurityLevel",
    "SecurityRequirements",
    "Text",
    "Url",
    "UrlValidator",
    "check",
    "find",
    "is_public",
    "open_checked",
    "parse_url",
    "reading_programs",
    "redact",
    "redact_attributes",
    "split_words",
    "why_not_public",
]
