"""Pages of the web to bytes, by the broker that guards the way out."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from llmspell.errors import ConfigError, EgressDenied, EgressFailed
from llmspell.rag.sources import Skipped
from llmspell.tenancy.current import current_operation
from llmspell.tenancy.documents import Blob, WebPage

if TYPE_CHECKING:
    from llmspell.security import Broker

__all__ = ["fetch"]

_ACCEPT = "text/html, text/markdown, text/plain;q=0.9, */*;q=0.5"


def fetch(page: WebPage, broker: Broker | None) -> Blob | Skipped:
    """Get a page, as the tenant that is ingesting; its source is the URL that answered.

    Raises:
        ConfigError: there is no broker.
    """
    from llmspell.security.egress.client import Client

    if broker is None:
        raise ConfigError(
            f"{page.url!r} can't be fetched without a way out; open the database with "
            'texts=Pipeline(web=Broker(["the.host"]))'
        )
    operation = current_operation()
    identity = page.id or page.url
    try:
        with broker.session(tenant=None if operation is None else operation.tenant_id) as session:
            response = Client(session.answer).get(page.url, headers={"accept": _ACCEPT})
            response.raise_for_status()
            data = response.content
    except (EgressDenied, EgressFailed) as error:
        return Skipped(identity, str(error))
    return Blob(
        identity,
        data,
        page.metadata,
        response.headers.get("content-type"),
        urlsplit(response.url).path or "/",
        response.url,
    )
