"""An agent of ours, which works for a tenant."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import llmspell
from benchmarks.toolkits.task import ANSWER, FUNCTIONS, INSTRUCTIONS, QUESTION
from llmspell import Tenant, TenantConfig
from llmspell.agents import Agent
from llmspell.providers import ChatRequest, ChatResponse, StreamEvent, ToolCall, Usage
from llmspell.tools import tool

__all__ = ["TOOLS", "ask", "first", "make"]


class _Scripted:
    provider = model_id = "scripted"
    price = None

    def complete(self, request: ChatRequest) -> ChatResponse:
        if len(request.messages) > 2:  # behind instructions and question
            return ChatResponse(ANSWER, (), "stop", Usage(1, 1), "scripted", "scripted")
        calls = (ToolCall("1", "add", '{"a": 2, "b": 3}'),)
        return ChatResponse("", calls, "tool_calls", Usage(1, 1), "scripted", "scripted")

    async def acomplete(self, request: ChatRequest) -> ChatResponse:
        return self.complete(request)

    async def astream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        yield self.complete(request)


TOOLS = [tool(trusted=True)(one) for one in FUNCTIONS]
_MODEL = _Scripted()


def make(tenant: Tenant, transcripts: Any = "memory") -> Agent:
    """Make an agent of a tenant's."""
    return Agent(_MODEL, TOOLS, INSTRUCTIONS, tenant, transcripts=transcripts)


async def ask(agent: Agent) -> object:
    """Run it, for its answer."""
    return (await agent.run(QUESTION)).output


def first(folder: Path) -> object:
    """The answer of a new agent, for a tenant in a new database."""
    with llmspell.open(folder) as database:
        tenant = database.create_tenant(TenantConfig(id="bench"))
        with make(tenant) as agent:
            return asyncio.run(ask(agent))
