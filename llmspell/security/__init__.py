"""Tools that the kernel confines; validators, and secrets.

Names are loaded when they are first used: who redacts text loads no parser of URLs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmspell._lazy import lazy_names

if TYPE_CHECKING:
    from llmspell.security.audit import (
        Anchor,
        AuditKind,
        AuditLog,
        AuditProblem,
        AuditRecord,
        AuditReport,
        AuditSink,
        audited,
        note_denial,
        read_audit,
        record_accesses,
        record_attempts,
        verify_audit,
    )
    from llmspell.security.broker.attempt import Attempt
    from llmspell.security.broker.broker import Broker
    from llmspell.security.broker.limits import BrokerLimits
    from llmspell.security.broker.proxy import EgressProxy
    from llmspell.security.broker.session import Session
    from llmspell.security.commands.argument_rules import (
        ArgumentRule,
        Matching,
        OneOf,
        PathBeneath,
        Text,
    )
    from llmspell.security.commands.program_rule import ProgramRule
    from llmspell.security.commands.reading_programs import reading_programs
    from llmspell.security.commands.shell_words import split_words
    from llmspell.security.commands.validator import Command, CommandValidator
    from llmspell.security.files.file_sandbox import FileSandbox, SandboxEntry
    from llmspell.security.files.path_validator import PathValidator
    from llmspell.security.levels import SecurityLevel
    from llmspell.security.patterns.backtracking import (
        BacktrackingPattern,
        BacktrackingPatterns,
    )
    from llmspell.security.patterns.linear_pattern import LinearPattern, PatternLimits
    from llmspell.security.patterns.pattern_match import PatternMatch
    from llmspell.security.prompts.detector import (
        InjectionDetector,
        InjectionFinding,
        InjectionReport,
        find_injection,
    )
    from llmspell.security.redaction import (
        RedactingFilter,
        RedactingSpanProcessor,
        RedactionStream,
        Redactor,
        SecretFinding,
        find_secrets,
        redact,
        redact_attributes,
    )
    from llmspell.security.requirements import SecurityRequirements, check_level
    from llmspell.security.sandbox.call_cancel import CallCancel
    from llmspell.security.sandbox.confined import ConfinedTool
    from llmspell.security.sandbox.counters import SandboxCounters
    from llmspell.security.sandbox.definition import ToolDefinition
    from llmspell.security.sandbox.sandbox import Sandbox
    from llmspell.security.sandbox.tool_result import ToolResult
    from llmspell.security.sandbox.unconfined import UnconfinedTool
    from llmspell.security.secrets.access import SecretAccess
    from llmspell.security.secrets.aws import AwsBackend
    from llmspell.security.secrets.backend import EnvironmentBackend, SecretBackend
    from llmspell.security.secrets.encrypted.keys import (
        KeyFile,
        KeyringEntry,
        KeySource,
        KeyVariable,
        MasterKey,
    )
    from llmspell.security.secrets.encrypted.store import EncryptedStore
    from llmspell.security.secrets.files import FileBackend
    from llmspell.security.secrets.reading import Subscription
    from llmspell.security.secrets.ref import SecretRef
    from llmspell.security.secrets.secret import Secret
    from llmspell.security.secrets.store import SecretStore, TenantSecrets
    from llmspell.security.secrets.vault import VaultBackend
    from llmspell.security.secrets.vault_login import AppRole, VaultToken
    from llmspell.security.text.html_context import escape_html, sanitize_html
    from llmspell.security.text.look_alikes import latin_skeleton
    from llmspell.security.text.rules import TextRules
    from llmspell.security.text.sql_context import quote_identifier, quote_like, quote_literal
    from llmspell.security.text.validator import SanitizedText, TextFinding, TextValidator
    from llmspell.security.urls.addresses import is_public, why_not_public
    from llmspell.security.urls.domain_rules import DomainRules
    from llmspell.security.urls.lookups import Resolver
    from llmspell.security.urls.url import Url, parse_url
    from llmspell.security.urls.validator import CheckedUrl, UrlValidator, open_checked

__all__ = [
    "Anchor",
    "AppRole",
    "ArgumentRule",
    "Attempt",
    "AuditKind",
    "AuditLog",
    "AuditProblem",
    "AuditRecord",
    "AuditReport",
    "AuditSink",
    "AwsBackend",
    "BacktrackingPattern",
    "BacktrackingPatterns",
    "Broker",
    "BrokerLimits",
    "CallCancel",
    "CheckedUrl",
    "Command",
    "CommandValidator",
    "ConfinedTool",
    "DomainRules",
    "EgressProxy",
    "EncryptedStore",
    "EnvironmentBackend",
    "FileBackend",
    "FileSandbox",
    "InjectionDetector",
    "InjectionFinding",
    "InjectionReport",
    "KeyFile",
    "KeySource",
    "KeyVariable",
    "KeyringEntry",
    "LinearPattern",
    "MasterKey",
    "Matching",
    "OneOf",
    "PathBeneath",
    "PathValidator",
    "PatternLimits",
    "PatternMatch",
    "ProgramRule",
    "RedactingFilter",
    "RedactingSpanProcessor",
    "RedactionStream",
    "Redactor",
    "Resolver",
    "Sandbox",
    "SandboxCounters",
    "SandboxEntry",
    "SanitizedText",
    "Secret",
    "SecretAccess",
    "SecretBackend",
    "SecretFinding",
    "SecretRef",
    "SecretStore",
    "SecurityLevel",
    "SecurityRequirements",
    "Session",
    "Subscription",
    "TenantSecrets",
    "Text",
    "TextFinding",
    "TextRules",
    "TextValidator",
    "ToolDefinition",
    "ToolResult",
    "UnconfinedTool",
    "Url",
    "UrlValidator",
    "VaultBackend",
    "VaultToken",
    "audited",
    "check_level",
    "escape_html",
    "find_injection",
    "find_secrets",
    "is_public",
    "latin_skeleton",
    "note_denial",
    "open_checked",
    "parse_url",
    "quote_identifier",
    "quote_like",
    "quote_literal",
    "read_audit",
    "reading_programs",
    "record_accesses",
    "record_attempts",
    "redact",
    "redact_attributes",
    "sanitize_html",
    "split_words",
    "verify_audit",
    "why_not_public",
]

_MODULES = {
    "audit": (
        "Anchor",
        "AuditKind",
        "AuditLog",
        "AuditProblem",
        "AuditRecord",
        "AuditReport",
        "AuditSink",
        "audited",
        "note_denial",
        "read_audit",
        "record_accesses",
        "record_attempts",
        "verify_audit",
    ),
    "broker.attempt": ("Attempt",),
    "broker.broker": ("Broker",),
    "broker.limits": ("BrokerLimits",),
    "broker.proxy": ("EgressProxy",),
    "broker.session": ("Session",),
    "commands.argument_rules": (
        "ArgumentRule",
        "Matching",
        "OneOf",
        "PathBeneath",
        "Text",
    ),
    "commands.program_rule": ("ProgramRule",),
    "commands.reading_programs": ("reading_programs",),
    "commands.shell_words": ("split_words",),
    "commands.validator": (
        "Command",
        "CommandValidator",
    ),
    "files.file_sandbox": (
        "FileSandbox",
        "SandboxEntry",
    ),
    "files.path_validator": ("PathValidator",),
    "levels": ("SecurityLevel",),
    "patterns.backtracking": ("BacktrackingPattern", "BacktrackingPatterns"),
    "patterns.linear_pattern": (
        "LinearPattern",
        "PatternLimits",
    ),
    "patterns.pattern_match": ("PatternMatch",),
    "prompts.detector": (
        "InjectionDetector",
        "InjectionFinding",
        "InjectionReport",
        "find_injection",
    ),
    "redaction": (
        "RedactingFilter",
        "RedactingSpanProcessor",
        "RedactionStream",
        "Redactor",
        "SecretFinding",
        "find_secrets",
        "redact",
        "redact_attributes",
    ),
    "requirements": (
        "SecurityRequirements",
        "check_level",
    ),
    "sandbox.call_cancel": ("CallCancel",),
    "sandbox.confined": ("ConfinedTool",),
    "sandbox.counters": ("SandboxCounters",),
    "sandbox.definition": ("ToolDefinition",),
    "sandbox.sandbox": ("Sandbox",),
    "sandbox.tool_result": ("ToolResult",),
    "sandbox.unconfined": ("UnconfinedTool",),
    "secrets.access": ("SecretAccess",),
    "secrets.aws": ("AwsBackend",),
    "secrets.backend": (
        "EnvironmentBackend",
        "SecretBackend",
    ),
    "secrets.encrypted.keys": (
        "KeyFile",
        "KeySource",
        "KeyVariable",
        "KeyringEntry",
        "MasterKey",
    ),
    "secrets.encrypted.store": ("EncryptedStore",),
    "secrets.files": ("FileBackend",),
    "secrets.reading": ("Subscription",),
    "secrets.ref": ("SecretRef",),
    "secrets.secret": ("Secret",),
    "secrets.store": (
        "SecretStore",
        "TenantSecrets",
    ),
    "secrets.vault": ("VaultBackend",),
    "secrets.vault_login": (
        "AppRole",
        "VaultToken",
    ),
    "text.html_context": (
        "escape_html",
        "sanitize_html",
    ),
    "text.look_alikes": ("latin_skeleton",),
    "text.rules": ("TextRules",),
    "text.sql_context": (
        "quote_identifier",
        "quote_like",
        "quote_literal",
    ),
    "text.validator": (
        "SanitizedText",
        "TextFinding",
        "TextValidator",
    ),
    "urls.addresses": (
        "is_public",
        "why_not_public",
    ),
    "urls.domain_rules": ("DomainRules",),
    "urls.lookups": ("Resolver",),
    "urls.url": (
        "Url",
        "parse_url",
    ),
    "urls.validator": (
        "CheckedUrl",
        "UrlValidator",
        "open_checked",
    ),
}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(__name__, _MODULES)
