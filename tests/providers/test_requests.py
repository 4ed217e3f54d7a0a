"""What is refused before a provider is asked: requests, what they are made of, and models."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell import errors
from llmspell.providers import (
    AnthropicChat,
    ChatRequest,
    Message,
    OpenAIChat,
    OutputSchema,
    ProviderPool,
    ToolCall,
    ToolDefinition,
)
from tests.providers.models import ADD, ask, kinds, scripted, streamed


@pytest.mark.parametrize(
    "messages",
    [
        (),
        (Message.system("only"),),
        (Message.user("a"), Message.assistant("b")),
        (Message.user("a"), Message.system("late"), Message.user("b")),
    ],
)
def test_messages_that_no_provider_takes_are_refused(messages: Sequence[Message]) -> None:
    with pytest.raises(errors.InputError):
        ChatRequest(messages=tuple(messages))


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_tokens": 0},
        {"temperature": 3.0},
        {"tool_choice": "required"},
        {"tool_choice": "sometimes"},
        {"tools": (ADD, ADD)},
        {"tools": (ToolDefinition("no spaces", "", {}),)},
    ],
)
def test_settings_of_a_request_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(errors.InputError):
        ask(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"price": (1, 2)}, {"connections": {"size": 1}}, {"base_url": 7}),
        *(
            {"base_url": "localhost:8000/v1"},
            {"base_url": "https://[no/v1"},
            {"base_url": "ftp://x"},
        ),
        *({"headers": {"x": 7}}, {"headers": {"x": "a\nb"}}, {"headers": "x: y"}),
    ],
)
@kinds
def test_what_a_model_is_made_of_is_checked_before_it_is_asked(
    kind: str, wrong: dict[str, Any]
) -> None:
    with pytest.raises(errors.ConfigError, match=next(iter(wrong)).removesuffix("s")):
        {"openai": OpenAIChat, "anthropic": AnthropicChat}[kind]("m", api_key="k", **wrong)


@kinds
def test_who_asks_without_a_request_is_told(kind: str) -> None:
    with scripted(kind, "never") as (model, server):
        for asked in (model, ProviderPool([model])):
            with pytest.raises(errors.InputError, match="ChatRequest"):
                asked.complete("Hello")  # type: ignore[arg-type]
            with pytest.raises(errors.InputError, match="ChatRequest"):
                asyncio.run(streamed(asked, "Hello"))  # type: ignore[arg-type]
        assert not server.asked


@given(st.text())
def test_arguments_are_an_object_or_an_error(text: str) -> None:
    try:
        expected = json.loads(text or "{}")
    except ValueError:
        expected = None
    call = ToolCall("1", "t", text)
    if isinstance(expected, dict):
        assert call.parsed() == expected
    else:
        with pytest.raises(errors.InputError):
            call.parsed()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Message("robot", "x"),  # type: ignore[arg-type]
        lambda: Message.user(None),  # type: ignore[arg-type]
        lambda: Message("tool", "x"),
        lambda: Message("user", "x", tool_call_id="1"),
        lambda: Message("user", "x", (ToolCall("1", "t", "{}"),)),
        lambda: ToolCall("1", "t", {}),  # type: ignore[arg-type]
        lambda: ToolDefinition("t", "", {"type": object()}),
        lambda: ToolDefinition("t", "", []),  # type: ignore[arg-type]
        lambda: OutputSchema({"maximum": float("inf")}),
        lambda: ask(stop=("",)),
        lambda: ask(stop="END"),  # would be three
        lambda: ask(tools=ADD),
        lambda: ChatRequest(messages=Message.user("x")),  # type: ignore[arg-type]
        lambda: ask(temperature="hot"),
    ],
)
def test_what_a_request_is_made_of_is_checked(make: Callable[[], object]) -> None:
    with pytest.raises(errors.InputError):
        make()
