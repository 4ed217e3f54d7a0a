"""Tools of MCP servers, used as tools of ours."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from mcp.types import CallToolResult

from llmspell import Tenant
from llmspell.errors import ClosedError, ConfigError, InvalidArguments, ToolFailed
from llmspell.security import SecurityLevel
from llmspell.tools import FaultKind, ToolOptions, ToolPolicy, ToolRegistry
from llmspell.tools.mcp import McpConnection, McpServer
from llmspell.tools.mcp.remote_tool import RemoteTool
from tests.tools.mcp.serving import served
from tests.tools.mcp.test_server import PIXEL, add, draw, fail, whose

STDIO = [sys.executable, "-m", "tests.tools.mcp.stdio_server"]


class Foreign:
    """A server made with the SDK alone."""

    def __init__(self) -> None:
        from mcp.server.mcpserver import MCPServer

        self.begun, self.cancelled = threading.Event(), threading.Event()
        server = MCPServer("foreign")

        @server.tool(name="count.words", description="Count words. " + "x" * 9_000)
        def count(text: str) -> int:
            return len(text.split())

        @server.tool(name="hold")
        async def hold() -> str:
            self.begun.set()
            try:
                await asyncio.sleep(3_600)
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
            return "never"

        self.app = server.streamable_http_app()


@pytest.fixture(scope="module")
def foreign() -> Iterator[tuple[Foreign, str]]:
    made = Foreign()
    with served(made.app) as url:
        yield made, f"{url}/mcp"


def test_tools_of_a_server_are_called_as_ours(foreign: tuple[Foreign, str], tenant: Tenant) -> None:
    with (
        McpConnection(foreign[1], prefix="far_", only=["count.words"]) as connection,
        ToolRegistry(connection.tools) as registry,
    ):
        tools = registry.bind(tenant)
        (spec,) = tools.specs()
        assert (spec.name, spec.level) == ("far_count_words", SecurityLevel.PRIVILEGED)
        assert len(spec.description) == 4_000
        assert tools.call("far_count_words", {"text": "a b c"}).value == {"result": 3}
        found = asyncio.run(tools.acall("far_count_words", '{"text": "a b"}'))
        assert found.value == {"result": 2}
        fault = tools.call("far_count_words", {"text": 3}).fault
        assert fault is not None
        assert fault.kind is FaultKind.INVALID_ARGUMENTS
        assert "text: 3 is not of type 'string'" in fault.message
        strict = registry.bind(tenant, policy=ToolPolicy(max_level=SecurityLevel.RESTRICTED))
        assert strict.specs() == []


def test_cancelling_a_call_cancels_it_there(foreign: tuple[Foreign, str], tenant: Tenant) -> None:
    there, url = foreign
    there.begun.clear()

    async def main(tools: Any) -> None:
        call = asyncio.create_task(tools.acall("hold", {}))
        assert await asyncio.to_thread(there.begun.wait, 60)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    with (
        McpConnection(url, only=["hold"]) as connection,
        ToolRegistry(connection.tools) as registry,
    ):
        asyncio.run(main(registry.bind(tenant)))
        assert there.cancelled.wait(60)
        late = registry.bind(tenant).call("hold", {}, timeout=0.2)
        assert late.fault is not None
        assert late.fault.kind is FaultKind.TIMEOUT


def test_ours_are_the_same_over_the_wire(tenant: Tenant) -> None:
    with ToolRegistry([whose, add, draw, fail]) as near:
        app = McpServer(authenticate={"token": near.bind(tenant)}).asgi()
        headers = {"Authorization": "Bearer token"}
        with (
            served(app) as url,
            McpConnection(f"{url}/mcp", headers=headers) as connection,
            ToolRegistry(connection.tools) as registry,
        ):
            tools = registry.bind(tenant)
            assert tools.call("add", {"a": 2}).value == "3"
            assert tools.call("whose", {}).value == {"tenant": "acme"}
            assert tools.call("draw", {}).value[1]["data"] == PIXEL
            fault = tools.call("fail", {"how": "raise"}).fault
            assert fault is not None
            assert fault.kind is FaultKind.FAILED
            assert "so it is" in fault.message
            with pytest.raises(ToolFailed, match="no connection to the MCP server: HTTP 401"):
                McpConnection(f"{url}/mcp", headers={"Authorization": "Bearer another"})


def test_a_process_is_spoken_to(tenant: Tenant) -> None:
    with (
        McpConnection(STDIO, environment={"GIVEN": "by us"}) as connection,
        ToolRegistry(connection.tools) as registry,
    ):
        result = registry.bind(tenant).call("whose", {})
        assert result.value == {"tenant": "acme", "given": "by us"}
    with ToolRegistry(connection.tools) as registry, pytest.raises(ClosedError, match="is closed"):
        registry.bind(tenant).call("whose", {})


@pytest.mark.parametrize(
    "server", ["http://127.0.0.1:1/mcp", ["/nowhere/server"], [sys.executable, "-c", "pass"]]
)
def test_a_server_that_is_not_there_is_named(server: Any) -> None:
    where = server if isinstance(server, str) else server[0]
    with pytest.raises(ToolFailed, match=f"{where}: no connection to the MCP server"):
        McpConnection(server)


def test_a_server_that_says_nothing_is_left() -> None:
    silent = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(ToolFailed, match="not in time"):
        McpConnection(silent, connect_timeout=0.5)


def test_wrong_arguments_are_named(foreign: tuple[Foreign, str]) -> None:
    with pytest.raises(ConfigError, match="nothing confines them here"):
        McpConnection(foreign[1], options=ToolOptions())
    with pytest.raises(ConfigError, match="got none"):
        McpConnection([])
    with pytest.raises(ConfigError, match="has no tool 'none'"):
        McpConnection(foreign[1], only=["none"])


class Found:
    """What a server might say of a tool."""

    name, title, description = "a", "A", None

    def __init__(self, schema: dict[str, Any]) -> None:
        self.input_schema = schema


async def nothing(name: str, arguments: dict[str, Any]) -> None:
    return None


@pytest.mark.parametrize(
    "schema, arguments, named",
    [
        (
            {"type": "object", "properties": {"x": {"$ref": "http://127.0.0.1:1/x"}}},
            {"x": 1},
            "can't be used",
        ),
        ({"type": "object", "properties": {"x": {"$ref": "#"}}}, "[" * 9_999, "no JSON"),
        ({"type": "nothing"}, {}, "can't be used"),
        ({"type": "object", "required": ["x"]}, {}, "'x' is a required property"),
        ({"type": "object"}, [], "given by name, got list"),
    ],
)
def test_a_schema_of_theirs_fetches_nothing_and_breaks_nothing(
    schema: dict[str, Any], arguments: Any, named: str
) -> None:
    options = ToolOptions(trusted=True)
    remote = RemoteTool(Found(schema), prefix="", options=options, call=nothing)
    with pytest.raises(InvalidArguments, match=named):
        remote.validate(arguments)


def test_an_argument_of_theirs_may_have_any_name_and_no_endless_default() -> None:
    told: list[dict[str, Any]] = []

    async def call(name: str, arguments: dict[str, Any]) -> CallToolResult:
        told.append(arguments)
        return CallToolResult(content=[])

    schema = {"type": "object", "properties": {"self": {"default": float("inf")}}}
    remote = RemoteTool(Found(schema), prefix="", options=ToolOptions(trusted=True), call=call)
    asyncio.run(remote.function(**remote.validate({"self": 1})))
    assert told == [{"self": 1}]
    assert remote.spec.parameters["properties"] == {"self": {}}


def test_a_pattern_of_theirs_is_left_to_them() -> None:
    schema = {"type": "object", "properties": {"x": {"type": "string", "pattern": "^(a+)+$"}}}
    options = ToolOptions(trusted=True)
    remote = RemoteTool(Found(schema), prefix="", options=options, call=nothing)
    assert remote.validate({"x": "a" * 60 + "!"})["x"].endswith("!")


DRAFT = "https://json-schema.org/draft/2020-12/schema"
EVIL = "^(a+)+$"
NAMES = {"patternProperties": {EVIL: True}}


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"x": {"$schema": DRAFT, "pattern": EVIL}}},
        {**NAMES, "additionalProperties": False},
        {**NAMES, "unevaluatedProperties": False},
        {
            "allOf": [{"$ref": "#/properties"}],
            "properties": {**NAMES, "additionalProperties": False},
        },
    ],
)
def test_no_rule_of_theirs_runs_a_pattern_here(schema: dict[str, Any]) -> None:
    remote = RemoteTool(Found(schema), prefix="", options=ToolOptions(trusted=True), call=nothing)
    # Long enough to be told apart, short enough that the test ends where it is run.
    text = "a" * 16 + "!"
    assert remote.validate({"x": text, text: 1}) == {"x": text, text: 1}


def test_a_schema_that_multiplies_is_given_up() -> None:
    parts = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(15)}
    schema = {"$ref": "#/$defs/d0", "$defs": {**parts, "d15": {}}}
    remote = RemoteTool(Found(schema), prefix="", options=ToolOptions(trusted=True), call=nothing)
    with pytest.raises(InvalidArguments, match="more than 20,000 steps"):
        remote.validate({})


def test_additional_arguments_are_refused_where_no_pattern_says_otherwise() -> None:
    schema = {"properties": {"x": {}}, "additionalProperties": False}
    remote = RemoteTool(Found(schema), prefix="", options=ToolOptions(trusted=True), call=nothing)
    with pytest.raises(InvalidArguments, match="'y' was unexpected"):
        remote.validate({"y": 1})
