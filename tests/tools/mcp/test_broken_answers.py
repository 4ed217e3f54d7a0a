"""A connection to an MCP server that breaks its answers off, or leaves them without an end."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from llmspell.errors import ToolInterrupted
from llmspell.tools.mcp import McpConnection, connection, requests
from tests.processes import until
from tests.tools.mcp.serving import called, served

SCHEMA = {"type": "object"}
#: A stream that ends, to be asked for anew at once.
AGAIN = b"id: 1\nretry: 0\ndata:\n\n"


class Cutting:
    """A server that breaks off some of its answers, holds others, and says to ask for them again.

    Its answer to the end of a session has no end itself.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.sessions: dict[str, bool] = {}  # whether it was told that they ended
        self.streams: list[str | None] = []  # that it was asked for, behind which event
        self.held, self.may_go_on = asyncio.Event(), asyncio.Event()
        self.loop: asyncio.AbstractEventLoop
        methods = ["GET", "POST", "DELETE"]
        self.app = Starlette(routes=[Route("/mcp", self.answer, methods=methods)])

    async def answer(self, request: Request) -> Response:
        self.loop = asyncio.get_running_loop()
        if request.method == "DELETE":
            self.sessions[request.headers["mcp-session-id"]] = True
            return StreamingResponse(self.without_end(), media_type="text/event-stream")
        if request.method == "GET":
            self.streams.append(request.headers.get("last-event-id"))
            if self.streams[-1] is None:
                return StreamingResponse(self.nothing(), media_type="text/event-stream")
            return Response(AGAIN, media_type="text/event-stream")
        message = await request.json()
        told: dict[str, Any] = {"jsonrpc": "2.0", "id": message.get("id")}
        headers = {}
        match message["method"]:
            case "initialize":
                headers = {"mcp-session-id": str(len(self.sessions))}
                self.sessions[headers["mcp-session-id"]] = False
                told["result"] = {
                    "protocolVersion": "2025-06-18",
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "cutting", "version": "1"},
                }
            case "tools/list":
                hints = {"idempotentHint": True}
                tools: list[dict[str, Any]] = [
                    *({"name": name} for name in ("cut", "end", "hold", "again")),
                    *({"name": name, "annotations": hints} for name in ("cut_once", "end_once")),
                ]
                told["result"] = {"tools": [{**one, "inputSchema": SCHEMA} for one in tools]}
            case "tools/call":
                return await self.call(message["params"]["name"], told)
            case _:
                told["error"] = {"code": -32601, "message": "there is no such method"}
        return JSONResponse(told, headers=headers)

    async def call(self, name: str, told: dict[str, Any]) -> Response:
        self.calls.append(name)
        told["result"] = {"content": [{"type": "text", "text": name}]}
        if name == "hold":
            self.held.set()
            await self.may_go_on.wait()
        elif name == "again":
            return Response(AGAIN, media_type="text/event-stream")
        elif name == "end" or (name == "end_once" and self.calls.count(name) == 1):
            return Response(b"data:\n\n", media_type="text/event-stream")
        elif name == "cut" or self.calls.count(name) == 1:
            return StreamingResponse(self.parts(), media_type="application/json")
        return JSONResponse(told)

    async def parts(self) -> Any:
        yield b'{"jsonrpc'
        raise ConnectionAbortedError

    async def nothing(self) -> Any:
        await asyncio.Event().wait()
        yield b""

    async def without_end(self) -> Any:
        while True:
            yield b"data: " + b"a" * 1_000 + b"\n\n"
            await asyncio.sleep(0.001)


def test_an_answer_that_breaks_off_ends_no_other_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_LONGEST_PAUSE", 0.0)
    monkeypatch.setattr(requests, "_PAUSE", 3_600.0)
    server = Cutting()
    with served(server.app) as url, McpConnection(f"{url}/mcp") as made:
        with ThreadPoolExecutor(1) as thread:
            held = thread.submit(called, made, "hold")
            until(server.held.is_set)
            try:
                with pytest.raises(ToolInterrupted, match="cut was called, which may have run"):
                    called(made, "cut")
                assert called(made, "cut_once") == "cut_once"
            finally:
                server.loop.call_soon_threadsafe(server.may_go_on.set)
            assert held.result(60) == "hold"
        assert server.calls == ["hold", "cut", "cut_once", "cut_once"]
        made.close()
        assert not made._thread.is_alive()
        assert server.sessions == {"0": True, "1": True, "2": True}  # it has none of them any more
        assert not server.streams


def test_a_stream_that_ends_without_the_answer_is_a_connection_that_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "_LONGEST_PAUSE", 0.0)
    server = Cutting()
    with served(server.app) as url, McpConnection(f"{url}/mcp") as made:
        with pytest.raises(ToolInterrupted, match="end was called, which may have run"):
            called(made, "end")
        assert called(made, "end_once") == "end_once"
        assert server.calls == ["end", "end_once", "end_once"]


def test_an_answer_that_nobody_waits_for_is_not_asked_for_again_and_again() -> None:
    server = Cutting()
    with served(server.app) as url, McpConnection(f"{url}/mcp") as made:
        (again,) = [one for one in made.tools if one.remote_name == "again"]

        def tasks() -> int:
            return len(asyncio.all_tasks(made._loop))

        until(lambda: server.streams)
        before = tasks()

        async def cancelled() -> None:
            call = asyncio.ensure_future(again.run())
            await asyncio.to_thread(until, lambda: "1" in server.streams)
            call.cancel()
            await asyncio.wait([call])

        asyncio.run(cancelled())
        until(lambda: tasks() <= before)


def test_closing_ends_the_calls_on_their_way() -> None:
    server = Cutting()
    with served(server.app) as url, McpConnection(f"{url}/mcp") as made:
        with ThreadPoolExecutor(1) as thread:
            held = thread.submit(called, made, "hold")
            until(server.held.is_set)
            made.close()
            with pytest.raises(ToolInterrupted, match="hold was called, which may have run"):
                held.result(60)
        server.loop.call_soon_threadsafe(server.may_go_on.set)
    assert server.calls == ["hold"]
