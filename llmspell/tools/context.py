"""What a trusted tool is told of the call that it serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmspell.tenancy import AsyncTenant, Operation, Tenant

__all__ = ["ToolContext"]


@dataclass(frozen=True, slots=True)
class ToolContext:
    """A parameter of this type is given to a trusted tool, and no model sees it.

    Args:
        tenant: handle on whose behalf the tool is called.
        operation: that the call is charged to; report by its ``use`` what the tool used.
        tool: name that was called.
    """

    tenant: Tenant | AsyncTenant
    operation: Operation[Any]
    tool: str
