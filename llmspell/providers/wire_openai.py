"""Chats in the format of OpenAI's chat completions, which many servers speak."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmspell.errors import BadProviderResponse
from llmspell.providers.chat import ChatRequest, ChatResponse, Finish
from llmspell.providers.messages import Message, ToolCall, well_formed
from llmspell.providers.price import Price, Usage
from llmspell.providers.wire import count_of, text_of

__all__ = ["OpenAIStream", "openai_arguments", "openai_response"]

_FINISHES: Final[Mapping[str | None, Finish]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "refused",
}


def openai_arguments(
    request: ChatRequest, model_id: str, *, max_tokens_field: str, stream: bool
) -> dict[str, Any]:
    """What the SDK's ``chat.completions.create`` takes."""
    given: dict[str, Any] = {
        "model": model_id,
        "messages": [_message(message) for message in request.messages],
        max_tokens_field: request.max_tokens,
    }
    if request.tools:
        given["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": dict(tool.schema),
                },
            }
            for tool in request.tools
        ]
        if request.tool_choice != "auto":
            given["tool_choice"] = request.tool_choice
    if request.output is not None:
        given["response_format"] = {
            "type": "json_schema",
            "json_schema": {
                "name": request.output.name,
                "schema": dict(request.output.schema),
                "strict": request.output.is_strict,
            },
        }
    if request.temperature is not None:
        given["temperature"] = request.temperature
    if request.stop:
        given["stop"] = list(request.stop)
    if stream:
        given |= {"stream": True, "stream_options": {"include_usage": True}}
    return given


def _message(message: Message) -> dict[str, Any]:
    made: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.role == "tool":
        made["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        made["content"] = message.text or None
        made["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    return made


def openai_response(
    body: Any, *, provider: str, model_id: str, price: Price | None
) -> ChatResponse:
    """The response of a body.

    Raises:
        BadProviderResponse: it isn't of the format.
    """
    try:
        choice = body["choices"][0]
        message = choice["message"]
        calls = tuple(
            ToolCall(
                text_of(call.get("id") or ""),  # some servers give none, here as in a stream
                text_of(call["function"]["name"]),
                text_of(call["function"].get("arguments") or ""),
            )
            for call in message.get("tool_calls") or ()
        )
        refusal = message.get("refusal")
        return _made(
            text=text_of(message.get("content") or refusal or ""),
            calls=calls,
            finish="refused" if refusal else _finish(choice.get("finish_reason"), calls),
            usage=_usage(body.get("usage")),
            model=text_of(body.get("model") or model_id),
            provider=provider,
            price=price,
        )
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise BadProviderResponse(
            f"{provider}: the response isn't that of a chat completion: {error!r}"
        ) from None


class OpenAIStream:
    """The parts of one streamed answer, put together. For one stream.

    Args:
        provider, model_id, price: of the model.
    """

    def __init__(self, *, provider: str, model_id: str, price: Price | None) -> None:
        self._provider = provider
        self._model = model_id
        self._price = price
        self._texts: list[str] = []
        self._calls: list[tuple[int, list[str]]] = []
        self._open: dict[int, list[str]] = {}
        self._finish: str | None = None
        self._is_refusal = False
        self._usage: Any = None

    def add(self, chunk: Any) -> str:
        """Take the next part; the text in it.

        Raises:
            BadProviderResponse: it isn't of the format.
        """
        try:
            self._model = text_of(chunk.get("model") or self._model)
            self._usage = chunk.get("usage") or self._usage
            choices = chunk.get("choices") or ()
            return self._add(choices[0]) if choices else ""
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise BadProviderResponse(
                f"{self._provider}: a part of the stream isn't that of a chat completion: {error!r}"
            ) from None

    def _add(self, choice: Mapping[str, Any]) -> str:
        self._finish = choice.get("finish_reason") or self._finish
        delta = choice.get("delta") or {}
        for part in delta.get("tool_calls") or ():
            index, call_id = int(part.get("index") or 0), text_of(part.get("id") or "")
            call = self._open.get(index)
            # Some servers give all calls the same number.
            if call is None or (call[0] and call_id not in ("", call[0])):
                call = self._open[index] = ["", "", ""]
                self._calls.append((index, call))
            function = part.get("function") or {}
            call[0] = call_id or call[0]
            call[1] += text_of(function.get("name") or "")
            call[2] += text_of(function.get("arguments") or "")
        self._is_refusal = self._is_refusal or bool(delta.get("refusal"))
        text = text_of(delta.get("content") or delta.get("refusal") or "")
        if text:
            self._texts.append(text)
        return text

    @property
    def is_whole(self) -> bool:
        """Whether the answer has its end."""
        return self._finish is not None

    def response(self) -> ChatResponse:
        """The whole answer; raises BadProviderResponse where a call lacks its name.

        Some servers give a call no id, here as in a whole response.
        """
        listed = sorted(self._calls, key=lambda one: one[0])
        calls = tuple(ToolCall(*parts) for _, parts in listed)
        if not all(call.name for call in calls):
            raise BadProviderResponse(f"{self._provider}: a call in the stream has no name")
        return _made(
            text="".join(self._texts),
            calls=calls,
            finish="refused" if self._is_refusal else _finish(self._finish, calls),
            usage=_usage(self._usage),
            model=self._model,
            provider=self._provider,
            price=self._price,
        )


def _made(
    *,
    text: str,
    calls: tuple[ToolCall, ...],
    finish: Finish,
    usage: Usage,
    model: str,
    provider: str,
    price: Price | None,
) -> ChatResponse:
    cost = None if price is None else price.cost(usage)
    return ChatResponse(well_formed(text), calls, finish, usage, provider, model, cost)


def _finish(reason: str | None, calls: tuple[ToolCall, ...]) -> Finish:
    # Some servers say "stop" of an answer that calls tools.
    found = _FINISHES.get(reason, "stop")
    return "tool_calls" if calls and found == "stop" else found


def _usage(found: Any) -> Usage:
    if not found:
        return Usage()
    details = found.get("prompt_tokens_details") or {}
    return Usage(
        count_of(found.get("prompt_tokens") or 0),
        count_of(found.get("completion_tokens") or 0),
        count_of(details.get("cached_tokens") or 0),
    )
