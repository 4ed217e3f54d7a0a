"""A tenant's tools over MCP: to one client by standard input and output, to many by HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from llmspell.errors import ConfigError
from llmspell.tenancy import AsyncTenant, Tenant
from llmspell.tools.mcp.calls import Calls
from llmspell.tools.mcp.offers import Offers
from llmspell.tools.mcp.prompts import PromptTemplate
from llmspell.tools.mcp.resources import Offer
from llmspell.tools.mcp.sdk import require_mcp
from llmspell.tools.mcp.sessions import SessionMiddleware, begin_session, note_version
from llmspell.tools.mcp.subscriptions import Subscriptions
from llmspell.tools.mcp.tokens import Authenticate, Verifier, by_token
from llmspell.tools.tenant_tools import TenantTools

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server
    from starlette.applications import Starlette

__all__ = ["McpServer"]

#: After which a client that was cut off, or sent away, comes back.
_RETRY_MS: Final = 500
_MIN_KEY: Final = 32


class McpServer:
    """Serves tools over MCP, and prompts and resources where they are given. Thread-safe.

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
        prompts: that clients offer to their users; the same for all, and what they read is of the
            client's own tenant.
        resources: that clients may list and read: :class:`Resource`, :class:`ResourceTemplate`
            and :class:`TenantDocuments`, in the order of their list; as ``prompts`` the same for
            all.
        watch_seconds: between two looks whether documents have changed that clients want to be
            told of. It is looked at what the tenant's quotas count, which is free; where that has
            changed, each document is looked at, eight times at most over the next 64 looks; each
            is an API call of the tenant's.
        state_keys: of at least 32 bytes, the first seals what a client carries from one round of
            a call to the next; the same for all processes that serve it. A key of this process
            where none is given.

    Raises:
        ConfigError: both of ``tools`` and ``authenticate``, or neither; two prompts of one name; an
            argument of another type.
        MissingDependency: the extra ``mcp`` is not installed.
    """

    def __init__(
        self,
        tools: TenantTools | None = None,
        *,
        authenticate: Authenticate | Mapping[str, TenantTools] | None = None,
        name: str = "llmspell",
        instructions: str | None = None,
        prompts: Iterable[PromptTemplate] = (),
        resources: Iterable[Offer] = (),
        watch_seconds: float = 5.0,
        state_keys: Sequence[bytes] = (),
    ) -> None:
        require_mcp()
        if (tools is None) == (authenticate is None):
            raise ConfigError("give tools, for all clients, or authenticate, and not both")
        if tools is not None and not isinstance(tools, TenantTools):
            raise ConfigError(
                f"tools must be TenantTools, which registry.bind(tenant) gives; got {tools!r}"
            )
        self._tools = tools
        self._authenticate = (
            by_token(authenticate) if isinstance(authenticate, Mapping) else authenticate
        )
        self._name = name
        self._instructions = instructions
        self._calls = Calls(self._tools_of)
        self._offers = Offers(_by_name(prompts), _checked(resources), self._tools_of)
        self._subscriptions = Subscriptions(self._offers)
        if not watch_seconds > 0:
            raise ConfigError(f"watch_seconds must be a number above 0, got {watch_seconds!r}")
        self._watch_seconds = watch_seconds
        if any(len(key) < _MIN_KEY for key in state_keys):
            raise ConfigError(f"each of state_keys must have at least {_MIN_KEY} bytes")
        self._state_keys = list(state_keys)

    def resource_changed(self, uri: str, *, tenant: Tenant | AsyncTenant | None = None) -> None:
        """Tell clients that want to know that a resource has changed. Thread-safe.

        Args:
            uri: of the resource.
            tenant: whose clients are told; those of all tenants where None.
        """
        self._subscriptions.changed(uri, None if tenant is None else tenant.id)

    async def run_stdio(self) -> None:
        """Serve one client by standard input and output, until it is gone.

        Raises:
            ConfigError: there are no ``tools`` for all clients.
        """
        if self._tools is None:
            raise ConfigError("standard input has no tokens; make the server with tools=")
        from mcp.server.stdio import stdio_server

        server = self._server(can_listen=True)
        begin_session()
        async with stdio_server() as (reads, writes):
            await server.run(reads, writes, server.create_initialization_options())

    def asgi(
        self,
        *,
        path: str = "/mcp",
        hosts: Sequence[str] = (),
        idle_seconds: float = 1_800.0,
        max_sessions: int = 1_000,
        max_sessions_of_tenant: int = 250,
        max_request_bytes: int = 4 << 20,
        json_response: bool = False,
        replay_bytes: int = 1 << 20,
    ) -> Starlette:
        """An ASGI application of streamable HTTP, for uvicorn or any other server.

        Args:
            path: of the endpoint.
            hosts: names, with a port or ``:*``, that clients may reach it by, besides the loopback
                ones. Others are refused, so that no web page makes a browser ask it.
            idle_seconds: a session without a request for so long is ended.
            max_sessions: at one time; who would begin another is told to come again.
            max_sessions_of_tenant: likewise, of the tenant that tokens lead to, so that none takes
                the place of all others.
            max_request_bytes: of one request.
            json_response: answer by JSON instead of a stream of events. Before the protocol of
                2026-07-28 a tool can't speak with the client then.
            replay_bytes: of the last messages of a session that are kept, for a client that comes
                back to fetch what it missed; 0 for none, and no client is sent away then.

        Raises:
            ConfigError: a number that isn't above 0.
        """
        from mcp.server.transport_security import TransportSecuritySettings
        from starlette.middleware import Middleware

        from llmspell.tools.mcp.events import Events

        if replay_bytes < 0:
            raise ConfigError(f"replay_bytes must be at least 0, got {replay_bytes!r}")
        if max_sessions_of_tenant < 1:
            raise ConfigError(
                f"max_sessions_of_tenant must be at least 1, got {max_sessions_of_tenant!r}"
            )
        allowed = ["127.0.0.1:*", "localhost:*", "[::1]:*", *hosts]
        # An answer of JSON is one, and tells nothing more.
        server = self._server(can_listen=not json_response)
        given: dict[str, Any] = {}
        if self._authenticate is not None:
            from mcp.server.auth.settings import AuthSettings

            given["token_verifier"] = Verifier(self._authenticate)
            given["auth"] = AuthSettings(
                issuer_url="http://localhost/",  # type: ignore[arg-type]
                resource_server_url=None,
                validate_token_resource=False,
            )
        try:
            app = server.streamable_http_app(
                streamable_http_path=path,
                json_response=json_response,
                event_store=Events(),
                retry_interval=_RETRY_MS,
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
        # The last is the innermost: behind what looks whose the token is.
        app.user_middleware.append(
            Middleware(
                SessionMiddleware, max_bytes=replay_bytes, max_of_tenant=max_sessions_of_tenant
            )
        )
        return app

    def _server(self, *, can_listen: bool) -> Server[Any]:
        from mcp import types
        from mcp.server.lowlevel import Server
        from mcp.server.request_state import RequestStateBoundary

        offers = self._offers
        offered: dict[str, Any] = {}
        if offers.prompts:
            offered |= {
                "on_list_prompts": offers.list_prompts,
                "on_get_prompt": offers.get_prompt,
            }
        if offers.resources:
            offered |= {
                "on_list_resources": offers.list_resources,
                "on_list_resource_templates": offers.list_templates,
                "on_read_resource": offers.read_resource,
                "on_subscribe_resource": self._subscriptions.subscribe,
                "on_unsubscribe_resource": self._subscriptions.unsubscribe,
                "lifespan": self._watching,
            }
            if can_listen:
                offered["on_subscriptions_listen"] = self._subscriptions.listen
        if offers.completes:
            offered["on_completion"] = offers.complete

        class Honest(Server[Any]):
            """Says of no list that its changes are told; the SDK would, where any change is."""

            def get_capabilities(self, *given: Any, **named: Any) -> types.ServerCapabilities:
                found = super().get_capabilities(*given, **named)
                for one in (found.tools, found.prompts, found.resources):
                    if one is not None:
                        one.list_changed = False
                return found

        server = Honest(
            self._name,
            version=version("llmspell"),
            instructions=self._instructions,
            on_list_tools=self._calls.list_tools,
            on_call_tool=self._calls.call_tool,
            **offered,
        )
        # By the constructor it would warn of what later protocols have no more.
        server.add_request_handler(
            "logging/setLevel", types.SetLevelRequestParams, offers.set_level
        )
        server.middleware += [
            note_version,
            # What a client carries from call to call is sealed, for this call and for its token.
            RequestStateBoundary(self._state_security(), default_audience=self._name),
        ]
        return server

    def _state_security(self) -> Any:
        from mcp.server.request_state import RequestStateSecurity

        if self._state_keys:
            return RequestStateSecurity(keys=self._state_keys)
        return RequestStateSecurity.ephemeral()

    @asynccontextmanager
    async def _watching(self, server: Any) -> AsyncIterator[dict[str, Any]]:
        async with self._subscriptions.watching(self._watch_seconds):
            yield {}

    def _tools_of(self, context: Any) -> TenantTools:
        if self._tools is not None:
            return self._tools
        tools: TenantTools = context.request.scope["user"].access_token.tools
        return tools


def _by_name(prompts: Iterable[PromptTemplate]) -> dict[str, PromptTemplate]:
    found: dict[str, PromptTemplate] = {}
    for prompt in prompts:
        if not isinstance(prompt, PromptTemplate):
            raise ConfigError(f"a prompt is a PromptTemplate, got {prompt!r}")
        if prompt.name in found:
            raise ConfigError(f"two prompts are named {prompt.name!r}; give one another name")
        found[prompt.name] = prompt
    return found


def _checked(resources: Iterable[Offer]) -> list[Offer]:
    found = list(resources)
    for one in found:
        if not callable(getattr(one, "reads", None)):
            raise ConfigError(
                f"resources are a Resource, a ResourceTemplate or TenantDocuments, got {one!r}"
            )
    return found
