"""A tenant's tools, as the handlers of an MCP server list and call them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from llmspell.errors import QuotaExceeded, TenantSuspended
from llmspell.tools.mcp.caller import InputNeeded, McpCaller
from llmspell.tools.mcp.content import content_of
from llmspell.tools.result import FaultKind
from llmspell.tools.tenant_tools import TenantTools

__all__ = ["Calls"]

_log: Final = logging.getLogger(__name__)


@dataclass(slots=True)
class Calls:
    """Tools, as the handlers of the SDK's server ask for them.

    Args:
        tools_of: whose a request is.
    """

    tools_of: Callable[[Any], TenantTools]

    async def list_tools(self, context: Any, params: Any) -> Any:
        """Those that the tenant may call, on one page."""
        from mcp import types

        return types.ListToolsResult(
            tools=[
                types.Tool(
                    name=spec.name,
                    description=spec.description,
                    input_schema=spec.parameters,
                    annotations=types.ToolAnnotations(idempotent_hint=spec.idempotent),
                )
                for spec in self.tools_of(context).specs()
            ]
        )

    async def call_tool(self, context: Any, params: Any) -> Any:
        """Call one; a fault of it is a result, and what the operator has to mend is logged."""
        from mcp import MCPError, types

        client = McpCaller(context, params)
        try:
            result = await self.tools_of(context).acall(
                params.name, params.arguments or {}, client=client
            )
        except InputNeeded as needed:
            return needed.result
        except (QuotaExceeded, TenantSuspended) as refusal:
            return types.CallToolResult(
                content=[types.TextContent(text=f"Error (refused): {refusal}")], is_error=True
            )
        except Exception as error:  # whatever it is, a client is told no more
            _log.error("the tool %r can't be run", params.name, exc_info=error)
            raise MCPError(types.INTERNAL_ERROR, "the tool can't be run now") from error
        if result.fault is not None and result.fault.kind is FaultKind.UNKNOWN_TOOL:
            raise MCPError(types.INVALID_PARAMS, result.fault.message)
        return content_of(result)
