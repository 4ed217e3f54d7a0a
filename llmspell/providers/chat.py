"""What a chat model is: a request, a response, and the protocol between them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias, runtime_checkable

from llmspell.errors import InputError
from llmspell.providers.messages import Message, OutputSchema, Thought, ToolCall, ToolDefinition
from llmspell.providers.price import Price, Usage

__all__ = [
    "ChatModel",
    "ChatRequest",
    "ChatResponse",
    "Finish",
    "StreamEvent",
    "TextDelta",
    "require_request",
]

Finish: TypeAlias = Literal["stop", "length", "tool_calls", "refused"]
"""Why a model ended: by itself, at ``max_tokens``, to call tools, or by the provider's filter."""

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """What a model is asked.

    Args:
        messages: in order; those of role ``system`` come first.
        max_tokens: that the answer may have; it bounds what the call can cost.
        min_tokens: to which ``max_tokens`` may be lowered where the tenant that pays hasn't more
            left; None refuses the call then.
        tools: that it may call.
        tool_choice: ``auto`` lets it choose, ``required`` has it call some tool, ``none`` none.
        output: what the answer must be, as JSON.
        temperature: 0 to 2; the provider's own where None.
        stop: texts at which it stops.
    """

    messages: tuple[Message, ...]
    max_tokens: int = 1_024
    min_tokens: int | None = None
    tools: tuple[ToolDefinition, ...] = ()
    tool_choice: Literal["auto", "required", "none"] = "auto"
    output: OutputSchema | None = None
    temperature: float | None = None
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("messages", "tools", "stop"):
            given = getattr(self, name)
            if isinstance(given, str) or not isinstance(given, Iterable):
                raise InputError(f"{name} must be several, got {given!r:.80}; put one in a list")
            object.__setattr__(self, name, tuple(given))
        _check(self)


def require_request(given: object) -> None:
    """Raise InputError unless a model is asked a request."""
    if not isinstance(given, ChatRequest):
        raise InputError(
            "a model is asked a ChatRequest, such as "
            f"ChatRequest(messages=[Message.user('Hello')]), got {given!r:.80}"
        )


def _check(request: ChatRequest) -> None:
    messages = request.messages
    if not messages or not all(isinstance(message, Message) for message in messages):
        raise InputError("messages must be one or more of llmspell.providers.Message")
    spoken = [message.role for message in messages]
    if spoken[-1] not in ("user", "tool"):
        raise InputError(f"the last message must be of a user or a tool, got {spoken[-1]!r}")
    leading = 0
    while spoken[leading] == "system":
        leading += 1
    if "system" in spoken[leading:]:
        raise InputError("messages of role 'system' must come before all others")
    count = request.max_tokens
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise InputError(f"max_tokens must be an int of 1 or more, got {count!r}")
    least = request.min_tokens
    if least is not None and (
        not isinstance(least, int) or isinstance(least, bool) or not 1 <= least <= count
    ):
        raise InputError(f"min_tokens must be an int of 1 to max_tokens, {count}, got {least!r}")
    if request.tool_choice not in ("auto", "required", "none"):
        raise InputError(f"tool_choice must be auto, required or none, got {request.tool_choice!r}")
    if request.tool_choice == "required" and not request.tools:
        raise InputError("tool_choice 'required' needs a tool")
    if not all(isinstance(tool, ToolDefinition) for tool in request.tools):
        raise InputError("tools must be of llmspell.providers.ToolDefinition")
    names = [tool.name for tool in request.tools]
    if len(set(names)) < len(names):
        raise InputError("two tools have the same name")
    if request.output is not None:
        names.append(request.output.name)
    for name in names:
        if not _NAME.match(name):
            raise InputError(
                f"a name has letters, digits, '_' and '-', 64 at most, got {name[:80]!r}"
            )
    if not all(isinstance(text, str) and text for text in request.stop):
        raise InputError("stop must be texts that aren't empty")
    heat = request.temperature
    is_number = isinstance(heat, (int, float)) and not isinstance(heat, bool)
    if heat is not None and not (is_number and 0 <= heat <= 2):
        raise InputError(f"temperature must be from 0 to 2, got {heat!r}")


@dataclass(frozen=True, slots=True)
class ChatResponse:
    """What a model answered.

    Args:
        text: of the answer; empty where it only calls tools.
        tool_calls: that it asks for.
        finish: why it ended.
        usage: tokens, as the provider counted them.
        provider: who answered.
        model: that answered, as the provider names it.
        cost: money, in the unit of the price; None where the model has no price.
        thoughts: of the model, where it thinks and its provider wants to see them again.
    """

    text: str
    tool_calls: tuple[ToolCall, ...]
    finish: Finish
    usage: Usage
    provider: str
    model: str
    cost: float | None = None
    thoughts: tuple[Thought, ...] = ()

    @property
    def message(self) -> Message:
        """It, as a message of the next request."""
        return Message.assistant(self.text, self.tool_calls, self.thoughts)


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Some more text of an answer that is under way."""

    text: str


StreamEvent: TypeAlias = TextDelta | ChatResponse
"""What a stream gives: any number of texts, then the whole response, once."""


@runtime_checkable
class ChatModel(Protocol):
    """Something that answers. Implementations are thread-safe.

    All calls raise:
        ProviderError: see :mod:`llmspell.errors`.
        QuotaExceeded: the tenant whose operation this is can't pay; nothing was sent.
        MissingDependency: the provider's extra isn't installed.
    """

    @property
    def provider(self) -> str:
        """Who serves it; ``openai``, ``anthropic``, or what it was called when it was made."""

    @property
    def model_id(self) -> str:
        """Name of the model at its provider."""

    @property
    def price(self) -> Price | None:
        """What tokens cost; None where it isn't known, and nothing is charged as money."""

    def complete(self, request: ChatRequest) -> ChatResponse:
        """Answer."""

    async def acomplete(self, request: ChatRequest) -> ChatResponse:
        """Answer, without holding up the event loop; cancelling it ends the request."""

    def astream(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        """Answer bit by bit; closing the iterator ends the request."""
