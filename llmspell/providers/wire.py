"""Values of a response, taken for what they must be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from llmspell.errors import BadProviderResponse, LlmspellError

__all__ = ["count_of", "part_of", "reading", "text_of"]

# No model takes or gives so many; a quota could not count much larger ones.
_MOST_TOKENS: Final = 1_000_000_000


def text_of(value: object) -> str:
    """A text; raises TypeError where it is none."""
    if not isinstance(value, str):
        raise TypeError(f"a text was expected, got {type(value).__name__}")
    return value


def count_of(value: object) -> int:
    """A count of tokens; raises ValueError where it can't be one."""
    if not isinstance(value, (int, float)) or not 0 <= value <= _MOST_TOKENS:
        raise ValueError(f"no count of tokens: {value!r:.80}")
    return int(value)


def part_of(made: Any) -> dict[str, Any]:
    """What the SDK made of a part of a stream; raises ValueError where it was no JSON object."""
    if not hasattr(made, "to_dict"):
        raise ValueError(f"a part of the stream is no object, but {type(made).__name__}")
    part: dict[str, Any] = made.to_dict(warnings=False)
    return part


@contextmanager
def reading(provider: str, what: str) -> Iterator[None]:
    """Raise BadProviderResponse for what fails on a value of another kind than expected.

    Args:
        provider, what: who was to send what, for the message.
    """
    try:
        yield
    except LlmspellError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise BadProviderResponse(
            f"{provider}: {what} isn't of the format: {error!r:.300}"
        ) from None
