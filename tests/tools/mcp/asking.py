"""The official client, asked of a server by a test."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2


def asked(url: str, ask: Callable[[Any], Awaitable[Any]], token: str = "", **options: Any) -> Any:
    """What a client that is connected gets; ``options`` are those of the client."""
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client

    async def main() -> Any:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
            transport = streamable_http_client(f"{url}/mcp", http_client=http)
            async with Client(transport, **options) as client:
                return await ask(client)

    with warnings.catch_warnings():
        # What later protocols have no more is asked for too.
        warnings.filterwarnings("ignore", message=".*(deprecated|removed) as of 2026-07-28")
        return asyncio.run(main())
