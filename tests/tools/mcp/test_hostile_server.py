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
from llmspell.tools import FaultKind, ToolRegistry
from llmspell.tools.mcp import McpConnection, bodies
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
            told["result"] = {"tools": TOOLS}
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
    with served(Starlette(routes=[Route("/mcp", answer, methods=methods)])) as url:
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
