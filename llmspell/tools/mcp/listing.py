"""What an MCP server says of its tools, read as far as it may go on."""

from __future__ import annotations

from typing import Any, Final

from llmspell.errors import ToolFailed

__all__ = ["MAX_LISTED_BYTES", "MAX_PAGES", "MAX_TOOLS", "listed_tools"]

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
