"""Providers that fail: what is raised, and whether the call may have been billed."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import socket
import threading
import traceback
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from llmspell import errors
from llmspell.providers import ConnectionSettings, OpenAIChat, Retry, deadline
from llmspell.testing import Fault, Reply, ScriptedChatServer
from tests.clock import Clock
from tests.providers.models import KINDS, ask, kinds, scripted, streamed


def _stream(model: Any) -> None:
    async def run() -> None:
        try:
            async for _ in model.astream(ask()):
                pass
        finally:
            await model.aclose()

    asyncio.run(run())


@kinds
@pytest.mark.parametrize(
    "status, expected, is_sent",
    [
        (307, errors.ProviderRefused, False),
        (400, errors.ProviderRefused, False),
        (401, errors.ProviderDenied, False),
        (403, errors.ProviderDenied, False),
        (404, errors.ProviderRefused, False),
        (429, errors.ProviderRateLimited, False),
        (500, errors.ProviderOverloaded, True),
        (503, errors.ProviderOverloaded, False),
        (529, errors.ProviderOverloaded, False),
    ],
)
def test_a_status_is_an_error_of_its_own(
    kind: str, status: int, expected: type[errors.ProviderError], is_sent: bool
) -> None:
    with (
        scripted(kind, Fault("status", status=status, retry_after="7")) as (model, _),
        pytest.raises(expected) as caught,
    ):
        model.complete(ask())
    assert (caught.value.status, caught.value.is_sent) == (status, is_sent)
    assert ("redirects" in str(caught.value)) == (status == 307)
    if status in (429, 503, 529):
        assert caught.value.retry_after == 7.0


@kinds
@pytest.mark.parametrize(
    "fault, expected",
    [
        ("drop", errors.ProviderInterrupted),
        ("truncate", errors.ProviderInterrupted),
        ("garbage", errors.BadProviderResponse),
    ],
)
@pytest.mark.parametrize("is_stream", [False, True])
def test_a_broken_answer_is_an_error_and_may_have_been_billed(
    kind: str, fault: Any, expected: type[errors.ProviderError], is_stream: bool
) -> None:
    with scripted(kind, Fault(fault)) as (model, _), pytest.raises(expected) as caught:
        _stream(model) if is_stream else model.complete(ask())
    assert caught.value.is_sent


@kinds
@pytest.mark.parametrize("is_stream", [False, True])
def test_an_answer_that_stalls_ends_with_its_deadline_and_may_have_been_billed(
    kind: str, is_stream: bool, clock: Clock
) -> None:
    async def run(model: Any) -> None:
        async with model:
            with deadline(60), pytest.raises(errors.ProviderTimeout) as caught:
                asking = streamed(model, ask()) if is_stream else model.acomplete(ask())
                asked = asyncio.ensure_future(asking)
                while not server.asked:
                    await asyncio.sleep(0.005)
                await clock.run_out(asked)
                await asked
            assert caught.value.is_sent

    with scripted(kind, Fault("stall")) as (model, server):
        clock.run(run(model))


@kinds
def test_an_answer_that_is_none_and_whole_leaves_its_connection_open(kind: str) -> None:
    with scripted(kind, [Fault("garbage"), "well"]) as (model, server):
        with pytest.raises(errors.BadProviderResponse):
            model.complete(ask())
        assert model.complete(ask()).text == "well"
        assert server.connections == 1


def test_a_path_that_is_none_leaves_nothing_for_the_next_request() -> None:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}]})
    with ScriptedChatServer("well") as server:
        client = http.client.HTTPConnection(server.url.removeprefix("http://"))
        statuses = []
        for path in ("/nowhere", "/v1/chat/completions"):
            client.request("POST", path, body)
            with client.getresponse() as response:
                statuses.append(response.status)
                response.read()
        client.close()
        assert (statuses, server.connections) == ([404, 200], 1)


@kinds
def test_an_error_within_a_stream_is_told(kind: str) -> None:
    with (
        scripted(kind, Fault("event", status=529)) as (model, _),
        pytest.raises(errors.ProviderOverloaded) as caught,
    ):
        _stream(model)
    assert caught.value.is_sent


@kinds
def test_a_script_that_is_at_its_end_says_so(kind: str) -> None:
    with scripted(kind, ["well"]) as (model, _):
        assert model.complete(ask()).text == "well"
        with pytest.raises(errors.ProviderRefused, match="the script has no more replies"):
            model.complete(ask())


@kinds
def test_no_server_means_that_nothing_was_sent(kind: str) -> None:
    with scripted(kind, "x") as (model, server):
        server.close()
        with pytest.raises(errors.ProviderUnreachable) as caught:
            model.complete(ask())
    assert not caught.value.is_sent
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and doesn't listen
        where = f"127.0.0.1:{silent.getsockname()[1]}"
        with (
            OpenAIChat("m", api_key="k", base_url=f"http://user:word@{where}") as model,
            pytest.raises(errors.ProviderUnreachable, match=f": no connection to {where}: "),
        ):
            model.complete(ask())


@kinds
def test_a_deadline_passes_through_and_ends_the_call(kind: str, clock: Clock) -> None:
    async def run(model: Any) -> None:
        async with model:
            with deadline(60):
                asked = asyncio.ensure_future(model.acomplete(ask()))
                while not server.asked:
                    await asyncio.sleep(0.005)
                await clock.run_out(asked)
                with pytest.raises(errors.ProviderTimeout):
                    await asked
                with pytest.raises(errors.ProviderTimeout, match="nothing was sent"):
                    await model.acomplete(ask())
        assert len(server.asked) == 1

    with scripted(kind, Fault("stall")) as (model, server):
        clock.run(run(model))


def test_the_earlier_of_two_deadlines_holds() -> None:
    with deadline(0.5) as outer, deadline(60) as inner:
        assert inner == outer
    with pytest.raises(errors.InputError), deadline(0):
        pass


@kinds
def test_a_cancelled_call_ends(kind: str) -> None:
    async def run(model: Any) -> None:
        task = asyncio.create_task(model.acomplete(ask()))
        while not server.asked:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await model.aclose()

    with scripted(kind, Reply("late", after=30)) as (model, server):
        asyncio.run(run(model))


@kinds
def test_counts_that_no_model_can_have_are_no_answer(kind: str) -> None:
    with scripted(kind, Reply("x", input_tokens=10**12)) as (model, _):
        with pytest.raises(errors.BadProviderResponse) as caught:
            model.complete(ask())
        assert caught.value.is_sent


@kinds
def test_a_refused_key_has_no_trace_of_what_the_provider_said_of_it(kind: str) -> None:
    with scripted(kind, Fault("status", status=401)) as (model, _):
        with pytest.raises(errors.ProviderDenied) as caught:
            model.complete(ask())
        assert "scripted" not in "".join(traceback.format_exception(caught.value))


@kinds
def test_a_key_that_a_provider_repeats_is_in_no_error(kind: str) -> None:
    faults = [Fault("status", status=status) for status in (400, 429, 500)]
    key = "scripted"  # as the server says in what it answers
    with (
        ScriptedChatServer([*faults, Fault("event", status=529)]) as server,
        KINDS[kind](server, api_key=key) as model,
    ):
        for call in (*[lambda: model.complete(ask())] * 3, lambda: _stream(model)):
            with pytest.raises(errors.ProviderError, match=r"\*\*\* status") as caught:
                call()
            assert key not in str(caught.value)


@kinds
@pytest.mark.parametrize("key", ["sk-hidden\n", "sk hidden", "sk-hidd\u00e9n"])
def test_a_key_that_no_header_takes_is_told_and_not_shown(kind: str, key: str) -> None:
    with ScriptedChatServer("x") as server, KINDS[kind](server, api_key=key) as model:
        with pytest.raises(errors.ConfigError) as caught:
            model.complete(ask())
        assert "hid" not in "".join(traceback.format_exception(caught.value))
        assert server.asked == []


NARROW = ConnectionSettings(max_response_bytes=100_000, max_event_bytes=8_000)


@kinds
@pytest.mark.parametrize(
    "fault, is_stream, said",
    [
        ("endless", False, "max_response_bytes"),
        ("endless", True, "max_response_bytes"),
        ("endless_event", True, "max_event_bytes"),
    ],
)
def test_an_answer_without_end_is_read_up_to_its_bound(
    kind: str, fault: Any, is_stream: bool, said: str
) -> None:
    with (
        scripted(kind, Fault(fault), connections=NARROW) as (model, _),
        pytest.raises(errors.ProviderResponseTooLarge, match=said) as caught,
    ):
        _stream(model) if is_stream else model.complete(ask())
    assert caught.value.is_sent and not Retry(sent=True).takes(caught.value)


@kinds
def test_a_stream_of_many_short_events_is_within_their_bound(kind: str) -> None:
    text = "many short events, " * 500
    with scripted(kind, Reply(text), connections=ConnectionSettings(max_event_bytes=700)) as (
        model,
        _,
    ):
        _stream(model)


def test_a_compressed_answer_is_not_asked_for_and_not_taken() -> None:
    asked_for = []

    class Compressed(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))  # or the end resets the connection
            asked_for.append(self.headers["Accept-Encoding"])
            self.send_response(200)
            self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            self.wfile.write(gzip.compress(b" " * 10_000_000))

    with ThreadingHTTPServer(("127.0.0.1", 0), Compressed) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/v1"
        try:
            with (
                OpenAIChat("m", api_key="k", base_url=url) as model,
                pytest.raises(errors.BadProviderResponse, match="compressed"),
            ):
                model.complete(ask())
        finally:
            server.shutdown()
            thread.join()
    assert asked_for == ["identity"]


BODIES = [
    b"[]",
    b"null",
    b"",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"content": null}',
    b'{"content": [], "stop_reason": ["a"]}',
    b'{"content": [{"type": "text", "text": 5}]}',
    b'{"content": [], "stop_reason": "end_turn", "usage": {"input_tokens": Infinity}}',
    b'{"type": "message_delta", "delta": {"stop_reason": ["a"]}, "usage": {}}',
    b'{"choices": [{"finish_reason": ["x"], "message": {"content": "x"}}]}',
    b'{"choices": [{"finish_reason": "stop", "message": {"content": ["x"]}}]}',
    b'{"choices": [{"finish_reason": "stop", "message": {"content": "x"}}], "usage": 7}',
    b'{"choices": [{"finish_reason": "stop", "delta": {}}], "usage": {"prompt_tokens": Infinity}}',
]


@kinds
def test_garbage_of_any_kind_is_a_bad_response(kind: str) -> None:
    body = b""

    class Garbage(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            is_stream = asked.get("stream")
            self.send_response(200)
            kind = "text/event-stream" if is_stream else "application/json"
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(b"data: " + body + b"\n\n" if is_stream else body)

    async def run() -> None:
        nonlocal body
        async with KINDS[kind](Address(), api_key="k") as model:
            for given in BODIES:
                body = given
                with pytest.raises(errors.BadProviderResponse):
                    await model.acomplete(ask())
                with suppress(errors.BadProviderResponse):  # some are a stream that says nothing
                    async for _ in model.astream(ask()):
                        pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Garbage) as server:

        class Address:
            anthropic_url = f"http://127.0.0.1:{server.server_port}"
            openai_url = f"{anthropic_url}/v1"

        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            asyncio.run(run())
        finally:
            server.shutdown()
            thread.join()
