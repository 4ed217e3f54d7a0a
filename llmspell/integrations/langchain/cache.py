"""Answers of language models, kept in a tenant's state, as LangChain's cache."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from typing import Any, Final

from llmspell.errors import ConfigError, CorruptFile, MetadataError
from llmspell.integrations.exact import dumps, loads
from llmspell.integrations.handles import as_tenant
from llmspell.integrations.langchain.framework import (
    BaseCache,
    ChatGeneration,
    ChatGenerationChunk,
    Generation,
    GenerationChunk,
    message_to_dict,
    messages_from_dict,
)
from llmspell.tenancy import AsyncTenant, Tenant

__all__ = ["LlmspellCache"]

_LOG = logging.getLogger("llmspell")

_KINDS: Final = {
    kind.__name__: kind
    for kind in (Generation, GenerationChunk, ChatGeneration, ChatGenerationChunk)
}


class LlmspellCache(BaseCache):
    """Answers by prompt and model, for one tenant alone. Thread-safe.

    Answers are kept as plain data: reading them imports and executes nothing. Each call is charged
    as one API call. What the tenant's state can't take raises, as a quota does: LangChain lets that
    end the call of the model.

    Args:
        tenant: whose state they lie in, under ``("langchain", "cache", name)``; a handle, sync or
            async.
        name: tells it from other caches of the tenant.
        ttl: seconds that an answer is good for; None means for ever.

    Raises:
        ConfigError: ``ttl`` is not above 0, or ``tenant`` no handle.
    """

    def __init__(
        self, tenant: Tenant | AsyncTenant, *, name: str = "default", ttl: float | None = None
    ) -> None:
        if ttl is not None and not ttl > 0:
            raise ConfigError(f"ttl must be above 0 seconds, got {ttl!r}")
        self._state = as_tenant(tenant).state
        self._prefix = ("langchain", "cache", name)
        self._ttl = ttl

    def lookup(self, prompt: str, llm_string: str) -> list[Generation] | None:
        """The answers to a prompt by a model of these settings; None where none are kept.

        Raises:
            CorruptFile: what is kept there isn't of :meth:`update`.
        """
        kept = self._state.get(self._key(prompt, llm_string))
        if kept is None:
            return None
        try:
            expires, text = kept
            if expires is not None and time.time() >= expires:
                return None
            return [_generation(*one) for one in loads(text)]
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptFile(f"an answer in the cache {self._prefix} is damaged") from error

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """Keep the answers to a prompt, in place of those before.

        Answers that hold objects which are no data are not kept, and a warning is logged.

        Raises:
            InvalidStateValue: they are longer than 8 MiB.
        """
        expires = None if self._ttl is None else time.time() + self._ttl
        try:
            text = dumps([_parts(one) for one in return_val])
        except MetadataError as error:
            _LOG.warning("an answer is not kept in the cache %s: %s", self._prefix, error)
            return
        self._state.set(self._key(prompt, llm_string), [expires, text])

    def clear(self, **kwargs: Any) -> None:
        """Forget all answers of this cache.

        Args:
            kwargs: LangChain's; there are none that mean anything here.
        """
        self._state.clear(self._prefix)

    def _key(self, prompt: str, llm_string: str) -> tuple[str, ...]:
        # Prompts have any length; a key hasn't.
        hashed = (
            hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=32).hexdigest()
            for text in (llm_string, prompt)
        )
        return (*self._prefix, *hashed)


def _parts(generation: Generation) -> list[Any]:
    kind = type(generation).__name__
    said = (
        message_to_dict(generation.message)
        if isinstance(generation, ChatGeneration)
        else generation.text
    )
    return [kind, said, generation.generation_info]


def _generation(kind: str, said: Any, info: Any) -> Generation:
    if issubclass(_KINDS[kind], ChatGeneration):
        (message,) = messages_from_dict([said])
        return _KINDS[kind](message=message, generation_info=info)
    return _KINDS[kind](text=said, generation_info=info)
