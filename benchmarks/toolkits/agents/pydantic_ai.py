"""An agent of Pydantic AI's."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from pydantic_ai import Agent, Tool
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel

from benchmarks.toolkits.task import ANSWER, FUNCTIONS, INSTRUCTIONS, QUESTION

__all__ = ["TOOLS", "ask", "first", "make"]


async def _scripted(messages: Any, info: Any) -> ModelResponse:
    if any(isinstance(part, ToolReturnPart) for part in messages[-1].parts):
        return ModelResponse(parts=[TextPart(ANSWER)])
    return ModelResponse(parts=[ToolCallPart("add", {"a": 2, "b": 3})])


TOOLS = [Tool(one) for one in FUNCTIONS]
_MODEL = FunctionModel(_scripted)


def make() -> Any:
    """Make an agent."""
    return Agent(_MODEL, tools=TOOLS, instructions=INSTRUCTIONS)


async def ask(agent: Any) -> object:
    """Run it, for its answer."""
    return (await agent.run(QUESTION)).output


def first(folder: Path) -> object:
    """The answer of a new agent."""
    return asyncio.run(ask(make()))
