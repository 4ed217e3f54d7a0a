"""Tools that speak with the client of MCP that called them, and approval that it gives."""

from __future__ import annotations

import asyncio
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from llmspell import Tenant
from llmspell.errors import ConfigError, ToolFailed
from llmspell.tools import ToolContext, ToolPolicy, ToolRegistry, ask_client, tool
from llmspell.tools.mcp import McpServer
from llmspell.tools.mcp.caller import McpCaller
from llmspell.tools.mcp.sessions import Session, SessionMiddleware
from tests.tools.mcp.asking import asked
from tests.tools.mcp.serving import served
from tests.tools.mcp.test_server import ACCEPT, HELLO

FORM = {
    "type": "object",
    "properties": {"size": {"type": "integer", "minimum": 1}},
    "required": ["size"],
}


@tool(trusted=True)
async def order(context: ToolContext) -> dict[str, Any]:
    """Ask how many."""
    assert context.client is not None
    answer = await context.client.elicit("How many?", FORM, timeout=60)
    return {"action": answer.action, "content": dict(answer.content)}


@tool(trusted=True)
async def ponder(context: ToolContext) -> dict[str, Any]:
    """Ask the client's model, and tell of it."""
    assert context.client is not None
    await context.client.progress(1, 2, "asking")
    await context.client.log("debug", "in detail")
    await context.client.log("warning", {"asked": True}, logger="ponder")
    said = await context.client.sample("Why?", max_tokens=10, system="Be brief.", timeout=60)
    return {"text": said.text, "model": said.model, "stop": said.stop_reason}


@tool(trusted=True)
async def offered(context: ToolContext) -> dict[str, bool]:
    """Tell what the client can be asked."""
    assert context.client is not None
    return {"elicit": context.client.can_elicit, "sample": context.client.can_sample}


@tool(trusted=True)
async def slow(context: ToolContext) -> str:
    """Send the client away."""
    assert context.client is not None
    await context.client.hang_up()
    return f"for {context.tenant.id}"


PAID: list[int] = []


@tool(trusted=True)
def pay(amount: int) -> str:
    """Pay."""
    PAID.append(amount)
    return "paid"


@pytest.fixture
def registry() -> Iterator[ToolRegistry]:
    with ToolRegistry([order, ponder, offered, slow, pay]) as made:
        yield made


@pytest.fixture
def url(registry: ToolRegistry, tenant: Tenant) -> Iterator[str]:
    policy = ToolPolicy(approve=("pay",))
    tools = registry.bind(tenant, policy=policy, approve=ask_client)
    with served(McpServer(tools).asgi()) as where:
        yield where


def answering(action: str, **content: Any) -> Callable[..., Any]:
    from mcp import types

    async def answer(context: Any, params: Any) -> Any:
        return types.ElicitResult(action=action, content=content or None)  # type: ignore[arg-type]

    return answer


def result_of(url: str, name: str, arguments: dict[str, Any], **options: Any) -> Any:
    async def ask(client: Any) -> Any:
        return await client.call_tool(name, arguments)

    return asked(url, ask, **options)


@pytest.mark.parametrize(
    "action, content, said",
    [
        ("accept", {"size": 3}, {"action": "accept", "content": {"size": 3}}),
        ("decline", {}, {"action": "decline", "content": {}}),
        ("accept", {"size": 0}, "doesn't fit the form: 0 is less than the minimum of 1"),
    ],
)
def test_a_tool_asks_by_a_form(
    url: str, action: str, content: dict[str, Any], said: dict[str, Any] | str
) -> None:
    answer = answering(action, **content)
    result = result_of(url, "order", {}, mode="legacy", elicitation_callback=answer)
    if isinstance(said, str):
        assert result.is_error
        assert said in result.content[0].text
    else:
        assert result.structured_content == said


