"""An agent of LangChain's."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool

from benchmarks.toolkits.task import ANSWER, FUNCTIONS, INSTRUCTIONS, QUESTION

__all__ = ["TOOLS", "ask", "first", "make"]


class _Scripted(BaseChatModel):
    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        if isinstance(messages[-1], ToolMessage):
            message = AIMessage(ANSWER)
        else:
            call = {"name": "add", "args": {"a": 2, "b": 3}, "id": "1", "type": "tool_call"}
            message = AIMessage("", tool_calls=[call])
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return self._generate(messages)


TOOLS = [tool(one) for one in FUNCTIONS]
_MODEL = _Scripted()


def make() -> Any:
    """Make an agent."""
    return create_agent(_MODEL, TOOLS, system_prompt=INSTRUCTIONS)


async def ask(agent: Any) -> object:
    """Run it, for its answer."""
    asked = {"messages": [{"role": "user", "content": QUESTION}]}
    return (await agent.ainvoke(asked))["messages"][-1].content


def first(folder: Path) -> object:
    """The answer of a new agent."""
    return asyncio.run(ask(make()))
