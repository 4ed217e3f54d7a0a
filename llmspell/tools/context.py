"""What a trusted tool is told of the call that it serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmspell.tenancy import AsyncTenant, Operation, Tenant
    from llmspell.tools.client import ToolClient

__all__ = ["ToolContext"]


@dataclass(frozen=True, slots=True)
class ToolContext:
    """A parameter of this type is given to a trusted tool, and no model sees it.

    Args:
        tenant: handle on whose behalf the tool is called.
        operation: that the call is charged to; report by its ``use`` what the tool used.
        tool: name that was called.
        client: who asked for the call, where it can be spoken with; None otherwise.
    """

    tenant: Tenant | AsyncTenant
    operation: Operation[Any]
    tool: str
    client: ToolClient | None = None
