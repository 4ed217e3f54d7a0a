"""What a call of a tool comes to: data, or a fault that says what went wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

from llmspell.errors import InputError

__all__ = ["FaultKind", "ToolFault", "ToolResult"]


class FaultKind(StrEnum):
    """Why a call has no result.

    - ``UNKNOWN_TOOL``: there is none of that name, or the tenant isn't allowed it.
    - ``INVALID_ARGUMENTS``: they don't fit the schema; nothing ran.
    - ``DENIED``: a guard or the approval hook refused; nothing ran.
    - ``CALL_LIMIT``: the tenant's call quota for it is used up; nothing ran.
    - ``BUSY``: no place among the calls at one time became free; nothing ran.
    - ``TIMEOUT``: not done in time.
    - ``RESOURCE_LIMIT``: it took more memory or processor time than it may.
    - ``RESULT_TOO_LARGE``: its result is larger than ``max_result_bytes``, or no data.
    - ``FAILED``: it raised.
    """

    UNKNOWN_TOOL = "unknown_tool"
    INVALID_ARGUMENTS = "invalid_arguments"
    DENIED = "denied"
    CALL_LIMIT = "call_limit"
    BUSY = "busy"
    TIMEOUT = "timeout"
    RESOURCE_LIMIT = "resource_limit"
    RESULT_TOO_LARGE = "result_too_large"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ToolFault:
    """Why a call has no result.

    Args:
        kind: what sort of fault.
        message: for the model, and for people.
        error: name of the exception's class, where the tool raised one.
        retry_after: seconds until the same call may succeed, where that is known.
    """

    kind: FaultKind
    message: str
    error: str = ""
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a call of a tool came to.

    Args:
        tool: name that was called.
        value: what it returned, as JSON can hold it; None where there is a fault.
        fault: why it has no value; None where it is done.
        seconds: that it ran, without the waiting before.
    """

    tool: str
    value: Any = None
    fault: ToolFault | None = None
    seconds: float = 0.0

    @property
    def is_ok(self) -> bool:
        """Whether it was done."""
        return self.fault is None

    @property
    def text(self) -> str:
        """What a model is told: a str as it is, other data as JSON, a fault in words."""
        if self.fault is not None:
            return f"Error ({self.fault.kind}): {self.fault.message}"
        if isinstance(self.value, str):
            return self.value
        return json.dumps(self.value, ensure_ascii=False)

    def to_fields(self) -> dict[str, Any]:
        """It as JSON can hold it, to be stored; :meth:`from_fields` takes it back."""
        return asdict(self)

    @classmethod
    def from_fields(cls, given: Mapping[str, Any]) -> Self:
        """A result from what :meth:`to_fields` gave.

        Raises:
            InputError: it is something else.
        """
        try:
            fault = given["fault"]
            if fault is not None:
                fault = ToolFault(**{**fault, "kind": FaultKind(fault["kind"])})
            return cls(**{**given, "fault": fault})
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"no result of a tool as to_fields gives it: {error}") from None
