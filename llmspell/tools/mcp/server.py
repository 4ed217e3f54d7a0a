"""A tenant's tools over MCP: to one client by standard input and output, to many by HTTP."""

from __future__ import annotations

import hashlib
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from llmspell.errors import ConfigError, QuotaExceeded, TenantSuspended
from llmspell.tools.mcp.content import content_of
from llmspell.tools.mcp.sdk import require_mcp
from llmspell.tools.result import FaultKind
from llmspell.tools.tenant_tools import TenantTools

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server
    from starlette.applications import Starlette

__all__ = ["McpServer"]

_log: Final = logging.getLogger(__name__)

#: Whose a bearer token is; None for nobody's.
Authenticate: TypeAlias = Callable[[str], TenantTools | Awaitable[TenantTools | None] | None]


class McpServer:
    """Serves tools over MCP. Thread-safe.

    A client sees and calls what the policy of its :class:`TenantTools` allows; each call is
    charged, limited and recorded as any other. Search in the tenant is the tool
    :data:`llmspell.tools.builtin.search_knowledge`, if the registry has it.

    Args:
        tools: of the one tenant that all clients are served as; for standard input and output, or
            for a server that only they reach.
        authenticate: whose a bearer token is, by a function, sync or async, or a mapping of tokens;
            for HTTP. A session belongs to the token that began it.
        name: that clients are told.
        instructions: to the model, that clients are told.

    Raises:
        ConfigError: both of ``tools`` and ``authenticate``, or neither.
        MissingDependency: the extra ``mcp`` is not installed.
    """

    def __init__(
        self,
        tools: TenantTools | None = None,
        *,
        authenticate: Authenticate | Mapping[str, TenantTools] | None = None,
        name: str = "llmspell",
        instructions: str | None = None,
    ) -> None:
        require_mcp()
        if (tools is None) == (authenticate is None):
            raise ConfigError("give tools, for all clients, or authenticate, and not both")
        if tools is not None and not isinstance(tools, TenantTools):
            raise ConfigError(f"tools must be TenantTools, got {tools!r}")
        self._tools = tools
        self._authenticate = (
            _by_token(authenticate) if isinstance(authenticate, Mapping) else authenticate
        )
        self._name = name
        self._instructions = instructions

    async def run_stdio(self) -> None:
        """Serve one client by standard input and output, until it is gone.

        Raises:
            ConfigError: there are no ``tools`` for all clients.
        """
        if self._tools is None:
            raise ConfigError("standard input has no tokens; make the server with tools=")
        from mcp.server.stdio import stdio_server

        server = self._server()
        async with stdio_server() as (reads, writes):
            await server.run(reads, writes, server.create_initialization_options())

    def asgi(
        self,
        *,
        path: str = "/mcp",
        hosts: Sequence[str] = (),
        idle_seconds: float = 1_800.0,
        max_sessions: int = 1_000,
        max_request_bytes: int = 4 << 20,
        json_response: bool = False,
    ) -> Starlette:
        """An ASGI application of streamable HTTP, for uvicorn or any other server.

        Args:
            path: of the endpoint.
            hosts: names, with a port or ``:*``, that clients may reach it by, besides the loopback
                ones. Others are refused, so that no web page makes a browser ask it.
            idle_seconds: a session without a request for so long is ended.
            max_sessions: at one time; who would begin another is told to come again.
            max_request_bytes: of one request.
            json_response: answer by JSON instead of a stream of events.

        Raises:
            ConfigError: a number that isn't above 0.
        """
        from mcp.server.transport_security import TransportSecuritySettings

        allowed = ["127.0.0.1:*", "localhost:*", "[::1]:*", *hosts]
        server = self._server()
        given: dict[str, Any] = {}
        if self._authenticate is not None:
            from mcp.server.auth.settings import AuthSettings

            given["token_verifier"] = _Verifier(self._authenticate)
            given["auth"] = AuthSettings(
                issuer_url="http://localhost/",  # type: ignore[arg-type]
                resource_server_url=None,
                validate_token_resource=False,
            )
        try:
            return server.streamable_http_app(
                streamable_http_path=path,
                json_response=json_response,
                session_idle_timeout=idle_seconds,
                max_sessions=max_sessions,
                max_request_body_size=max_request_bytes,
                transport_security=TransportSecuritySettings(
                    enable_dns_rebinding_protection=True,
                    allowed_hosts=allowed,
                    allowed_origins=[
                        f"{scheme}://{host}" for host in allowed for scheme in ("http", "https")
                    ],
                ),
                **given,
            )
        except ValueError as error:
            raise ConfigError(str(error)) from error

    def _server(self) -> Server[Any]:
        from mcp.server.lowlevel import Server

        return Server(
            self._name,
            version=version("llmspell"),
            instructions=self._instructions,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
        )

    def _tools_of(self, context: Any) -> TenantTools:
        if self._tools is not None:
            return self._tools
        tools: TenantTools = context.request.scope["user"].access_token.tools
        return tools

    async def _list_tools(self, context: Any, params: Any) -> Any:
        from mcp import types

        return types.ListToolsResult(
            tools=[
                types.Tool(
                    name=spec.name,
                    description=spec.description,
                    input_schema=spec.parameters,
                    annotations=types.ToolAnnotations(idempotent_hint=spec.idempotent),
                )
                for spec in self._tools_of(context).specs()
            ]
        )

    async def _call_tool(self, context: Any, params: Any) -> Any:
        from mcp import MCPError, types

        try:
            result = await self._tools_of(context).acall(params.name, params.arguments or {})
        except (QuotaExceeded, TenantSuspended) as refusal:
            return types.CallToolResult(
                content=[types.TextContent(text=f"Error (refused): {refusal}")], is_error=True
            )
        except Exception as error:  # whatever it is, a client is told no more
            _log.error("the tool %r can't be run", params.name, exc_info=error)
            raise MCPError(types.INTERNAL_ERROR, "the tool can't be run now") from error
        if result.fault is not None and result.fault.kind is FaultKind.UNKNOWN_TOOL:
            raise MCPError(types.INVALID_PARAMS, result.fault.message)
        return content_of(result)


class _Verifier:
    """Asks whose a token is, for the SDK."""

    def __init__(self, authenticate: Authenticate) -> None:
        self._authenticate = authenticate

    async def verify_token(self, token: str) -> Any:
        from mcp.server.auth.provider import AccessToken

        tools = self._authenticate(token)
        if inspect.isawaitable(tools):
            tools = await tools
        if tools is None:
            return None

        class Whose(AccessToken):
            tools: Any

        # The SDK compares client and subject with those of the request that began the session.
        return Whose(
            token="", client_id=tools.tenant.id, scopes=[], subject=_digest(token), tools=tools
        )


def _by_token(tokens: Mapping[str, TenantTools]) -> Authenticate:
    """Look tokens up by their hash: how long that takes says nothing of how a token begins."""
    found = {_digest(token): tools for token, tools in tokens.items()}
    return lambda token: found.get(_digest(token))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
