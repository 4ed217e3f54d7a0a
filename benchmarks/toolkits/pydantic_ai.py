"""Pydantic AI, which has agents and tools, and no retrieval or cache."""

from __future__ import annotations

from typing import Any

from pydantic_ai import Tool

from benchmarks.toolkits.agents import pydantic_ai as agents
from benchmarks.toolkits.base import Cases, Setup
from benchmarks.toolkits.task import add

DISTRIBUTIONS = ("pydantic-ai-slim",)


def cases(setup: Setup) -> Cases:
    """What is timed."""
    agent = agents.make()

    def call(tool: Any) -> object:
        # Its tools are called by agents alone; this is what an agent does for each call.
        schema = tool.function_schema
        checked = schema.validator.validate_python({"a": 2, "b": 3})
        return setup.wait(schema.call(checked, None))

    return {
        "agent": agents.make,
        "run": lambda: setup.wait(agents.ask(agent)),
        "tool, made": lambda: call(Tool(add)),
        "tool": lambda: call(agents.TOOLS[0]),
    }
