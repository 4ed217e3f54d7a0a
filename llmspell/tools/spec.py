"""What a model, or a person, is told of a tool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmspell.security import SecurityLevel

__all__ = ["ToolSpec"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolSpec:
    """What is told of a tool. Immutable; don't change the schema in it.

    Args:
        name: 1 to 64 of the letters, digits, ``_`` and ``-``.
        description: for the model.
        parameters: JSON Schema (2020-12) of the arguments, an object.
        level: what it may have at most.
        is_confined: whether the kernel enforces that.
        timeout: seconds of one call; None for no limit.
        cost: money of one call.
        needs_approval: whether each call is asked for.
        idempotent: whether a call that failed may be made again.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    level: SecurityLevel
    is_confined: bool
    timeout: float | None
    cost: float
    needs_approval: bool
    idempotent: bool
