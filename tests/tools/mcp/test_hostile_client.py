"""Clients of MCP that reach for another's session, or take what all share; by requests of HTTP."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from mcp import MCPError

import llmspell
from llmspell import TenantConfig
from llmspell.tools import Answer, TenantTools, ToolCall, ToolPolicy, ToolRegistry, ask_client
from llmspell.tools.mcp import McpServer, Resource, ResourceTemplate
from llmspell.tools.mcp.sessions import Session
from llmspell.tools.mcp.subscriptions import Subscription, Subscriptions
from tests.tools.mcp.asking import asked
from tests.tools.mcp.serving import served

VERSION = "2025-11-25"


def day_of(day: str) -> str:
    return day


class Client:
    """One that sends what it likes.

    Args:
        url: of the server.
        token: that it has.
    """

    def __init__(self, url: str, token: str) -> None:
        self._url = urlsplit(url)
        self.headers = [("Authorization", f"Bearer {token}"), ("MCP-Protocol-Version", VERSION)]
        client = {"name": "hostile", "version": "1"}
        params = {"protocolVersion": VERSION, "capabilities": {}, "clientInfo": client}
        with self.asking("POST", "initialize", params) as answer:
            self.session = answer.getheader("mcp-session-id") or ""
        self.headers.append(("Mcp-Session-Id", self.session))
        with self.asking("POST", "notifications/initialized", None, id=None):
            pass

    @contextmanager
    def asking(
        self, verb: str, method: str | None, params: Any, *more: tuple[str, str], id: Any = 1
    ) -> Iterator[http.client.HTTPResponse]:
        """The beginning of an answer."""
        connection = http.client.HTTPConnection(str(self._url.hostname), self._url.port, timeout=60)
        body = b""
        if method is not None:
            message = {"jsonrpc": "2.0", "method": method, "params": params, "id": id}
            body = json.dumps({k: v for k, v in message.items() if v is not None}).encode()
        connection.putrequest(verb, "/mcp")
        for name, value in [
            ("Accept", "application/json, text/event-stream"),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            *self.headers,
            *more,
        ]:
            connection.putheader(name, value)
        connection.endheaders(body)
        try:
            yield connection.getresponse()
        finally:
            connection.close()

    def ask(self, method: str, params: Any, *, id: Any = 1) -> Any:
        """What an answer says."""
        with self.asking("POST", method, params, id=id) as answer:
            for line in answer:
                if line.startswith(b"data: {"):
                    return json.loads(line.removeprefix(b"data: "))
        raise AssertionError(f"no answer to {method}")


@contextmanager
def serving(folder: Path, of_tenant: int = 9, **given: Any) -> Iterator[tuple[str, McpServer]]:
    """A server of two tenants, and where it is."""
    with llmspell.open(folder) as database, ToolRegistry() as registry:
        tenants = [database.create_tenant(TenantConfig(id=name)) for name in ("acme", "other")]
        tokens = {f"of-{one.id}": registry.bind(one) for one in tenants}
        server = McpServer(authenticate=tokens, **given)
        with served(server.asgi(max_sessions_of_tenant=of_tenant)) as url:
            yield url, server


def test_what_a_session_was_told_is_fetched_by_no_other_that_names_both(tmp_path: Path) -> None:
    secret = Resource("notes://now", lambda: "a secret of acme")
    with serving(tmp_path / "data", resources=[secret]) as (url, _):
        acme, other = Client(url, "of-acme"), Client(url, "of-other")
        read = acme.ask("resources/read", {"uri": "notes://now"}, id=2)
        assert read["result"]["contents"][0]["text"] == "a secret of acme"
        for first, last in ((other, acme), (acme, other)):
            other.headers = [one for one in other.headers if one[0] != "Mcp-Session-Id"]
            both = [("Mcp-Session-Id", one.session) for one in (first, last)]
            with other.asking("GET", None, None, *both, ("Last-Event-ID", "3")) as answer:
                assert answer.status == 400
                assert b"a secret" not in answer.read()


def test_a_tenant_leaves_sessions_to_the_others(tmp_path: Path) -> None:
    def refused() -> bool:
        return not Client(url, "of-acme").session

    with serving(tmp_path / "data", of_tenant=2) as (url, _):
        first, second = Client(url, "of-acme"), Client(url, "of-acme")
        assert refused()
        assert Client(url, "of-other").session
        with first.asking("DELETE", None, None) as answer:
            assert answer.status == 200
        # Until the task of the session has ended.
        assert not all(refused() for _ in range(1_000))
        assert refused()
        with second.asking("DELETE", None, None):
            pass
        wrong = Client.__new__(Client)
        wrong._url, wrong.headers = first._url, first.headers[:2]
        for _ in range(5):  # what begins no session takes no place of one
            with wrong.asking("POST", "tools/list", {}) as answer:
                assert answer.status == 400
        assert not all(refused() for _ in range(1_000))


def test_long_ids_of_requests_take_of_the_room_that_a_session_has() -> None:
    from mcp import types

    session, name = Session(max_bytes=10_000), "x" * 4_000
    answer = types.JSONRPCResponse(jsonrpc="2.0", id=name, result={"text": "y" * 20_000})
    for _ in range(20):
        session.keep(name, None)
    assert len(session._events) == 2
    session.keep("short", answer)
    (kept,) = [one for one in session._events if one.message is not None]
    assert len(session._events) == 2 and kept.size > 4_000


def test_side_by_side_a_session_subscribes_to_no_more_than_it_may(tmp_path: Path) -> None:
    class Slow(ResourceTemplate):
        async def mark(self, tenant: Any, uri: str) -> None:
            await asyncio.sleep(0.2)

    template = Slow("notes://{day}", day_of, name="day")

    async def ask(client: Any) -> None:
        calls = [client.subscribe_resource(f"notes://{number}") for number in range(110)]
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert [isinstance(one, MCPError) for one in found].count(True) == 10

    with serving(tmp_path / "data", resources=[template]) as (url, _):
        asked(url, ask, "of-acme", mode="legacy")


def test_a_client_that_reads_nothing_holds_up_nobody_that_is_told_of_changes(
    tmp_path: Path,
) -> None:
    class Changing(ResourceTemplate):
        async def mark(self, tenant: Any, uri: str) -> int:
            return next(marks)

    marks = itertools.count()
    days = Changing("notes://{day}", day_of, name="day")

    async def main(subscriptions: Subscriptions, tools: TenantTools) -> None:
        heard = asyncio.Event()
        begun: list[str] = []

        async def never() -> None:
            begun.append("word to who doesn't read")
            await asyncio.Event().wait()

        async def hear() -> None:
            if begun:
                heard.set()

        loop, sessions = asyncio.get_running_loop(), [Session(), Session()]
        for session, tell in zip(sessions, (never, hear), strict=True):
            session.subscribed["notes://now"] = Subscription(tools, tell, loop, days, -1)
            subscriptions._add(session)
        async with subscriptions.watching(0.001):
            await heard.wait()
        heard.clear()
        for _ in range(100):
            await asyncio.to_thread(subscriptions.changed, "notes://now", None)
        await heard.wait()
        # Nor does what it doesn't read pile up.
        assert len(begun) == 1

    with llmspell.open(tmp_path / "data") as database, ToolRegistry() as registry:
        tools = registry.bind(database.create_tenant(TenantConfig(id="acme")))
        server = McpServer(tools, resources=[days])
        asyncio.run(asyncio.wait_for(main(server._subscriptions, tools), 60))


def test_who_goes_away_from_a_slow_resource_begins_no_more_threads_than_calls_may_run(
    tmp_path: Path,
) -> None:
    go_on, begun = threading.Event(), []

    def slow() -> str:
        begun.append("a thread")
        go_on.wait(60)
        return "done"

    async def ask(client: Any) -> None:
        for number in range(2):
            reading = asyncio.ensure_future(client.read_resource("notes://now"))
            while len(begun) == number:
                await asyncio.sleep(0.01)
            reading.cancel()
            await asyncio.wait([reading])
        with pytest.raises(MCPError, match="too many calls at one time"):
            await client.read_resource("notes://now")
        assert len(begun) == 2
        go_on.set()
        while True:  # until one of the threads has ended
            with suppress(MCPError):
                (read,) = (await client.read_resource("notes://now")).contents
                break
        assert read.text == "done"

    policy = ToolPolicy(max_concurrent=2, max_wait=0.2)
    with llmspell.open(tmp_path / "data") as database, ToolRegistry() as registry:
        tools = registry.bind(database.create_tenant(TenantConfig(id="acme")), policy=policy)
        with served(McpServer(tools, resources=[Resource("notes://now", slow)]).asgi()) as url:
            try:
                asked(url, ask)
            finally:
                go_on.set()


def test_who_approves_sees_signs_that_would_show_other_arguments_than_are_used() -> None:
    class Reading:
        shown = ""

        async def elicit(self, message: str, schema: Any, *, timeout: float = 300.0) -> Answer:
            self.shown = message
            return Answer("decline")

    reader: Any = Reading()
    # Shown as it is: a right-to-left override, an invisible sign, a terminal's CSI, a line's end.
    arguments = {"to": "Zoë \u202e001\u200b\u009b2K\u2028"}
    assert not asyncio.run(ask_client(ToolCall("acme", "pay", arguments, reader))).is_given
    assert reader.shown == 'Call the tool pay with {"to": "Zoë \\u202e001\\u200b\\u009b2K\\u2028"}?'
