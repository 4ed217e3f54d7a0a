"""What was given, in a message that may come into a log."""

from __future__ import annotations

from typing import Final

__all__ = ["shown"]

_MAX_CHARS: Final = 80


def shown(text: str) -> str:
    """A part of what was given: escaped, so that it can't forge a line of a log, and short."""
    return ascii(text if len(text) <= _MAX_CHARS else text[:_MAX_CHARS] + "...")