def test_a_tool_asks_the_clients_model_and_tells_of_it(url: str) -> None:
    from mcp import types

    heard: list[Any] = []

    async def answer(context: Any, params: Any) -> Any:
        assert (params.system_prompt, params.max_tokens) == ("Be brief.", 10)
        text = types.TextContent(text=f"So: {params.messages[0].content.text}")
        return types.CreateMessageResult(role="assistant", content=text, model="m")

    async def listen(params: Any) -> None:
        heard.append((params.level, params.data, params.logger))

    async def follow(done: float, total: float | None, message: str | None) -> None:
        heard.append((done, total, message))

    async def ask(client: Any) -> None:
        for level in (None, "debug", "error"):
            if level is not None:
                await client.set_logging_level(level)
            result = await client.call_tool("ponder", {}, progress_callback=follow)
            assert result.structured_content == {"text": "So: Why?", "model": "m", "stop": None}
            heard.append(level)

    options = {"sampling_callback": answer, "logging_callback": listen}
    asked(url, ask, mode="legacy", **options)
    progress, warning = (1, 2, "asking"), ("warning", {"asked": True}, "ponder")
    assert heard == [
        *(progress, warning, None),
        *(progress, ("debug", "in detail", None), warning, "debug"),
        *(progress, "error"),
    ]


def test_who_offers_nothing_is_not_asked(url: str) -> None:
    result = result_of(url, "offered", {}, mode="legacy")
    assert result.structured_content == {"elicit": False, "sample": False}
    for name, why in (("order", "nobody to be asked"), ("ponder", "no model to be asked")):
        result = result_of(url, name, {}, mode="legacy")
        assert result.is_error
        assert why in result.content[0].text


def test_where_results_are_json_the_client_is_not_asked(
    registry: ToolRegistry, tenant: Tenant
) -> None:
    with served(McpServer(registry.bind(tenant)).asgi(json_response=True)) as url:
        options = {"mode": "legacy", "elicitation_callback": answering("accept", size=1)}
        told = result_of(url, "offered", {}, **options).structured_content
        assert told == {"elicit": False, "sample": False}
        assert result_of(url, "order", {}, **options).is_error


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
def test_the_client_approves_a_call(url: str, mode: str) -> None:
    PAID.clear()
    asked_for: list[str] = []

    async def answer(context: Any, params: Any) -> Any:
        asked_for.append(params.message)
        return await answering("accept", allow=True)(context, params)

    result = result_of(url, "pay", {"amount": 2}, mode=mode, elicitation_callback=answer)
    assert result.content[0].text == "paid"
    assert asked_for == ['Call the tool pay with {"amount": 2}?']
    for refusal, why in [
        (answering("decline"), "said no"),
        (answering("accept", allow=False), "said no"),
        (answering("cancel"), "no answer"),
        (None, "nobody to be asked"),
    ]:
        result = result_of(url, "pay", {"amount": 2}, mode=mode, elicitation_callback=refusal)
        assert result.is_error
        assert why in result.content[0].text
    assert PAID == [2]


def test_what_nobody_can_read_nobody_approves(url: str) -> None:
    answer = answering("accept", allow=True)
    arguments = {"amount": int("9" * 4_100)}
    result = result_of(url, "pay", arguments, mode="legacy", elicitation_callback=answer)
    assert "too long to be shown" in result.content[0].text


def test_without_a_client_nobody_approves(registry: ToolRegistry, tenant: Tenant) -> None:
    tools = registry.bind(tenant, policy=ToolPolicy(approve=("pay",)), approve=ask_client)
    assert "nobody is there to approve it" in tools.call("pay", {"amount": 2}).text


STARTED: list[str] = []


@tool(trusted=True, idempotent=True)
async def plan(context: ToolContext) -> str:
    """Ask for two sizes, and a model what to make of them."""
    assert context.client is not None
    STARTED.append("plan")
    sizes = [
        (await context.client.elicit(f"Size {number}?", FORM)).content["size"] for number in (1, 2)
    ]
    return (await context.client.sample(f"Of {sizes}?", max_tokens=9)).text


