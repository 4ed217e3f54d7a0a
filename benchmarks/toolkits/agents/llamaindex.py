"""An agent of LlamaIndex's."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, MessageRole, ToolCallBlock
from llama_index.core.llms import MockFunctionCallingLLM
from llama_index.core.tools import FunctionTool

from benchmarks.toolkits.task import ANSWER, FUNCTIONS, INSTRUCTIONS, QUESTION

__all__ = ["TOOLS", "ask", "first", "make"]


def _scripted(messages: Any, **_: Any) -> ChatMessage:
    if any(message.role == MessageRole.TOOL for message in messages):
        return ChatMessage(role="assistant", content=ANSWER)
    call = ToolCallBlock(tool_call_id="1", tool_name="add", tool_kwargs={"a": 2, "b": 3})
    return ChatMessage(role="assistant", blocks=[call])


TOOLS = [FunctionTool.from_defaults(fn=one) for one in FUNCTIONS]
_MODEL = MockFunctionCallingLLM(response_generator=_scripted)


def make() -> Any:
    """Make an agent."""
    return FunctionAgent(tools=TOOLS, llm=_MODEL, system_prompt=INSTRUCTIONS, streaming=False)


async def ask(agent: Any) -> object:
    """Run it, for its answer."""
    return str(await agent.run(user_msg=QUESTION))


def first(folder: Path) -> object:
    """The answer of a new agent."""

    async def answer() -> object:
        return await ask(make())

    return asyncio.run(answer())
