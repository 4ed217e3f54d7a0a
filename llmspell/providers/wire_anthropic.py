"""Chats in the format of Anthropic's messages."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from llmspell.providers.chat import ChatRequest, ChatResponse, Finish
from llmspell.providers.messages import Message, OutputSchema, Thought, ToolCall, well_formed
from llmspell.providers.price import Price, Usage
from llmspell.providers.wire import count_of, reading, text_of

__all__ = ["AnthropicStream", "anthropic_arguments", "anthropic_response"]

_FINISHES: Final[Mapping[str | None, Finish]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refused",
}


def anthropic_arguments(
    request: ChatRequest, model_id: str, *, stream: bool, thinking: int | None = None
) -> dict[str, Any]:
    """What the SDK's ``messages.create`` takes.

    An output schema becomes a tool that the model must call, which all its models know.

    Args:
        request: to be sent.
        model_id: of the model.
        stream: whether the answer comes in parts.
        thinking: tokens of ``max_tokens`` that it may think with, where the request lets it.
    """
    system = "\n\n".join(said.text for said in request.messages if said.role == "system")
    given: dict[str, Any] = {
        "model": model_id,
        "max_tokens": request.max_tokens,
        "messages": _turns([said for said in request.messages if said.role != "system"]),
    }
    if system:
        given["system"] = system
    tools = [
        {"name": tool.name, "description": tool.description, "input_schema": dict(tool.schema)}
        for tool in request.tools
    ]
    choice: dict[str, Any] | None = None
    if request.tools and request.tool_choice != "auto":
        choice = {"type": "any" if request.tool_choice == "required" else "none"}
    if request.output is not None:
        output = _output_name(request.output, request)
        tools.append(
            {
                "name": output,
                "description": "Gives the answer.",
                "input_schema": dict(request.output.schema),
            }
        )
        has_choice = bool(request.tools) and request.tool_choice != "none"
        choice = {"type": "any"} if has_choice else {"type": "tool", "name": output}
    if tools:
        given["tools"] = tools
    if choice is not None:
        given["tool_choice"] = choice
    # Who must call a tool may not think, and who thinks takes no temperature.
    is_free = choice is None or choice["type"] == "none"
    thinks = thinking is not None and thinking < request.max_tokens and is_free
    if thinks:
        given["thinking"] = {"type": "enabled", "budget_tokens": thinking}
    elif request.temperature is not None:
        # Its scale ends at 1. The SDK knows it no more, since newer models take none.
        given["extra_body"] = {"temperature": min(request.temperature, 1.0)}
    if request.stop:
        given["stop_sequences"] = list(request.stop)
    if stream:
        given["stream"] = True
    return given


def _output_name(output: OutputSchema, request: ChatRequest) -> str:
    """That of the tool which an output schema becomes; another one than those of the tools."""
    taken, name = {tool.name for tool in request.tools}, output.name
    numbers = itertools.count(2)
    while name in taken:
        name = f"{output.name[:48]}_{next(numbers)}"
    return name


def _turns(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Turns of user and assistant by turns: results of tools are said by the user."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        role = "assistant" if message.role == "assistant" else "user"
        blocks = _blocks(message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    return turns


def _blocks(message: Message) -> list[dict[str, Any]]:
    if message.role == "tool":
        result: dict[str, Any] = {
            "type": "tool_result",
            "tool_use_id": message.tool_call_id,
            "content": message.text,
        }
        if message.is_error:
            result["is_error"] = True
        return [result]
    blocks = [_thought(thought) for thought in message.thoughts]
    if message.text.strip():  # a blank block is refused
        blocks.append({"type": "text", "text": message.text})
    for call in message.tool_calls:
        blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": _input(call)})
    return blocks


def _thought(thought: Thought) -> dict[str, Any]:
    if thought.is_redacted:
        return {"type": "redacted_thinking", "data": thought.signature}
    return {"type": "thinking", "thinking": thought.text, "signature": thought.signature}


def _input(call: ToolCall) -> dict[str, Any]:
    try:
        value = json.loads(call.arguments or "{}")
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()  # as the request holds it
    except (RecursionError, ValueError):
        value = None
    # What was no object was answered with an error; the model must see that it said something.
    return value if isinstance(value, dict) else {"invalid": call.arguments}


def anthropic_response(
    body: Any, request: ChatRequest, *, provider: str, model_id: str, price: Price | None
) -> ChatResponse:
    """The response of a body.

    Raises:
        BadProviderResponse: it isn't of the format.
    """
    stream = AnthropicStream(request, provider=provider, model_id=model_id, price=price)
    with reading(provider, "the message"):
        stream.begin(body)
        for number, block in enumerate(body["content"]):
            stream.start(number, block)
        stream.end(body.get("stop_reason"))
        return stream.response()


class AnthropicStream:
    """The parts of one answer, put together. For one answer.

    Args:
        request: that it answers.
        provider, model_id, price: of the model.
    """

    def __init__(
        self, request: ChatRequest, *, provider: str, model_id: str, price: Price | None
    ) -> None:
        output = request.output
        self._output = None if output is None else _output_name(output, request)
        self._provider = provider
        self._model = model_id
        self._price = price
        self._texts: dict[int, list[str]] = {}
        self._calls: dict[int, tuple[str, str, list[str]]] = {}
        self._thoughts: dict[int, tuple[list[str], list[str], bool]] = {}
        self._reason: str | None = None
        self._usage: dict[str, int] = {}

    def add(self, event: Any) -> str:
        """Take the next event; the text in it.

        Raises:
            BadProviderResponse: it isn't of the format.
        """
        with reading(self._provider, "a part of the stream"):
            return self._add(event)

    def _add(self, event: Mapping[str, Any]) -> str:
        match event["type"]:
            case "message_start":
                self.begin(event["message"])
            case "content_block_start":
                return self.start(event["index"], event["content_block"])
            case "content_block_delta":
                return self._delta(event["index"], event["delta"])
            case "message_delta":
                self._count(event.get("usage") or {})
                self.end(event["delta"].get("stop_reason"))
        return ""

    def begin(self, message: Mapping[str, Any]) -> None:
        """Take what a message says of itself."""
        self._model = text_of(message.get("model") or self._model)
        self._count(message.get("usage") or {})

    def start(self, number: int, block: Mapping[str, Any]) -> str:
        """Take a block, or its beginning; the text in it."""
        if block["type"] == "text":
            text = text_of(block.get("text") or "")
            self._texts[number] = [text]
            return text
        if block["type"] == "thinking":
            text, signature = block.get("thinking") or "", block.get("signature") or ""
            self._thoughts[number] = ([text_of(text)], [text_of(signature)], False)
        if block["type"] == "redacted_thinking":
            self._thoughts[number] = ([], [text_of(block["data"])], True)
        if block["type"] == "tool_use":
            given = block.get("input")
            parts = [json.dumps(given)] if given else []
            self._calls[number] = (text_of(block["id"]), text_of(block["name"]), parts)
        return ""

    def end(self, reason: str | None) -> None:
        """Take the reason of the end."""
        self._reason = reason or self._reason

    def _delta(self, number: int, delta: Mapping[str, Any]) -> str:
        match delta["type"]:
            case "text_delta":
                text = text_of(delta["text"])
                self._texts[number].append(text)
                return text
            case "thinking_delta":
                self._thoughts[number][0].append(text_of(delta["thinking"]))
            case "signature_delta":
                self._thoughts[number][1].append(text_of(delta["signature"]))
            case "input_json_delta":
                self._calls[number][2].append(text_of(delta["partial_json"]))
        return ""

    def _count(self, usage: Mapping[str, Any]) -> None:
        for name in (
            *("input_tokens", "output_tokens"),
            *("cache_read_input_tokens", "cache_creation_input_tokens"),
        ):
            if usage.get(name) is not None:
                self._usage[name] = count_of(usage[name])

    @property
    def is_whole(self) -> bool:
        """Whether the answer has its end."""
        return self._reason is not None

    def response(self) -> ChatResponse:
        """The whole answer."""
        text = "".join("".join(parts) for _, parts in sorted(self._texts.items()))
        calls: list[ToolCall] = []
        answer: str | None = None
        for _, (call_id, name, parts) in sorted(self._calls.items()):
            arguments = "".join(parts) or "{}"
            if name == self._output:
                answer = arguments
            else:
                calls.append(ToolCall(call_id, name, arguments))
        finish = _FINISHES.get(self._reason, "stop")
        if finish == "tool_calls" and not calls:
            finish = "stop"
        if answer is not None and not calls:
            text = answer
        read = self._usage.get("cache_read_input_tokens", 0)
        written = self._usage.get("cache_creation_input_tokens", 0)
        usage = Usage(
            self._usage.get("input_tokens", 0) + read + written,
            self._usage.get("output_tokens", 0),
            read,
        )
        cost = None if self._price is None else self._price.cost(usage)
        return ChatResponse(
            well_formed(text),
            tuple(calls),
            finish,
            usage,
            self._provider,
            self._model,
            cost,
            tuple(
                Thought("".join(parts), "".join(signature), is_redacted=is_redacted)
                for _, (parts, signature, is_redacted) in sorted(self._thoughts.items())
            ),
        )
