"""A tenant's tools as LangChain's tools."""

from __future__ import annotations

from typing import Any, Literal

from llmspell.integrations.langchain.framework import BaseTool, ToolException
from llmspell.tools import TenantTools, ToolResult, ToolSpec

__all__ = ["LlmspellTool", "langchain_tools"]


def langchain_tools(tools: TenantTools) -> list[LlmspellTool]:
    """The tools that a tenant may call, for a model or an agent of LangChain's."""
    return [LlmspellTool.of(tools, spec) for spec in tools.specs()]


class LlmspellTool(BaseTool):
    """A tool of a tenant's, made by :func:`langchain_tools`. Thread-safe.

    A call goes the way that :meth:`llmspell.tools.TenantTools.call` goes: it is charged, checked,
    approved and confined. Its content is the result's text; the artifact is the
    :class:`llmspell.tools.ToolResult`. A fault is a message of status "error", unless
    ``handle_tool_error`` is set to False: then it raises LangChain's ``ToolException``.
    """

    tools: TenantTools
    handle_tool_error: Any = True
    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"

    @classmethod
    def of(cls, tools: TenantTools, spec: ToolSpec) -> LlmspellTool:
        """The tool of a name and a schema."""
        return cls(
            name=spec.name,
            description=spec.description,
            args_schema=dict(spec.parameters),
            tools=tools,
        )

    def _run(self, /, **arguments: Any) -> tuple[str, ToolResult]:
        return _done(self.tools.call(self.name, arguments))

    async def _arun(self, /, **arguments: Any) -> tuple[str, ToolResult]:
        return _done(await self.tools.acall(self.name, arguments))


def _done(result: ToolResult) -> tuple[str, ToolResult]:
    if result.fault is not None:
        raise ToolException(result.text)
    return result.text, result
