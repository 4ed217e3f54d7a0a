"""Pydantic AI, which has agents and tools, and no retrieval or cache."""

from __future__ import annotations

from typing import Any

from pydantic_ai import Agent, Tool
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel

from benchmarks.toolkits.base import (
    ANSWER,
    INSTRUCTIONS,
    QUESTION,
    Cases,
    Setup,
    add,
    multiply,
    subtract,
)

DISTRIBUTIONS = ("pydantic-ai-slim",)


async def _scripted(messages: Any, info: Any) -> ModelResponse:
    if any(isinstance(part, ToolReturnPart) for part in messages[-1].parts):
        return ModelResponse(parts=[TextPart(ANSWER)])
    return ModelResponse(parts=[ToolCallPart("add", {"a": 2, "b": 3})])


def cases(setup: Setup) -> Cases:
    """What is timed."""
    tools = [Tool(one) for one in (add, subtract, multiply)]
    model = FunctionModel(_scripted)

    def make() -> Any:
        return Agent(model, tools=tools, instructions=INSTRUCTIONS)

    agent = make()
    schema = tools[0].function_schema

    async def call() -> object:
        # Its tools are called by agents alone; this is what an agent does for each call.
        checked = schema.validator.validate_python({"a": 2, "b": 3})
        return await schema.call(checked, None)

    return {
        "agent": make,
        "run": lambda: setup.wait(agent.run(QUESTION)).output,
        "tool": lambda: setup.wait(call()),
    }
