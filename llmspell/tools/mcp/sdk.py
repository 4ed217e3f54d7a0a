"""The official SDK, imported when it is used: it takes most of a second."""

from __future__ import annotations

from typing import Any

from llmspell.errors import MissingDependency

__all__ = ["require_mcp"]


def require_mcp() -> Any:
    """The SDK. Raises MissingDependency where it isn't installed."""
    try:
        import mcp
    except ImportError as error:
        raise MissingDependency("mcp", "mcp") from error
    return mcp
