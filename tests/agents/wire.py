"""The official clients of OpenAI and Anthropic, with a server that says what a test wrote down."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeAlias

from llmspell.providers import AnthropicChat, OpenAIChat
from llmspell.testing import Call, ChatAsked, Fault, Reply, ScriptedChatServer

Scripted: TypeAlias = Reply | Fault

MODELS: dict[str, Callable[[ScriptedChatServer], OpenAIChat | AnthropicChat]] = {
    "openai": lambda server: OpenAIChat("m", api_key="sk-x", base_url=server.openai_url),
    "anthropic": lambda server: AnthropicChat("m", api_key="sk-x", base_url=server.anthropic_url),
}


class Server:
    """One server for all tests, each with replies of its own."""

    def __init__(self) -> None:
        self.replies: list[Scripted] = []
        self.http = ScriptedChatServer(self._next)

    def _next(self, asked: ChatAsked) -> Scripted:
        return self.replies.pop(0) if self.replies else Fault("status", status=400)


class Wire:
    """A client of a kind, and what went over the wire. Thread-safe as the server is."""

    def __init__(self, server: Server, kind: str) -> None:
        self.kind = kind
        self._server = server
        self._first = len(server.http.asked)

    @property
    def server(self) -> ScriptedChatServer:
        return self._server.http

    def model(self, *replies: Scripted) -> OpenAIChat | AnthropicChat:
        """A model that is answered so, in turn."""
        self._server.replies[:] = replies
        return MODELS[self.kind](self._server.http)

    def data(self, value: Any) -> Reply:
        """An answer with structured output, as the provider gives it."""
        if self.kind == "anthropic":
            return Reply(calls=[Call("answer", value)])
        return Reply(json.dumps(value))

    @property
    def asked(self) -> list[ChatAsked]:
        """Requests of this test so far."""
        return self._server.http.asked[self._first :]

    def max_tokens(self, number: int) -> int:
        body = self.asked[number].body
        return int(body.get("max_completion_tokens") or body["max_tokens"])
