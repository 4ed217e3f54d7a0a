"""What a model is told of an error."""

from __future__ import annotations

from typing import Final

from llmspell.errors import (
    InputError,
    SecurityError,
    ToolFailed,
    ToolLimitExceeded,
    ToolTimeout,
)
from llmspell.tools.result import FaultKind, ToolFault

__all__ = ["MESSAGE_CHARS", "UnusableResult", "fault_of"]

#: Of an error's text that are told; a traceback or a response in it would fill a prompt.
MESSAGE_CHARS: Final = 2_000
#: Of the text that are looked through for secrets: what stands behind isn't told in any case.
_LOOKED_THROUGH: Final = 4 * MESSAGE_CHARS


class UnusableResult(Exception):
    """A tool returned what is no data, or too much of it."""


def fault_of(error: BaseException) -> ToolFault:
    """What a model is told of an error: 2,000 characters of its text at most, without secrets.

    Secrets are what :func:`llmspell.security.redact` knows as such; ``***`` stands for each.
    """
    message = _shown(str(error))
    match error:
        case UnusableResult():
            return ToolFault(FaultKind.RESULT_TOO_LARGE, message)
        case ToolTimeout():
            return ToolFault(FaultKind.TIMEOUT, message)
        case ToolLimitExceeded():
            return ToolFault(FaultKind.RESOURCE_LIMIT, message, error=error.error)
        case ToolFailed():
            return ToolFault(FaultKind.FAILED, message, error=error.error)
        case SecurityError():
            return ToolFault(FaultKind.DENIED, message, error=type(error).__name__)
        case InputError():
            return ToolFault(FaultKind.INVALID_ARGUMENTS, message)
        case _:
            kind = type(error).__name__
            return ToolFault(FaultKind.FAILED, f"{kind}: {message}" if message else kind, kind)


def _shown(text: str) -> str:
    from llmspell.security import redact

    # Before it is cut: a secret that is cut in two isn't known any more.
    told = redact(text[:_LOOKED_THROUGH])
    return told if len(told) <= MESSAGE_CHARS else told[: MESSAGE_CHARS - 1] + "…"
