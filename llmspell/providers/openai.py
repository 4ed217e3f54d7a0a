"""Models of OpenAI, and of the many servers that speak its chat completions."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

from llmspell.errors import ConfigError
from llmspell.providers.chat import ChatRequest, ChatResponse
from llmspell.providers.http_chat import HttpChat
from llmspell.providers.price import Price
from llmspell.providers.settings import ConnectionSettings
from llmspell.providers.wire import part_of
from llmspell.providers.wire_openai import OpenAIStream, openai_arguments, openai_response
from llmspell.remote import KeySource, SecretReader

__all__ = ["OpenAIChat"]


class OpenAIChat(HttpChat):
    """A model by the official SDK of OpenAI (extra ``openai``). Thread-safe.

    vLLM, Ollama, TGI, llama.cpp, LiteLLM, OpenRouter and others are reached by ``base_url``.

    See :class:`llmspell.providers.http_chat.HttpChat` for the arguments that all models have;
    ``base_url`` goes up to ``/v1``.

    Args:
        max_tokens_field: ``max_completion_tokens`` for OpenAI, ``max_tokens`` for servers that
            know only the older name; where None the first without a ``base_url``, and for those
            of OpenAI and Azure.
    """

    _sdk_name = "openai"
    _client_name = "AsyncOpenAI"
    _home = "https://api.openai.com/v1"

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
        max_tokens_field: Literal["max_completion_tokens", "max_tokens"] | None = None,
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
        if max_tokens_field not in (None, "max_completion_tokens", "max_tokens"):
            raise ConfigError(
                "max_tokens_field must be max_completion_tokens or max_tokens, got "
                f"{max_tokens_field!r}"
            )
        is_theirs = base_url is None or _is_theirs(base_url)
        self._field = max_tokens_field or ("max_completion_tokens" if is_theirs else "max_tokens")

    async def _ask(self, client: Any, request: ChatRequest) -> ChatResponse:
        given = self._given(request, stream=False)
        raw = await client.chat.completions.with_raw_response.create(**given)
        return openai_response(
            raw.http_response.json(),
            provider=self._provider,
            model_id=self._model_id,
            price=self._price,
        )

    async def _parts(self, client: Any, request: ChatRequest) -> AsyncGenerator[Any, None]:
        stream = await client.chat.completions.create(**self._given(request, stream=True))
        try:
            async for chunk in stream:
                yield part_of(chunk)
        finally:
            await stream.close()

    def _assembly(self, request: ChatRequest) -> OpenAIStream:
        return OpenAIStream(provider=self._provider, model_id=self._model_id, price=self._price)

    def _given(self, request: ChatRequest, *, stream: bool) -> dict[str, Any]:
        return openai_arguments(
            request, self._model_id, max_tokens_field=self._field, stream=stream
        )


def _is_theirs(base_url: str) -> bool:
    """Whether OpenAI's own models are there, of which the newer take no ``max_tokens``."""
    host = urlsplit(base_url).hostname or ""
    return host == "api.openai.com" or host.endswith((".api.openai.com", ".openai.azure.com"))
