"""Models of Anthropic."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from llmspell.providers.chat import ChatRequest, ChatResponse
from llmspell.providers.http_chat import HttpChat
from llmspell.providers.wire import part_of
from llmspell.providers.wire_anthropic import (
    AnthropicStream,
    anthropic_arguments,
    anthropic_response,
)

__all__ = ["AnthropicChat"]


class AnthropicChat(HttpChat):
    """A model by the official SDK of Anthropic (extra ``anthropic``). Thread-safe.

    A :class:`ChatRequest` with an output schema has the model call a tool of that schema, whose
    arguments are the text of the answer.

    See :class:`llmspell.providers.http_chat.HttpChat` for the arguments; a header for it is
    ``anthropic-beta``.
    """

    _sdk_name = "anthropic"
    _client_name = "AsyncAnthropic"
    _home = "https://api.anthropic.com"

    async def _ask(self, client: Any, request: ChatRequest) -> ChatResponse:
        given = anthropic_arguments(request, self._model_id, stream=False)
        raw = await client.messages.with_raw_response.create(**given)
        return anthropic_response(
            raw.http_response.json(),
            request,
            provider=self._provider,
            model_id=self._model_id,
            price=self._price,
        )

    async def _parts(self, client: Any, request: ChatRequest) -> AsyncGenerator[Any, None]:
        given = anthropic_arguments(request, self._model_id, stream=True)
        stream = await client.messages.create(**given)
        try:
            async for event in stream:
                yield part_of(event)
        finally:
            await stream.close()

    def _assembly(self, request: ChatRequest) -> AnthropicStream:
        return AnthropicStream(
            request, provider=self._provider, model_id=self._model_id, price=self._price
        )
