"""What an MCP server says of its tools, read as far as it may go on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from llmspell.errors import ToolFailed

__all__ = [
    "MAX_LISTED_BYTES",
    "MAX_PAGES",
    "MAX_TOOLS",
    "changes_of",
    "is_repeatable",
    "listed_tools",
]

MAX_TOOLS: Final = 1_000
MAX_PAGES: Final = 100
#: Of all pages as JSON; a thousand tools with descriptions of 4,000 characters take half of it.
MAX_LISTED_BYTES: Final = 8 << 20


async def listed_tools(client: Any) -> list[Any]:
    """All tools of the server that a client of the SDK is connected with.

    Raises:
        ToolFailed: its list goes on beyond a limit, or gives a cursor for a second time. A part of
            the list isn't taken for all of it.
    """
    tools: list[Any] = []
    seen: set[str] = set()
    size = 0
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        # A page that the SDK remembers would be kept besides those counted here.
        page = await client.list_tools(cursor=cursor, cache_mode="bypass")
        tools += page.tools
        size += len(page.model_dump_json())
        if len(tools) > MAX_TOOLS or size > MAX_LISTED_BYTES:
            break
        cursor = page.next_cursor
        if not cursor:
            return tools
        if cursor in seen:
            raise ToolFailed(
                f"its list of tools has no end: the cursor {cursor[:80]!r} comes twice"
            )
        seen.add(cursor)
    raise ToolFailed(
        f"its list of tools doesn't end within {MAX_TOOLS:,} tools, {MAX_PAGES} pages and "
        f"{MAX_LISTED_BYTES >> 20} MiB"
    )


def is_repeatable(tool: Any) -> bool:
    """Whether a tool, by what the server says of it, may be called twice in place of once."""
    hints = tool.annotations
    return hints is not None and bool(hints.read_only_hint or hints.idempotent_hint)


def changes_of(first: Mapping[str, Any], now: Sequence[Any]) -> dict[str, str]:
    """What is other of tools, of which the server has said something before, by their names.

    Args:
        first: the tools, by name, as they are used.
        now: what the server says of its tools now.
    """
    there = {one.name: one for one in now}
    found: dict[str, str] = {}
    for name, tool in first.items():
        other = there.get(name)
        if other is None:
            found[name] = "it isn't there"
        elif (tool.description, tool.title) != (other.description, other.title):
            found[name] = "its description is another"
        elif _written(tool.input_schema) != _written(other.input_schema):
            found[name] = "its arguments are others"
        elif is_repeatable(tool) != is_repeatable(other):
            found[name] = "it is said otherwise whether a call may be repeated"
    return found


def _written(schema: Any) -> str:
    """As JSON, in which 1 isn't true, and what isn't a number is the same as itself."""
    return json.dumps(schema, sort_keys=True)
