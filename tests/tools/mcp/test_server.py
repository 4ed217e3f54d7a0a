"""Our tools over MCP, asked by the official client."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from llmspell import Database, QuotaLimits, Tenant, TenantConfig
from llmspell.errors import ConfigError
from llmspell.tools import ToolContext, ToolPolicy, ToolRegistry, tool
from llmspell.tools.mcp import McpServer
from tests.processes import until
from tests.tools.mcp.asking import asked
from tests.tools.mcp.serving import served

PIXEL = base64.b64encode(b"\x89PNG").decode()
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
ACCEPT = {"Accept": "application/json, text/event-stream"}


@tool(trusted=True, idempotent=True)
def whose(context: ToolContext) -> dict[str, str]:
    """Tell for whom it runs."""
    return {"tenant": context.tenant.id}


@tool(trusted=True)
def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b


@tool(trusted=True)
def draw() -> list[dict[str, str]]:
    """Draw a pixel."""
    return [
        {"type": "text", "text": "a pixel"},
        {"type": "image", "data": PIXEL, "mimeType": "image/png"},
    ]


@tool(trusted=True)
def fail(how: str) -> dict[str, str]:
    """Fail."""
    if how == "raise":
        raise LookupError("so it is")
    return {"type": "image", "data": how}  # no block of MCP's, so it is data


@pytest.fixture
def mine() -> Iterator[ToolRegistry]:
    with ToolRegistry([whose, add, draw, fail]) as made:
        yield made


@pytest.fixture
def other(database: Database) -> Tenant:
    return database.create_tenant(TenantConfig(id="other"))


def test_tools_are_listed_and_called(mine: ToolRegistry, tenant: Tenant) -> None:
    async def ask(client: Any) -> None:
        found = {one.name: one for one in (await client.list_tools()).tools}
        assert set(found) == {"whose", "add", "draw", "fail"}
        assert found["add"].description == "Add two numbers."
        assert found["add"].input_schema == add.spec.parameters
        assert found["whose"].annotations.idempotent_hint
        result = await client.call_tool("add", {"a": 2})
        assert (result.content[0].text, result.is_error) == ("3", False)
        result = await client.call_tool("whose", {})
        assert result.structured_content == {"tenant": "acme"}
        result = await client.call_tool("draw", {})
        assert [block.type for block in result.content] == ["text", "image"]
        assert result.content[1].data == PIXEL
        result = await client.call_tool("fail", {"how": "x"})
        assert result.structured_content == {"type": "image", "data": "x"}
        result = await client.call_tool("fail", {"how": "raise"})
        assert result.is_error
        assert result.content[0].text == "Error (failed): LookupError: so it is"
        result = await client.call_tool("add", {"a": "x"})
        assert result.is_error
        assert "a: " in result.content[0].text

    with served(McpServer(mine.bind(tenant)).asgi()) as url:
        asked(url, ask)


def test_what_the_policy_does_not_allow_is_not_there(mine: ToolRegistry, tenant: Tenant) -> None:
    from mcp import MCPError

    async def ask(client: Any) -> None:
        assert [one.name for one in (await client.list_tools()).tools] == ["add"]
        for name in ("whose", "nothing"):
            with pytest.raises(MCPError, match=f"there is no tool '{name}'"):
                await client.call_tool(name, {})

    tools = mine.bind(tenant, policy=ToolPolicy(allow=("add",)))
    with served(McpServer(tools).asgi()) as url:
        asked(url, ask)


def test_a_token_says_whose_a_call_is(mine: ToolRegistry, tenant: Tenant, other: Tenant) -> None:
    tokens = {"token-a": mine.bind(tenant), "token-b": mine.bind(other)}

    async def later(token: str) -> Any:
        await asyncio.sleep(0)
        return tokens.get(token)

    async def ask(client: Any) -> Any:
        return (await client.call_tool("whose", {})).structured_content

    for authenticate in (tokens, tokens.get, later):
        server = McpServer(authenticate=authenticate)  # type: ignore[arg-type]
        with served(server.asgi()) as url:
            assert asked(url, ask, "token-a") == {"tenant": "acme"}
            assert asked(url, ask, "token-b") == {"tenant": "other"}


def test_without_a_token_nobody_is_served_and_no_session_is_anothers(
    mine: ToolRegistry, tenant: Tenant, other: Tenant
) -> None:
    tokens = {"a": mine.bind(tenant), "b": mine.bind(other), "a2": mine.bind(tenant)}
    app = McpServer(authenticate=tokens).asgi()
    with served(app) as url, httpx2.Client(base_url=url, headers=ACCEPT, timeout=60) as http:
        for headers in ({}, {"Authorization": "Bearer c"}, {"Authorization": "Basic a"}):
            assert http.post("/mcp", json=HELLO, headers=headers).status_code == 401
        begun = http.post("/mcp", json=HELLO, headers={"Authorization": "Bearer a"})
        session = {"mcp-session-id": begun.headers["mcp-session-id"]}
        ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
        for token, status in (("a", 200), ("b", 404), ("a2", 404)):
            headers = {"Authorization": f"Bearer {token}", **session}
            assert http.post("/mcp", json=ping, headers=headers).status_code == status


def test_idle_sessions_end(mine: ToolRegistry, tenant: Tenant) -> None:
    app = McpServer(mine.bind(tenant)).asgi(idle_seconds=1, json_response=True)
    with served(app) as url, httpx2.Client(base_url=url, headers=ACCEPT, timeout=60) as http:
        begun = http.post("/mcp", json=HELLO)
        session = {"mcp-session-id": begun.headers["mcp-session-id"]}
        sessions = app.routes[0].app.session_manager._server_instances  # asking would keep it
        until(lambda: not sessions)
        ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
        assert http.post("/mcp", json=ping, headers=session).status_code == 404


def test_sessions_end_after_half_an_hour_where_nothing_is_said(
    mine: ToolRegistry, tenant: Tenant
) -> None:
    route: Any = McpServer(mine.bind(tenant)).asgi().routes[0]
    assert route.app.session_manager.session_idle_timeout == 1_800


def test_no_more_sessions_than_are_allowed(mine: ToolRegistry, tenant: Tenant) -> None:
    app = McpServer(mine.bind(tenant)).asgi(max_sessions=1, json_response=True)
    sessions = app.routes[0].app.session_manager._server_instances  # type: ignore[attr-defined]
    with served(app) as url, httpx2.Client(base_url=url, headers=ACCEPT, timeout=60) as http:
        begun = http.post("/mcp", json=HELLO)
        assert begun.status_code == 200
        assert http.post("/mcp", json=HELLO).status_code == 503
        http.delete("/mcp", headers={"mcp-session-id": begun.headers["mcp-session-id"]})
        until(lambda: not sessions)  # it ends behind the answer
        assert http.post("/mcp", json=HELLO).status_code == 200


def test_other_names_of_the_host_are_refused(mine: ToolRegistry, tenant: Tenant) -> None:
    app = McpServer(mine.bind(tenant)).asgi(hosts=["mcp.test"], json_response=True)
    with served(app) as url, httpx2.Client(base_url=url, headers=ACCEPT, timeout=60) as http:
        for host, status in (("evil.test", 421), ("mcp.test", 200)):
            found = http.post("/mcp", json=HELLO, headers={"Host": host})
            assert found.status_code == status
        found = http.post("/mcp", json=HELLO, headers={"Origin": "https://evil.test"})
        assert found.status_code == 403


def test_a_quota_of_the_tenant_is_told_as_a_refusal(mine: ToolRegistry, database: Database) -> None:
    limits = QuotaLimits(max_api_calls_per_minute=1)
    small = database.create_tenant(TenantConfig(id="small", quotas=limits))

    async def ask(client: Any) -> None:
        assert not (await client.call_tool("add", {"a": 1})).is_error
        result = await client.call_tool("add", {"a": 1})
        assert result.is_error
        assert "max_api_calls_per_minute" in result.content[0].text

    with served(McpServer(mine.bind(small)).asgi()) as url:
        asked(url, ask)


def test_what_an_operator_has_to_see_to_is_not_told(mine: ToolRegistry, tenant: Tenant) -> None:
    from mcp import MCPError

    async def ask(client: Any) -> None:
        with pytest.raises(MCPError, match="the tool can't be run now"):
            await client.call_tool("add", {"a": 1})

    def broken(call: object) -> bool:
        raise RuntimeError("a secret of the operator")

    tools = mine.bind(tenant, policy=ToolPolicy(approve=("add",)), approve=broken)
    with served(McpServer(tools).asgi()) as url:
        asked(url, ask)
        tenant.close()
        asked(url, ask)


def test_who_is_served_is_said_once(mine: ToolRegistry, tenant: Tenant) -> None:
    tools = mine.bind(tenant)
    with pytest.raises(ConfigError, match="and not both"):
        McpServer()
    with pytest.raises(ConfigError, match="and not both"):
        McpServer(tools, authenticate={"a": tools})
    with pytest.raises(ConfigError, match="tools must be TenantTools"):
        McpServer(mine)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"TenantTools, which registry\.bind.*got Tenant"):
        McpServer(authenticate={"a": tenant})  # type: ignore[dict-item]
    with pytest.raises(ConfigError, match="standard input has no tokens"):
        asyncio.run(McpServer(authenticate={"a": tools}).run_stdio())
    with pytest.raises(ConfigError):
        McpServer(tools).asgi(idle_seconds=0)
