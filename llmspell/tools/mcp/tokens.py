"""Whose a bearer token is."""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from llmspell.errors import ConfigError
from llmspell.tools.tenant_tools import TenantTools

__all__ = ["Authenticate", "Verifier", "by_token"]

#: Whose a bearer token is; None for nobody's.
Authenticate: TypeAlias = Callable[[str], TenantTools | Awaitable[TenantTools | None] | None]


class Verifier:
    """Asks whose a token is, for the SDK."""

    def __init__(self, authenticate: Authenticate) -> None:
        self._authenticate = authenticate

    async def verify_token(self, token: str) -> Any:
        tools = self._authenticate(token)
        if inspect.isawaitable(tools):
            tools = await tools
        if tools is None:
            return None

        # The SDK compares client and subject with those of the request that began the session.
        return _whose()(
            token="", client_id=tools.tenant.id, scopes=[], subject=_digest(token), tools=tools
        )


@functools.cache
def _whose() -> Any:
    """A token's kind, with the tools that it leads to: made once, for that takes 0.3 ms."""
    from mcp.server.auth.provider import AccessToken

    class Whose(AccessToken):
        tools: Any

    return Whose


def by_token(tokens: Mapping[str, TenantTools]) -> Authenticate:
    """Look tokens up by their hash: how long that takes says nothing of how a token begins."""
    for tools in tokens.values():  # the token is in no message
        if not isinstance(tools, TenantTools):
            raise ConfigError(
                "authenticate leads from tokens to TenantTools, which registry.bind(tenant) gives; "
                f"got {tools!r}"
            )
    found = {_digest(token): tools for token, tools in tokens.items()}
    return lambda token: found.get(_digest(token))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
