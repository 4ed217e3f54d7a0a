"""Search in what a tenant knows."""

from __future__ import annotations

from typing import Any, Final, Literal

from llmspell.security import SecurityLevel
from llmspell.tenancy import Hit, Retrieved
from llmspell.tools import ToolContext, tool

__all__ = ["search_knowledge"]

_MAX_HITS: Final = 50
_MAX_CHARS: Final = 8_000


async def _search(
    query: str,
    limit: int = 5,
    mode: Literal["dense", "lexical", "hybrid"] = "dense",
    filter: dict[str, Any] | None = None,
    *,
    context: ToolContext,
) -> list[dict[str, Any]]:
    """Search the knowledge base; gives the passages that fit best, best first.

    Args:
        query: what is asked, in words.
        limit: most passages, 1 to 50.
    """
    tenant, k = context.async_tenant, min(max(limit, 1), _MAX_HITS)
    if mode == "dense":  # the short way, which needs no lexical index
        return [_told(hit) for hit in await tenant.search(query, k, filter=filter)]
    return [_told(hit) for hit in await tenant.retrieve(query, k, filter=filter, mode=mode)]


#: Searches in the tenant of the call, which is charged. No model chooses ``mode`` and ``filter``,
#: which are those of :meth:`llmspell.Tenant.retrieve`: by meaning and in all unless ``bind`` says.
search_knowledge = tool(
    name="search_knowledge", trusted=True, level=SecurityLevel.SAFE, idempotent=True
)(_search).bind(mode="dense", filter=None)


def _told(hit: Hit | Retrieved) -> dict[str, Any]:
    text = hit.text or ""
    return {
        "id": hit.id,
        "score": round(hit.score, 4),
        "text": text if len(text) <= _MAX_CHARS else text[: _MAX_CHARS - 1] + "…",
        "metadata": hit.metadata,
    }
