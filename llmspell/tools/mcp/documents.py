"""A tenant's documents as resources of MCP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, unquote

from llmspell.errors import ConfigError, IdNotFound, InvalidId
from llmspell.tenancy import AsyncTenant, DocumentInfo, Tenant, async_handle
from llmspell.tenancy.listing import text_parts
from llmspell.tools.context import ToolContext
from llmspell.tools.mcp.completion import MAX_COMPLETIONS
from llmspell.tools.mcp.resources import Listed, ListedPage, Template

__all__ = ["TenantDocuments"]

_URI: Final = "llmspell://documents/"
_PAGE: Final = 100
#: That a completion looks through; each page of them is an API call of the tenant's.
_LOOKED_AT: Final = 10_000
_MARKDOWN: Final = frozenset({"text/html", "application/xhtml+xml", "text/markdown"})


class TenantDocuments:
    """What a tenant ingested, for its own clients to list and read; given to :class:`McpServer`.

    A document has the URI ``llmspell://documents/ID``, its id percent-encoded. It is read as the
    text that its chunks have together, in Markdown where it was HTML. Each page of the list, each
    reading and each completion of an id is charged to the tenant as one API call.

    Args:
        max_chars: of a document that is read; of a longer one no more is read before it is refused.

    Raises:
        ConfigError: ``max_chars`` is no number above 0.
    """

    def __init__(self, *, max_chars: int = 1_000_000) -> None:
        if isinstance(max_chars, bool) or not isinstance(max_chars, int) or max_chars < 1:
            raise ConfigError(f"max_chars must be an int of at least 1, got {max_chars!r}")
        self._max_chars = max_chars
        self.template = Template(
            uri_template=f"{_URI}{{id}}",
            name="document",
            description="A document of the knowledge base, by its id.",
            complete={"id": _ids},
        )

    async def page(self, tenant: Tenant | AsyncTenant, cursor: str | None) -> ListedPage:
        """A hundred of them, in the order of their ids."""
        found = await async_handle(tenant).documents(cursor=cursor, limit=_PAGE)
        return ListedPage([_listed(one) for one in found.documents], found.cursor)

    def reads(self, uri: str) -> Callable[[ToolContext], Any] | None:
        """What reads one."""
        document_id = _id_of(uri)
        if document_id is None:
            return None

        async def read(context: ToolContext) -> tuple[str, str]:
            chunks = await context.async_tenant.chunks(document_id, max_chars=self._max_chars)
            media_type = chunks[0].metadata.get("media_type") if chunks else None
            return "".join(text_parts(chunks)), _read_as(media_type)

        return read

    async def mark(self, tenant: Tenant | AsyncTenant, uri: str) -> object | None:
        """Its version; 0 where there is none."""
        document_id = _id_of(uri)
        if document_id is None:
            return None
        try:
            return (await async_handle(tenant).document(document_id)).version
        except (IdNotFound, InvalidId):
            return 0


async def _ids(typed: str, context: ToolContext) -> list[str]:
    """Ids that begin so."""
    tenant, cursor = context.async_tenant, None
    found: list[str] = []
    for _ in range(_LOOKED_AT // 1_000):
        page = await tenant.documents(cursor=cursor)
        found += [one.id for one in page.documents if one.id.startswith(typed)]
        cursor = page.cursor
        if cursor is None or len(found) > MAX_COMPLETIONS:
            break
    return found


def _listed(info: DocumentInfo) -> Listed:
    title = info.metadata.get("title")
    about = f"{info.chunks:,} chunks, version {info.version}"
    return Listed(
        uri=_URI + quote(info.id, safe=""),
        name=title if isinstance(title, str) and title else info.id,
        description=about if info.source == info.id else f"From {info.source}; {about}",
        mime_type=_read_as(info.metadata.get("media_type")),
        modified=info.updated_at.isoformat(),
    )


def _id_of(uri: str) -> str | None:
    """The id in a URI; None where it isn't one of a document."""
    if not uri.startswith(_URI):
        return None
    quoted = uri[len(_URI) :]
    if not quoted or any(sign in quoted for sign in "/?#"):
        return None
    try:
        return unquote(quoted, errors="strict")
    except UnicodeDecodeError:
        return None


def _read_as(media_type: object) -> str:
    """The type of a document's text as it was read."""
    if not isinstance(media_type, str) or not media_type.startswith("text/"):
        return "text/plain"
    return "text/markdown" if media_type in _MARKDOWN else media_type
