"""Results of tools as the content of MCP."""

from __future__ import annotations

from typing import Any, Final

from llmspell.tools.result import ToolResult

__all__ = ["content_of"]

_BLOCKS: Final = frozenset({"text", "image", "audio", "resource", "resource_link"})


def content_of(result: ToolResult) -> Any:
    """What a client is told of a result.

    A value that is one block of MCP's content, or a list of them, is told as it is: so a tool gives
    an image as ``{"type": "image", "data": ..., "mimeType": ...}``. Any other is told as text, and
    an object as structured content too.
    """
    from mcp import types

    blocks = _blocks(result.value) if result.fault is None else None
    if blocks is not None:
        return types.CallToolResult(content=blocks)
    is_object = result.fault is None and isinstance(result.value, dict)
    return types.CallToolResult(
        content=[types.TextContent(text=result.text)],
        structured_content=result.value if is_object else None,
        is_error=result.fault is not None,
    )


def _blocks(value: Any) -> list[Any] | None:
    from mcp import types
    from pydantic import TypeAdapter, ValidationError

    listed = value if isinstance(value, list) else [value]
    if not listed or not all(
        isinstance(one, dict) and one.get("type") in _BLOCKS for one in listed
    ):
        return None
    try:
        return TypeAdapter(list[types.ContentBlock]).validate_python(listed)
    except ValidationError:
        return None
