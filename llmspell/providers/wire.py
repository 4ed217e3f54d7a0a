"""Values of a response, taken for what they must be."""

from __future__ import annotations

from typing import Final

__all__ = ["count_of", "text_of"]

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
