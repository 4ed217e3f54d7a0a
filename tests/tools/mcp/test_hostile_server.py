"""What a server of MCP that means ill can do to its client."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from llmspell import Tenant
from llmspell.errors import ToolFailed
from llmspell.tools import FaultKind, ToolRegistry
from llmspell.tools.mcp import McpConnection, bodies, listing
from tests.tools.mcp.serving import served

TEXT = "a" * 16 + "!"
SCHEMA = {"type": "object", "properties": {"x": {"type": "string", "pattern": "^(a+)+$"}}}
TOOLS = [
    {"name": "judged", "inputSchema": {"type": "object"}, "outputSchema": SCHEMA},
    {"name": "packed", "inputSchema": {"type": "object"}},
    {"name": "large", "inputSchema": {"type": "object"}},
]


def said_by(name: str) -> dict[str, Any]:
    if name == "judged":
        return {"content": [], "structuredContent": {"x": TEXT}}
    return {"content": [{"type": "text", "text": "a" * 200_000}]}


def page_of(pages: str | None, message: dict[str, Any]) -> dict[str, Any]:
    """The tools, or a page of a list that never ends, in one way or another."""
    number = int((message.get("params") or {}).get("cursor") or 0)
    tool = {"name": f"t{number}", "inputSchema": {"type": "object"}}
    match pages:
        case "empty":
            return {"tools": [], "nextCursor": str(number + 1)}
        case "again":
            return {"tools": [tool], "nextCursor": "7"}
        case "many":
            return {"tools": [tool] * 600, "nextCursor": str(number + 1)}
        case "large":
            return {"tools": [{**tool, "description": "a" * 3_000}], "nextCursor": str(number + 1)}
        case _:
            return {"tools": TOOLS}


async def answer(request: Request) -> Response:
    if request.method != "POST":
        return Response(status_code=405)
    message = await request.json()
    if "id" not in message:
        return Response(status_code=202)
    told: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"]}
    headers = {}
    match message["method"]:
        case "initialize":
            told["result"] = {
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "hostile", "version": "1"},
            }
        case "tools/list":
            told["result"] = page_of(request.path_params.get("pages"), message)
        case "tools/call":
            told["result"] = said_by(message["params"]["name"])
            if message["params"]["name"] == "packed":
                headers = {"content-encoding": "gzip"}
        case _:
            told["error"] = {"code": -32601, "message": "there is no such method"}
    body = json.dumps(told).encode()
    return Response(gzip.compress(body) if headers else body, 200, headers, "application/json")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    methods = ["GET", "POST", "DELETE"]
    routes = [Route(path, answer, methods=methods) for path in ("/mcp", "/mcp/{pages}")]
    with served(Starlette(routes=routes)) as url:
        yield f"{url}/mcp"


def test_results_are_not_judged_by_patterns_of_theirs(url: str, tenant: Tenant) -> None:
    with McpConnection(url) as connection, ToolRegistry(connection.tools) as registry:
        assert registry.bind(tenant).call("judged", {}).value == {"x": TEXT}


@pytest.mark.parametrize("name, why", [("packed", "compressed"), ("large", "more than 100,000")])
def test_a_body_takes_no_more_than_it_may(
    url: str, tenant: Tenant, monkeypatch: pytest.MonkeyPatch, name: str, why: str
) -> None:
    monkeypatch.setattr(bodies, "MAX_BODY", 100_000)
    with McpConnection(url) as connection, ToolRegistry(connection.tools) as registry:
        tools = registry.bind(tenant)
        fault = tools.call(name, {}).fault
        assert fault is not None
        assert fault.kind is FaultKind.FAILED
        assert why in fault.message
        assert tools.call("judged", {}).is_ok  # the connection goes on


@pytest.mark.parametrize(
    "pages, why",
    [
        ("empty", "doesn't end within 1,000 tools, 20 pages"),
        ("again", "the cursor '7' comes twice"),
        ("many", "doesn't end within"),
        ("large", "doesn't end within"),
    ],
)
def test_a_list_of_tools_that_does_not_end_is_left(
    url: str, monkeypatch: pytest.MonkeyPatch, pages: str, why: str
) -> None:
    monkeypatch.setattr(listing, "MAX_PAGES", 20)
    monkeypatch.setattr(listing, "MAX_LISTED_BYTES", 40_000)
    with pytest.raises(ToolFailed, match=why):
        McpConnection(f"{url}/{pages}")
