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
        tenant: handle on whose behalf the tool is called, sync or async as its caller has it.
        operation: that the call is charged to; report by its ``use`` what the tool used.
        tool: name that was called.
        client: who asked for the call, where it can be spoken with; None otherwise.
    """

    tenant: Tenant | AsyncTenant
    operation: Operation[Any]
    tool: str
    client: ToolClient | None = None

    @property
    def sync_tenant(self) -> Tenant:
        """The tenant for a tool that isn't async, whatever handle its caller has."""
        from llmspell.tenancy import sync_handle

        return sync_handle(self.tenant)

    @property
    def async_tenant(self) -> AsyncTenant:
        """The tenant for an async tool, whatever handle its caller has: await its calls."""
        from llmspell.tenancy import async_handle

        return async_handle(self.tenant)
