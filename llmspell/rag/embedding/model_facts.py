"""What is known of a service's models before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmspell.errors import ConfigError

__all__ = ["ModelFacts", "facts_of"]


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of a model beforehand.

    Attributes:
        dim: length of its vectors.
        max_tokens: the longest text that it takes.
    """

    dim: int
    max_tokens: int


def facts_of(
    known: Mapping[str, ModelFacts], model: str, dim: int | None, max_tokens: int | None
) -> ModelFacts:
    """What is known of a model, with what was given in place of it.

    Raises:
        ConfigError: neither known nor given, or out of range.
    """
    found = known.get(model)
    dim = dim if dim is not None or found is None else found.dim
    max_tokens = max_tokens if max_tokens is not None or found is None else found.max_tokens
    for name, value in (("dim", dim), ("max_tokens", max_tokens)):
        if value is None:
            raise ConfigError(f"{name} of model {model!r} isn't known here; give it")
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"{name} must be an int of at least 1, got {value!r}")
    assert dim is not None and max_tokens is not None
    return ModelFacts(dim, max_tokens)
