"""How an embedding service is asked."""

from __future__ import annotations

import math
from dataclasses import dataclass

from llmspell.errors import ConfigError

__all__ = ["EmbeddingUsage", "RemoteSettings"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteSettings:
    """How an embedding service is asked, and how long.

    Args:
        concurrency: requests under way at once, over all threads that use the embedder.
        batch_texts: texts in a request; None for what suits the service.
        batch_tokens: tokens in a request; None for what suits the service.
        retries: how often a request is sent again after a failure that may pass. Embedding changes
            nothing at the service, so every request may be sent again.
        retry_delay: seconds; the n-th retry waits a random time of up to ``retry_delay * 2**n``,
            on top of what the service asked for.
        timeout: seconds that a call of ``embed`` may take, with all its requests and retries.
        connect_timeout: seconds to connect.
        price: money for a million tokens, in the unit of ``max_cost_per_month``.
        allow_http: send a key by plain HTTP to another machine, where anyone on the way can read
            it.

    Raises:
        ConfigError: a setting is out of range.
    """

    concurrency: int = 4
    batch_texts: int | None = None
    batch_tokens: int | None = None
    retries: int = 3
    retry_delay: float = 0.1
    timeout: float = 60.0
    connect_timeout: float = 5.0
    price: float = 0.0
    allow_http: bool = False

    def __post_init__(self) -> None:
        for name in ("concurrency", "batch_texts", "batch_tokens"):
            value = getattr(self, name)
            if value is not None and not (_is_int(value) and value >= 1):
                raise ConfigError(f"{name} must be an int of at least 1, got {value!r}")
        if not (_is_int(self.retries) and 0 <= self.retries <= 10):
            raise ConfigError(f"retries must be an int from 0 to 10, got {self.retries!r}")
        for name in ("timeout", "connect_timeout"):
            value = getattr(self, name)
            if not (_is_finite(value) and value > 0):
                raise ConfigError(f"{name} must be a number of seconds above 0, got {value!r}")
        for name in ("retry_delay", "price"):
            value = getattr(self, name)
            if not (_is_finite(value) and value >= 0):
                raise ConfigError(f"{name} must be a number of at least 0, got {value!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingUsage:
    """What an embedder has used since it was made.

    Attributes:
        requests: that were sent, those sent again included.
        texts: that were embedded.
        tokens: as the service counted, or as guessed where it doesn't say.
    """

    requests: int = 0
    texts: int = 0
    tokens: int = 0


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
