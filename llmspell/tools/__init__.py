"""Tools that models call: described, checked, confined, charged to a tenant, with data as result.

Names are loaded when they are first used: what workers load of a tool is :func:`tool` alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmspell._lazy import lazy_names

if TYPE_CHECKING:
    from llmspell.tools.approval import Approval, ApprovalHook, ToolCall, ask_client
    from llmspell.tools.client import Answer, CallAgain, LogLevel, Sampled, ToolClient
    from llmspell.tools.context import ToolContext
    from llmspell.tools.decorator import tool
    from llmspell.tools.definition import ArgumentCheck, FunctionTool, Tool
    from llmspell.tools.options import ToolOptions
    from llmspell.tools.policy import CallQuota, ToolPolicy
    from llmspell.tools.registry import ToolRegistry
    from llmspell.tools.result import FaultKind, ToolFault, ToolResult
    from llmspell.tools.spec import ToolSpec
    from llmspell.tools.tenant_tools import TenantTools

__all__ = [
    "Answer",
    "Approval",
    "ApprovalHook",
    "ArgumentCheck",
    "CallAgain",
    "CallQuota",
    "FaultKind",
    "FunctionTool",
    "LogLevel",
    "Sampled",
    "TenantTools",
    "Tool",
    "ToolCall",
    "ToolClient",
    "ToolContext",
    "ToolFault",
    "ToolOptions",
    "ToolPolicy",
    "ToolRegistry",
    "ToolResult",
    "ToolSpec",
    "ask_client",
    "tool",
]

_MODULES = {
    "approval": ("Approval", "ApprovalHook", "ToolCall", "ask_client"),
    "client": ("Answer", "CallAgain", "LogLevel", "Sampled", "ToolClient"),
    "context": ("ToolContext",),
    "decorator": ("tool",),
    "definition": ("ArgumentCheck", "FunctionTool", "Tool"),
    "options": ("ToolOptions",),
    "policy": ("CallQuota", "ToolPolicy"),
    "registry": ("ToolRegistry",),
    "result": ("FaultKind", "ToolFault", "ToolResult"),
    "spec": ("ToolSpec",),
    "tenant_tools": ("TenantTools",),
}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(__name__, _MODULES)
