"""Search in what a tenant knows."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from llmspell.security import SecurityLevel
from llmspell.tenancy import AsyncTenant, Hit
from llmspell.tools import ToolContext, tool

__all__ = ["search_knowledge"]

_MAX_HITS: Final = 50
_MAX_CHARS: Final = 8_000


@tool(trusted=True, level=SecurityLevel.SAFE, idempotent=True)
async def search_knowledge(
    query: str,
    limit: int = 5,
    *,
    context: ToolContext,
) -> list[dict[str, Any]]:
    """Search the knowledge base by meaning; gives the passages that fit best, best first.

    Args:
        query: what is asked, in words.
        limit: most passages, 1 to 50.
    """
    tenant = context.tenant
    k = min(max(limit, 1), _MAX_HITS)
    if isinstance(tenant, AsyncTenant):
        found = list(await tenant.search(query, k))
    else:
        found = await asyncio.to_thread(lambda: list(tenant.search(query, k)))
    return [_told(hit) for hit in found]


def _told(hit: Hit) -> dict[str, Any]:
    text = hit.text or ""
    return {
        "id": hit.id,
        "score": round(hit.score, 4),
        "text": text if len(text) <= _MAX_CHARS else text[: _MAX_CHARS - 1] + "…",
        "metadata": hit.metadata,
    }
