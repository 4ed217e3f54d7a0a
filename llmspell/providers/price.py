"""Tokens, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from llmspell.errors import ConfigError

__all__ = ["Price", "Usage"]

_MILLION: Final = 1_000_000
_DEAREST: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a call took.

    Args:
        input_tokens: of the request, cached ones included.
        output_tokens: of the answer, those of thought included.
        cached_tokens: of the request's, those read from the provider's cache.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0

    @property
    def total(self) -> int:
        """Of request and answer."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Money for a million tokens, in the unit of ``max_cost_per_month``.

    Args:
        input: of requests.
        output: of answers.
        cached: of requests, from the provider's cache; as ``input`` where None.
    """

    input: float
    output: float
    cached: float | None = None

    def __post_init__(self) -> None:
        for name in ("input", "output", "cached"):
            value = getattr(self, name)
            if value is None and name == "cached":
                continue
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not is_number or not 0 <= value <= _DEAREST:
                raise ConfigError(f"{name} must be a price from 0 to {_DEAREST:,}, got {value!r}")

    def cost(self, usage: Usage) -> float:
        """What these tokens cost."""
        cached = self.input if self.cached is None else self.cached
        fresh = max(0, usage.input_tokens - usage.cached_tokens)
        money = fresh * self.input + usage.cached_tokens * cached
        return (money + usage.output_tokens * self.output) / _MILLION

    def most(self, usage: Usage) -> float:
        """What they cost at most, whatever of it is cached."""
        dearest = self.input if self.cached is None else max(self.input, self.cached)
        return (usage.input_tokens * dearest + usage.output_tokens * self.output) / _MILLION
