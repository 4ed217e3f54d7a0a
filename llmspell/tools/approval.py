"""Asking somebody before a tool is called."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["Approval", "ApprovalHook", "ToolCall"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that is to be approved.

    Args:
        tenant: id of the tenant on whose behalf it is.
        tool: name.
        arguments: as they will be used; those that fit the schema alone.
    """

    tenant: str
    tool: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Approval:
    """What was decided.

    Args:
        is_given: whether the call may be made.
        reason: told to the model where it may not.
    """

    is_given: bool
    reason: str = ""


class ApprovalPending(Exception):
    """Raised by a hook of an agent where nobody decides now: the call is made again later."""

    #: Of a span that it leaves.
    is_failure = False


#: Decides, sync or async; True and False are an :class:`Approval` without a reason.
ApprovalHook: TypeAlias = Callable[[ToolCall], bool | Approval | Awaitable[bool | Approval]]
