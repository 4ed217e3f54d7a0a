"""Inside of a sandboxed worker: HTTP by way of the broker in its parent.

``client()`` is the one client of this process; the sandbox has bound it before the tool runs.
Nothing here opens a socket or a file.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
_OPTIONAL = {"HttpxTransport": "httpx_transport", "RequestsAdapter": "requests_adapter"}


def __getattr__(name: str) -> Any:
    """Load a transport when it is first used."""
    if name not in _OPTIONAL:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_OPTIONAL[name]}"), name)
    globals()[name] = value
    return value
