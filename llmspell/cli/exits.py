"""Exit codes of the ``llmspell`` command: one table, used by the code, the help and the docs."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from llmspell import errors

__all__ = [
    "EXIT_TABLE",
    "ExitCode",
    "ExitRow",
    "Interrupted",
    "NothingHere",
    "WrongUsage",
    "exit_code_for",
]


class ExitCode(enum.IntEnum):
    """What ``$?`` is after a command; :data:`EXIT_TABLE` says when."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    QUOTA = 4
    STORAGE = 5
    INTERRUPTED = 130


class Interrupted(errors.LlmspellError):
    """Ctrl-C, or Ctrl-D at a question; the message says what stays and how to go on."""


class NothingHere(errors.LlmspellError):
    """A command that only reads is pointed at a directory where no database is."""


class WrongUsage(errors.LlmspellError):
    """The command line can't be understood, or lacks something."""


@dataclass(frozen=True, slots=True)
class ExitRow:
    """One exit code, when it is given, and the errors that lead to it."""

    code: ExitCode
    meaning: str
    errors: tuple[type[BaseException], ...] = ()


# The first row that names a class of the error wins, so narrow classes stand before wide ones.
EXIT_TABLE: tuple[ExitRow, ...] = (
    ExitRow(ExitCode.OK, "The command did what was asked."),
    ExitRow(
        ExitCode.QUOTA,
        "A quota refused the operation; nothing of that batch was done.",
        (errors.QuotaExceeded,),
    ),
    ExitRow(
        ExitCode.NOT_FOUND,
        "There is no such tenant, id, secret or data directory.",
        (errors.TenantNotFound, errors.IdNotFound, errors.SecretNotFound, NothingHere),
    ),
    ExitRow(
        ExitCode.USAGE,
        "Wrong usage, a value that can't be taken, or an optional extra that isn't installed.",
        (
            WrongUsage,
            errors.ConfigError,
            errors.InputError,
            errors.InvalidSecretRef,
            errors.MissingDependency,
            errors.UnreadableSecret,
            errors.WrongKey,
        ),
    ),
    ExitRow(
        ExitCode.STORAGE,
        "The disk, a file or the quota server failed: locked by a process, full, away, or corrupt, "
        "also where `scrub` or `audit` found it so.",
        (errors.StorageError, errors.SecretsDamaged, OSError),
    ),
    ExitRow(
        ExitCode.INTERRUPTED,
        "Stopped by Ctrl-C. What was acknowledged is on disk; the same command goes on.",
        (Interrupted, KeyboardInterrupt),
    ),
    ExitRow(
        ExitCode.FAILED,
        "The operation failed for another reason, or `doctor` found something broken.",
        (Exception,),
    ),
)


def exit_code_for(error: BaseException) -> ExitCode:
    """The exit code that :data:`EXIT_TABLE` gives to ``error``."""
    for row in EXIT_TABLE:
        if isinstance(error, row.errors):
            return row.code
    return ExitCode.FAILED
