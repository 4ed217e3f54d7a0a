"""Models of Anthropic."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

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
from llmspell.security import Secret

__all__ = ["AnthropicChat"]


class AnthropicChat(HttpChat):
    """A model by the official SDK of Anthropic (extra ``anthropic``). Thread-safe.

    A :class:`ChatRequest` with an output schema has the model call a tool of that schema, whose
    arguments are the text of the answer.

    Args:
        model_id: as the provider names it.
        api_key: a text, or a secret of :class:`llmspell.security.SecretStore`.
        provider: what it is called in responses, errors and metrics.
        base_url: of the server; that of Anthropic where None.
        price: of its tokens; without one nothing is charged as money.
        connections: of the model; those of :class:`ConnectionSettings` where None.
        bytes_per_token: of UTF-8, of which prompts have one token at least. By 1 no quota is ever
            overrun; by more, less is set aside for a prompt, and one that takes more than that is
            charged after the call.
        headers: sent with each request, such as ``anthropic-beta``.
    """

    _sdk_name = "anthropic"

    def __init__(
        self,
        model_id: str,
        *,
        api_key: str | Secret[str],
        provider: str = "anthropic",
        base_url: str | None = None,
        price: Price | None = None,
        connections: ConnectionSettings | None = None,
        bytes_per_token: float = 1.0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            model_id,
            provider=provider,
            api_key=api_key,
            base_url=base_url,
            price=price,
            connections=connections,
            bytes_per_token=bytes_per_token,
        )
        self._headers = dict(headers or {})

    def _make_client(self, http_client: Any) -> Any:
        return self._sdk().AsyncAnthropic(
            api_key=self._revealed_key(),
            base_url=self._base_url or "https://api.anthropic.com",
            max_retries=0,
            default_headers=self._headers,
            http_client=http_client,
            timeout=http_client.timeout,
        )

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
