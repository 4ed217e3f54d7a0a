"""Replies in the wire formats of OpenAI and Anthropic: bodies, streams and errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, Final

from llmspell.testing.chat_replies import Call, Reply

__all__ = ["ANTHROPIC_PATH", "OPENAI_PATH", "body_of", "error_of", "events_of"]

OPENAI_PATH: Final = "/v1/chat/completions"
ANTHROPIC_PATH: Final = "/v1/messages"

_ANTHROPIC_ERRORS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_REASONS: Final = {
    ANTHROPIC_PATH: {"stop": "end_turn", "length": "max_tokens", "refused": "refusal"},
    OPENAI_PATH: {"stop": "stop", "length": "length", "refused": "content_filter"},
}


def body_of(path: str, reply: Reply, model: str) -> dict[str, Any]:
    """The body of a whole answer."""
    if path == ANTHROPIC_PATH:
        blocks = _thoughts(reply)
        if reply.text:
            blocks.append({"type": "text", "text": reply.text})
        for number, call in enumerate(reply.calls):
            given = call.arguments if not isinstance(call.arguments, str) else {}
            blocks.append(
                {"type": "tool_use", "id": f"toolu_{number}", "name": call.name, "input": given}
            )
        return _anthropic_message(reply, model, blocks, _reason(path, reply))
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None}
    if reply.calls:
        message["tool_calls"] = [
            {
                "id": f"call_{number}",
                "type": "function",
                "function": {"name": call.name, "arguments": _arguments(call)},
            }
            for number, call in enumerate(reply.calls)
        ]
    choice = {"index": 0, "message": message, "finish_reason": _reason(path, reply)}
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": model,
        "choices": [choice],
        "usage": _openai_usage(reply),
    }


def events_of(path: str, reply: Reply, model: str) -> Iterator[bytes]:
    """The events of a streamed answer, each as bytes of the stream."""
    if path == ANTHROPIC_PATH:
        for event in _anthropic_events(reply, model):
            yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
        return
    for chunk in _openai_chunks(reply, model):
        yield f"data: {json.dumps(chunk)}\n\n".encode()
    yield b"data: [DONE]\n\n"


def error_of(path: str, status: int, said: str | None = None) -> dict[str, Any]:
    """The body of an error, which is an event of a stream, too."""
    said = f"scripted status {status}" if said is None else said
    if path == ANTHROPIC_PATH:
        kind = _ANTHROPIC_ERRORS.get(status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": said}}
    kind = "rate_limit_exceeded" if status == 429 else "server_error"
    if status in (401, 403):
        kind = "invalid_api_key"
    elif 400 <= status < 500 and status != 429:
        kind = "invalid_request_error"
    return {"error": {"message": said, "type": kind, "code": kind, "param": None}}


def _reason(path: str, reply: Reply) -> str:
    if reply.calls:
        return "tool_use" if path == ANTHROPIC_PATH else "tool_calls"
    return _REASONS[path][reply.finish]


def _arguments(call: Call) -> str:
    return call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments)


def _thoughts(reply: Reply) -> list[dict[str, Any]]:
    """Blocks of thinking; the signature is of the text, as a provider's is."""
    blocks: list[dict[str, Any]] = []
    if reply.thought:
        signature = sha256(reply.thought.encode()).hexdigest()
        blocks.append({"type": "thinking", "thinking": reply.thought, "signature": signature})
    if reply.redacted_thought:
        blocks.append({"type": "redacted_thinking", "data": reply.redacted_thought})
    return blocks


def _pieces(text: str) -> list[str]:
    """A text in pieces, as models stream it: words with the space before them."""
    return [text[start : start + 7] for start in range(0, len(text), 7)]


def _openai_usage(reply: Reply) -> dict[str, Any]:
    return {
        "prompt_tokens": reply.input_tokens,
        "completion_tokens": reply.output_tokens,
        "total_tokens": reply.input_tokens + reply.output_tokens,
        "prompt_tokens_details": {"cached_tokens": reply.cached_tokens},
    }


def _openai_chunks(reply: Reply, model: str) -> Iterator[dict[str, Any]]:
    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        return {
            "id": "chatcmpl-scripted",
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": model,
            "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
            "usage": None,
        }

    yield chunk({"role": "assistant", "content": ""})
    for piece in _pieces(reply.text):
        yield chunk({"content": piece})
    for number, call in enumerate(reply.calls):
        function: dict[str, Any] = {"name": call.name, "arguments": ""}
        head = {"index": number, "id": f"call_{number}", "type": "function", "function": function}
        yield chunk({"tool_calls": [head]})
        for piece in _pieces(_arguments(call)):
            yield chunk({"tool_calls": [{"index": number, "function": {"arguments": piece}}]})
    yield chunk({}, _reason(OPENAI_PATH, reply))
    yield {**chunk({}), "choices": [], "usage": _openai_usage(reply)}


def _anthropic_message(
    reply: Reply, model: str, blocks: list[dict[str, Any]], reason: str | None
) -> dict[str, Any]:
    return {
        "id": "msg_scripted",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": blocks,
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": {
            "input_tokens": reply.input_tokens - reply.cached_tokens,
            "cache_read_input_tokens": reply.cached_tokens,
            "cache_creation_input_tokens": 0,
            "output_tokens": 1 if reason is None else reply.output_tokens,
        },
    }


def _anthropic_events(reply: Reply, model: str) -> Iterator[dict[str, Any]]:
    yield {"type": "message_start", "message": _anthropic_message(reply, model, [], None)}
    yield {"type": "ping"}
    number = 0
    for thought in _thoughts(reply):
        is_open = thought["type"] == "thinking"
        head = {**thought, "thinking": "", "signature": ""} if is_open else thought
        yield {"type": "content_block_start", "index": number, "content_block": head}
        deltas: list[dict[str, Any]] = []
        if is_open:
            for piece in _pieces(reply.thought):
                deltas.append({"type": "thinking_delta", "thinking": piece})
            deltas.append({"type": "signature_delta", "signature": thought["signature"]})
        for delta in deltas:
            yield {"type": "content_block_delta", "index": number, "delta": delta}
        yield {"type": "content_block_stop", "index": number}
        number += 1
    if reply.text:
        yield {
            "type": "content_block_start",
            "index": number,
            "content_block": {"type": "text", "text": ""},
        }
        for piece in _pieces(reply.text):
            delta = {"type": "text_delta", "text": piece}
            yield {"type": "content_block_delta", "index": number, "delta": delta}
        yield {"type": "content_block_stop", "index": number}
        number += 1
    for place, call in enumerate(reply.calls):
        block = {"type": "tool_use", "id": f"toolu_{place}", "name": call.name, "input": {}}
        yield {"type": "content_block_start", "index": number, "content_block": block}
        for piece in _pieces(_arguments(call)):
            delta = {"type": "input_json_delta", "partial_json": piece}
            yield {"type": "content_block_delta", "index": number, "delta": delta}
        yield {"type": "content_block_stop", "index": number}
        number += 1
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": _reason(ANTHROPIC_PATH, reply), "stop_sequence": None},
        "usage": {"output_tokens": reply.output_tokens},
    }
    yield {"type": "message_stop"}