async def echo(context: Any, params: Any) -> Any:
    from mcp import types

    said = types.TextContent(text=f"So: {params.messages[0].content.text}")
    return types.CreateMessageResult(role="assistant", content=said, model="m")


def test_since_2026_an_idempotent_tool_asks_by_running_again(
    registry: ToolRegistry, tenant: Tenant
) -> None:
    STARTED.clear()
    registry.add(plan)
    options = {
        "mode": "2026-07-28",
        "elicitation_callback": answering("accept", size=4),
        "sampling_callback": echo,
    }
    # Where results are JSON too: what is asked is one.
    app = McpServer(registry.bind(tenant)).asgi(json_response=True)
    with served(app) as url:
        assert result_of(url, "plan", {}, **options).content[0].text == "So: Of [4, 4]?"
        assert STARTED == ["plan"] * 4  # and what was answered is carried along
        offered = result_of(url, "offered", {}, **options).structured_content
        assert offered == {"elicit": False, "sample": False}
        result = result_of(url, "order", {}, **options)
        assert result.is_error
        assert "must be idempotent to ask" in result.content[0].text


def test_what_a_client_carries_along_is_sealed(registry: ToolRegistry, tenant: Tenant) -> None:
    from mcp import MCPError, types

    registry.add(plan)

    async def ask(client: Any) -> None:
        raw = client.session
        first = await raw.call_tool("plan", {}, allow_input_required=True)
        assert isinstance(first, types.InputRequiredResult)
        assert first.request_state is not None
        for name, state in (("plan", first.request_state[:-4] + "AAAA"), ("offered", None)):
            with pytest.raises(MCPError):
                await raw.call_tool(
                    name,
                    {},
                    request_state=state or first.request_state,
                    allow_input_required=True,
                )

    options = {"mode": "2026-07-28", "elicitation_callback": answering("accept", size=4)}
    with served(McpServer(registry.bind(tenant), state_keys=[b"k" * 32]).asgi()) as url:
        asked(url, ask, **options)
    with pytest.raises(ConfigError, match="at least 32 bytes"):
        McpServer(registry.bind(tenant), state_keys=[b"short"])


def test_a_client_of_a_process_is_asked_and_told() -> None:
    from mcp import Client
    from mcp.client.stdio import StdioServerParameters

    heard: list[Any] = []

    async def listen(params: Any) -> None:
        heard.append((params.level, params.data))

    async def main() -> None:
        server = StdioServerParameters(
            command=sys.executable, args=["-m", "tests.tools.mcp.stdio_server"]
        )
        callbacks = {
            "elicitation_callback": answering("accept", name="Ada"),
            "logging_callback": listen,
        }
        async with Client(server, mode="legacy", **callbacks) as client:
            await client.call_tool("greet", {})
            await client.set_logging_level("debug")
            result = await client.call_tool("greet", {})
            assert result.content[0].text == "Hello, Ada."
            assert heard == [("debug", "accept")]
            (read,) = (await client.read_resource("rules://house")).contents
            assert read.text == "Be kind."
            await client.subscribe_resource("rules://house")

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(deprecated|removed) as of 2026-07-28")
        asyncio.run(main())


def begin(http: httpx2.Client, token: str) -> dict[str, str]:
    hello = {**HELLO, "params": {**HELLO["params"], "protocolVersion": "2025-11-25"}}  # type: ignore[dict-item]
    headers = {"Authorization": f"Bearer {token}", "mcp-protocol-version": "2025-11-25"}
    begun = http.post("/mcp", json=hello, headers=headers)
    headers |= {"mcp-session-id": begun.headers["mcp-session-id"]}
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert http.post("/mcp", json=ready, headers=headers).status_code == 202
    return headers


