"""A model that says what a test has written down; test_wire.py has real clients instead."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

from llmspell.agents import Agent
from llmspell.errors import ProviderError
from llmspell.providers import (
    ChatRequest,
    ChatResponse,
    Price,
    StreamEvent,
    TextDelta,
    ToolCall,
    Usage,
)
from llmspell.providers.bill import billed
from llmspell.testing import Call, Reply
from llmspell.tools import tool


@tool(trusted=True)
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def run(agent: Agent, text: str = "go", **named: Any) -> Any:
    """Run an agent, and close it."""
    with agent:
        return asyncio.run(agent.run(text, **named))


def say(text: str, *, tokens: int = 10) -> Reply:
    """An answer without calls, of so many tokens, to a prompt of as many."""
    return Reply(text, input_tokens=tokens, output_tokens=tokens)


def call(*calls: tuple[str, dict[str, Any]], text: str = "", tokens: int = 10) -> Reply:
    """An answer with calls of tools."""
    made = [Call(tool, given) for tool, given in calls]
    return Reply(text, made, input_tokens=tokens, output_tokens=tokens)


class Script:
    """Gives its replies in turn, and bills them as models do; None fails."""

    provider = "script"
    model_id = "script"

    def __init__(self, *replies: Reply | None, price: Price | None = None) -> None:
        self._replies = list(replies)
        self.price = price
        self.requests: list[ChatRequest] = []

    def complete(self, request: ChatRequest) -> ChatResponse:
        return asyncio.run(self.acomplete(request))

    async def acomplete(self, request: ChatRequest) -> ChatResponse:
        async with billed(request, self.price) as bill:
            self.requests.append(bill.request)
            reply = self._replies.pop(0) if self._replies else None
            if reply is None:
                raise ProviderError("the script has ended")
            usage = Usage(reply.input_tokens, reply.output_tokens)
            bill.settle(usage)
        calls = tuple(
            ToolCall(f"id{n}", one.name, json.dumps(one.arguments))
            for n, one in enumerate(reply.calls)
        )
        cost = None if self.price is None else self.price.cost(usage)
        finish = "tool_calls" if calls else "stop"
        return ChatResponse(reply.text, calls, finish, usage, "script", "script", cost)

    async def astream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        response = await self.acomplete(request)
        for start in range(0, len(response.text), 3):
            yield TextDelta(response.text[start : start + 3])
        yield response

    @property
    def asked(self) -> int:
        """How often it was."""
        return len(self.requests)

    def told(self, number: int) -> list[str]:
        """Texts of the messages of a request, but for the instructions."""
        return [one.text for one in self.requests[number].messages if one.role != "system"]

    def instructions(self, number: int) -> str:
        return "".join(o.text for o in self.requests[number].messages if o.role == "system")

    def max_tokens(self, number: int) -> int:
        return self.requests[number].max_tokens

    def schema(self, number: int) -> dict[str, Any]:
        output = self.requests[number].output
        assert output is not None
        return dict(output.schema)
