"""Tools that the kernel confines; validators, and secrets.

Names are loaded when they are first used: who redacts text loads no parser of URLs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from llmspell.security.requirements import SecurityRequirements, check
    from llmspell.security.secret import Secret
    from llmspell.security.urls.addresses import is_public, why_not_public
    from llmspell.security.urls.domain_rules import DomainRules
    from llmspell.security.urls.url import Url, parse_url
    from llmspell.security.urls.validator import Checked, Resolver, UrlValidator, open_checked

__all__ = [
    "ArgumentRule",
    "Attempt",
    "Broker",
    "BrokerLimits",
    "Checked",
    "Command",
    "CommandValidator",
    "DomainRules",
    "EgressProxy",
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
    "Session",
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

_MODULES = {
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
    "redaction": (
        "Finding",
        "RedactingFilter",
        "RedactingSpanProcessor",
        "RedactionStream",
        "Redactor",
        "find",
        "redact",
        "redact_attributes",
    ),
    "requirements": (
        "SecurityRequirements",
        "check",
    ),
    "secret": ("Secret",),
    "urls.addresses": (
        "is_public",
        "why_not_public",
    ),
    "urls.domain_rules": ("DomainRules",),
    "urls.url": (
        "Url",
        "parse_url",
    ),
    "urls.validator": (
        "Checked",
        "Resolver",
        "UrlValidator",
        "open_checked",
    ),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a public name, once: it is an attribute from then on."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