def events_of(text: str) -> list[tuple[str, Any]]:
    """Ids and messages of a stream."""
    found = []
    for event in text.replace("\r\n", "\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in event.split("\n") if ": " in line)
        if "id" in fields:
            data = fields.get("data", "")
            found.append((fields["id"], json.loads(data) if data else None))
    return found


def test_who_comes_back_fetches_its_own_result_and_no_other(
    registry: ToolRegistry, tenant: Tenant
) -> None:
    tokens = {"a": registry.bind(tenant), "b": registry.bind(tenant)}
    app = McpServer(authenticate=tokens).asgi()
    call = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "slow"}}
    with served(app) as url, httpx2.Client(base_url=url, headers=ACCEPT, timeout=60) as http:
        mine, theirs = begin(http, "a"), begin(http, "b")
        ((last, nothing),) = events_of(http.post("/mcp", json=call, headers=mine).text)
        assert nothing is None
        # The other session has the same ids of requests and of events.
        assert events_of(http.post("/mcp", json=call, headers=theirs).text) == [(last, None)]
        headers = {**mine, "last-event-id": last}
        with http.stream("GET", "/mcp", headers=headers) as stream:
            for line in stream.iter_lines():
                if line.startswith("data: {"):
                    told = json.loads(line[6:])
                    break
        assert told["id"] == 7
        assert told["result"]["content"][0]["text"] == "for acme"
        # What isn't kept can't be fetched, nor can what is another's session.
        gone = {**mine, "last-event-id": "99"}
        assert events_of(http.get("/mcp", headers=gone).text) == []
        stolen = {**headers, "Authorization": theirs["Authorization"]}
        assert http.get("/mcp", headers=stolen).status_code == 404


def test_a_session_that_has_ended_keeps_nothing(registry: ToolRegistry, tenant: Tenant) -> None:
    app = McpServer(authenticate={"a": registry.bind(tenant)}).asgi()
    call = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "slow"}}
    with served(app) as url, httpx2.Client(base_url=url, headers=ACCEPT, timeout=60) as http:
        headers = begin(http, "a")
        layer: Any = app.middleware_stack
        while not isinstance(layer, SessionMiddleware):
            layer = layer.app
        (session,) = layer._sessions.values()
        ((last, _),) = events_of(http.post("/mcp", json=call, headers=headers).text)
        assert session.after(last) is not None
        assert http.delete("/mcp", headers=headers).status_code == 200
        while session.after(last) is not None:
            time.sleep(0.01)


def test_where_nothing_is_kept_nobody_is_sent_away(registry: ToolRegistry, tenant: Tenant) -> None:
    app = McpServer(authenticate={"a": registry.bind(tenant)}).asgi(replay_bytes=0)
    call = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "slow"}}
    with served(app) as url, httpx2.Client(base_url=url, headers=ACCEPT, timeout=60) as http:
        told = events_of(http.post("/mcp", json=call, headers=begin(http, "a")).text)
        assert told[-1][1]["result"]["content"][0]["text"] == "for acme"


def test_a_session_keeps_no_more_than_it_may() -> None:
    from mcp import types

    session = Session(max_bytes=10_000)
    first = session.keep("1", None)
    response = types.JSONRPCResponse(jsonrpc="2.0", id=1, result={"text": "x" * 20_000})
    session.keep("1", response)
    found = session.after(first)
    assert found is not None
    ((_, stream, message, _),) = found[1]
    assert stream == "1"
    assert isinstance(message, types.JSONRPCError)
    assert "larger than the 10,000 bytes" in message.error.message
    for _ in range(100):
        session.keep("2", None)
    assert session.after(first) is None


def test_a_log_has_a_level_that_there_is() -> None:
    caller = McpCaller(SimpleNamespace(protocol_version="2025-11-25"))
    with pytest.raises(ToolFailed, match="no level 'loud'"):
        asyncio.run(caller.log("loud", "x"))  # type: ignore[arg-type]
