"""Tools that the kernel confines; validators, and secrets.

Names are loaded when they are first used: who redacts text loads no parser of URLs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from llmspell.security.urls.addresses import is_public, why_not_public
    from llmspell.security.urls.domain_rules import DomainRules
    from llmspell.security.urls.url import Url, parse_url
    from llmspell.security.urls.validator import Checked, Resolver, UrlValidator, open_checked

__all__ = [
    "AppRole",
    "ArgumentRule",
    "AwsBackend",
    "Checked",
    "Command",
    "CommandValidator",
    "DomainRules",
    "EncryptedStore",
    "EnvironmentBackend",
    "FileBackend",
    "FileSandbox",
    "Finding",
    "KeyFile",
    "KeySource",
    "KeyVariable",
    "KeyringEntry",
    "MasterKey",
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
    "SecretAccess",
    "SecretBackend",
    "SecretRef",
    "SecretStore",
    "SecurityLevel",
    "SecurityRequirements",
    "Subscription",
    "TenantSecrets",
    "Text",
    "Url",
    "UrlValidator",
    "VaultBackend",
    "VaultToken",
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
