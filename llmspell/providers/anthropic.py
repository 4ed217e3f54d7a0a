"""Models of Anthropic."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

from llmspell.errors import ConfigError
from llmspell.providers.chat import ChatRequest, ChatResponse
from llmspell.providers.http_chat import HttpChat
from llmspell.providers.price import Price
from llmspell.providers.settings import ConnectionSettings
from llmspell.providers.wire import part_of
from llmspell.providers.wire_anthropic import (
    AnthropicStream,
    anthropic_arguments,
    anthropic_response,
)
from llmspell.remote import KeySource, SecretReader

__all__ = ["AnthropicChat"]

# As the provider has it.
_LEAST_THINKING: Final = 1_024


class AnthropicChat(HttpChat):
    """A model by the official SDK of Anthropic (extra ``anthropic``). Thread-safe.

    A :class:`ChatRequest` with an output schema has the model call a tool of that schema, whose
    arguments are the text of the answer.

    See :class:`llmspell.providers.http_chat.HttpChat` for the arguments that all models have; a
    header for it is ``anthropic-beta``.

    Args:
        thinking: tokens of a request's ``max_tokens`` that the model may think with before it
            answers, 1,024 at least; None for none. A request that has no more ``max_tokens``, or
            has the model call a tool, as one with an output schema does, is answered without.
    """

    _sdk_name = "anthropic"
    _client_name = "AsyncAnthropic"
    _home = "https://api.anthropic.com"

    def __init__(
        self,
        model_id: str,
        *,
        api_key: str | KeySource,
        provider: str | None = None,
        base_url: str | None = None,
        price: Price | None = None,
        connections: ConnectionSettings | None = None,
        bytes_per_token: float = 1.0,
        headers: Mapping[str, str] | None = None,
        secrets: SecretReader | None = None,
        thinking: int | None = None,
    ) -> None:
        super().__init__(
            model_id,
            api_key=api_key,
            provider=provider,
            base_url=base_url,
            price=price,
            connections=connections,
            bytes_per_token=bytes_per_token,
            headers=headers,
            secrets=secrets,
        )
        is_count = isinstance(thinking, int) and not isinstance(thinking, bool)
        if thinking is not None and not (is_count and thinking >= _LEAST_THINKING):
            raise ConfigError(
                f"thinking must be an int of {_LEAST_THINKING} or more, got {thinking!r}"
            )
        self._thinking = thinking

    async def _ask(self, client: Any, request: ChatRequest) -> ChatResponse:
        given = self._given(request, stream=False)
        raw = await client.messages.with_raw_response.create(**given)
        return anthropic_response(
            raw.http_response.json(),
            request,
            provider=self._provider,
            model_id=self._model_id,
            price=self._price,
        )

    async def _parts(self, client: Any, request: ChatRequest) -> AsyncGenerator[Any, None]:
        given = self._given(request, stream=True)
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

    def _given(self, request: ChatRequest, *, stream: bool) -> dict[str, Any]:
        return anthropic_arguments(request, self._model_id, stream=stream, thinking=self._thinking)
