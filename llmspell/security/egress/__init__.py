"""Inside of a sandboxed worker: HTTP by way of the broker in its parent.

``client()`` is the one client of this process; the sandbox has bound it before the tool runs.
Nothing here opens a socket or a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmspell._lazy import lazy_names
from llmspell.security.egress.client import Client, Exchange, bind, client
from llmspell.security.egress.response import Response

if TYPE_CHECKING:
    from llmspell.security.egress.httpx_transport import HttpxTransport
    from llmspell.security.egress.requests_adapter import RequestsAdapter

__all__ = [
    "Client",
    "Exchange",
    "HttpxTransport",
    "RequestsAdapter",
    "Response",
    "bind",
    "client",
]

# Theirs need httpx and requests, which are imported with them.
_MODULES = {"httpx_transport": ("HttpxTransport",), "requests_adapter": ("RequestsAdapter",)}

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(__name__, _MODULES)
