"""Both models over a server that follows a script."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from llmspell.providers import (
    AnthropicChat,
    ChatModel,
    ChatRequest,
    Message,
    OpenAIChat,
    StreamEvent,
    ToolDefinition,
)
from llmspell.testing import Script, ScriptedChatServer

KINDS: dict[str, Callable[..., OpenAIChat | AnthropicChat]] = {
    "openai": lambda server, **given: OpenAIChat("m-1", base_url=server.openai_url, **given),
    "anthropic": lambda server, **given: AnthropicChat(
        "m-1", base_url=server.anthropic_url, **given
    ),
}


kinds = pytest.mark.parametrize("kind", KINDS)
ADD = ToolDefinition("add", "Adds.", {"type": "object", "properties": {"a": {"type": "integer"}}})


async def streamed(model: ChatModel, request: ChatRequest) -> list[StreamEvent]:
    """All events of an answer."""
    return [event async for event in model.astream(request)]


def ask(text: str = "How are you?", **given: Any) -> ChatRequest:
    return ChatRequest(messages=(Message.user(text),), **given)


@contextmanager
def scripted(
    kind: str, script: Script, **given: Any
) -> Iterator[tuple[OpenAIChat | AnthropicChat, ScriptedChatServer]]:
    with (
        ScriptedChatServer(script) as server,
        KINDS[kind](server, api_key="sk-x", **given) as model,
    ):
        yield model, server
