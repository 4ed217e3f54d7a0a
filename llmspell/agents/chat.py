"""How a run asks its model: what was said as a request, and the response as an answer."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, nullcontext
from typing import Any, Final

from llmspell.agents.history import AgentMessage, Answer, Call, Said
from llmspell.errors import BadProviderResponse
from llmspell.providers import (
    ChatModel,
    ChatRequest,
    ChatResponse,
    Message,
    OutputSchema,
    TextDelta,
    Thought,
    ToolDefinition,
    deadline,
)
from llmspell.providers import ToolCall as ChatCall
from llmspell.tools import ToolSpec

__all__ = ["ask", "request_of"]

#: The model's provider says itself when a run's time is over; the run ends by its own clock.
_LEAST_SECONDS: Final = 0.001
#: An answer isn't asked for where the tenant can't pay for so many tokens: it would be cut off.
_LEAST_TOKENS: Final = 256


def request_of(
    *,
    instructions: str,
    messages: Sequence[AgentMessage],
    tools: Sequence[ToolSpec],
    schema: dict[str, Any] | None,
    max_tokens: int,
) -> ChatRequest:
    """What a model is asked; raises InputError where it can't be."""
    told = [Message.system(instructions)] if instructions.strip() else []
    told += [_message(one) for one in messages]
    return ChatRequest(
        messages=tuple(told),
        max_tokens=max_tokens,
        min_tokens=min(_LEAST_TOKENS, max_tokens),
        tools=tuple(ToolDefinition(one.name, one.description, one.parameters) for one in tools),
        output=None if schema is None else OutputSchema(schema),
    )


async def ask(
    model: ChatModel,
    request: ChatRequest,
    *,
    until: float,
    on_text: Callable[[str], Awaitable[None]] | None,
) -> Answer:
    """Ask a model, which bills the operation that this is in.

    Args:
        until: by ``time.monotonic``; no call of the model takes longer.
        on_text: told of text as it comes; without it the answer isn't streamed.
    """
    with deadline(max(_LEAST_SECONDS, until - time.monotonic())):
        if on_text is None:
            return _answer(await model.acomplete(request))
        stream = model.astream(request)
        response: ChatResponse | None = None
        # A generator, as most models give, that is left early ends its request at once.
        closing: Any = aclosing(stream) if hasattr(stream, "aclose") else nullcontext()
        async with closing:
            async for event in stream:
                if isinstance(event, TextDelta):
                    await on_text(event.text)
                else:
                    response = event
    if response is None:
        raise BadProviderResponse(f"{model.provider}: the stream ended without its response")
    return _answer(response)


def _message(one: AgentMessage) -> Message:
    if isinstance(one, Said):
        return Message.user(one.text) if one.role == "user" else Message.assistant(one.text)
    if isinstance(one, Answer):
        calls = tuple(ChatCall(_id_of(call), call.tool, call.arguments) for call in one.calls)
        return Message.assistant(one.text, calls, tuple(Thought(*kept) for kept in one.thoughts))
    call, result = one
    return Message.tool(_id_of(call), result.text, is_error=not result.is_ok)


def _id_of(call: Call) -> str:
    """Some servers give none."""
    return call.id or f"call-{call.key}"


def _answer(response: ChatResponse) -> Answer:
    return Answer(
        response.text,
        tuple(Call("", one.id, one.name, one.arguments) for one in response.tool_calls),
        input_tokens=response.usage.input_tokens,
        output_tokens=response.usage.output_tokens,
        cost=response.cost or 0.0,
        model=response.model,
        finish=response.finish,
        thoughts=tuple((one.text, one.signature, one.is_redacted) for one in response.thoughts),
    )
