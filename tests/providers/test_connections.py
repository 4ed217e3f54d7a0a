"""The limits of connections are those of the sockets that a server sees."""

from __future__ import annotations

import asyncio
import gc
import itertools
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import openai
import pytest

from llmspell import errors
from llmspell.providers import ConnectionSettings, OpenAIChat
from llmspell.providers.clients import Clients
from llmspell.security import Secret
from llmspell.testing import Fault, Script, ScriptedChatServer
from llmspell.tools.threads import begin
from tests.collected import left_pending
from tests.providers.models import ask

Use = Callable[[OpenAIChat, ScriptedChatServer], Awaitable[None]]


def using(script: Script, settings: ConnectionSettings, use: Use) -> None:
    async def run() -> None:
        async with OpenAIChat(
            "m", api_key="k", base_url=server.openai_url, connections=settings
        ) as model:
            await use(model, server)

    with ScriptedChatServer(script) as server:
        asyncio.run(run())


def test_the_limits_are_those_of_the_guide_unless_others_are_given() -> None:
    given = ConnectionSettings()
    assert (given.size, given.idle, given.lifetime) == (32, 4, 3_600)
    assert (given.idle_timeout, given.connect_timeout) == (300, 5)


def test_no_more_connections_are_open_than_size_and_idle_of_them_stay() -> None:
    together = threading.Barrier(5)
    numbers = itertools.count()

    def script(_: object) -> str:
        if next(numbers) < 5:
            together.wait(20)
        return "x"

    async def use(model: OpenAIChat, server: ScriptedChatServer) -> None:
        await asyncio.gather(*(model.acomplete(ask()) for _ in range(9)))
        assert server.connections == 5
        while server.open_connections > 2:
            await asyncio.sleep(0.01)
        assert server.open_connections == 2
        await model.acomplete(ask())
        assert server.connections == 5, "one that was idle is used again"

    using(script, ConnectionSettings(size=5, idle=2), use)


@pytest.mark.parametrize("idle_timeout, made", [(0.02, 2), (60.0, 1)])
def test_an_unused_connection_is_kept_for_its_idle_timeout(idle_timeout: float, made: int) -> None:
    async def use(model: OpenAIChat, server: ScriptedChatServer) -> None:
        await model.acomplete(ask())
        await asyncio.sleep(0.05)
        await model.acomplete(ask())
        assert server.connections == made

    using("x", ConnectionSettings(idle_timeout=idle_timeout), use)


def test_who_waits_too_long_for_a_connection_is_told() -> None:
    async def use(model: OpenAIChat, server: ScriptedChatServer) -> None:
        first = asyncio.create_task(model.acomplete(ask()))
        while not server.asked:
            await asyncio.sleep(0.01)
        with pytest.raises(errors.ProviderBusy):
            await model.acomplete(ask())
        first.cancel()
        await asyncio.wait([first])

    using(Fault("stall"), ConnectionSettings(size=1, idle=1, acquire_timeout=0.05), use)


class _Ending(asyncio.SelectorEventLoop):
    """Ends in the moment in which another thread asks something of it, once that is wanted."""

    ends: Callable[[], None] | None = None

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> Any:
        ends, self.ends = self.ends, None
        if ends is not None:
            ends()
        return super().call_soon_threadsafe(callback, *args, context=context)


@pytest.mark.parametrize("is_closed", [False, True])
def test_closing_waits_for_no_loop_that_ends_meanwhile(is_closed: bool) -> None:
    loop, running = _Ending(), threading.Event()

    def live() -> None:
        with pytest.raises(errors.ProviderUnreachable):
            loop.run_until_complete(model.acomplete(ask()))
        loop.call_soon(running.set)
        loop.run_forever()
        if is_closed:
            loop.close()

    def end() -> None:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and doesn't listen
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        model = OpenAIChat("m", api_key="k", base_url=url)
        thread = threading.Thread(target=live)
        thread.start()
        assert running.wait(60)
        loop.ends = end
        asyncio.run(asyncio.wait_for(model.aclose(), 60))
    if not is_closed:
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def test_a_host_that_takes_no_connection_is_given_up_after_connect_timeout() -> None:
    # Its line of connections is full, so that it doesn't answer at all (listen(2), Linux).
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        settings = ConnectionSettings(connect_timeout=0.1)
        with (
            OpenAIChat("m", api_key="k", base_url=url, connections=settings) as model,
            pytest.raises(errors.ProviderUnreachable) as caught,
        ):
            model.complete(ask())
    assert not caught.value.is_sent


def test_call_that_the_collector_ends_holds_up_none_that_makes_a_client() -> None:
    def make(http_client: Any) -> Any:
        gc.collect()
        return openai.AsyncOpenAI(api_key="k", http_client=http_client)

    clients = Clients(make, ConnectionSettings())

    async def calls(at: asyncio.Event) -> None:
        async with clients.client(Secret("old")):
            at.set()
            await asyncio.Future()

    async def call() -> str:
        async with clients.client(Secret("new")) as client:
            return str(client.api_key)

    with left_pending(calls):
        assert begin(lambda: asyncio.run(call())).result(20) == "new"
