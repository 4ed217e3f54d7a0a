"""The way out of a confined tool: the broker, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from llmspell.errors import ToolFailed, ToolTimeout
from llmspell.security import (
    Attempt,
    Broker,
    ConfinedTool,
    Sandbox,
    SecurityRequirements,
    ToolDefinition,
)
from tests.security.broker.servers import Server, ok, redirect
from tests.security.sandbox.conftest import SAFE, TOOLS
from tests.security.sandbox.test_programs import programs

FUNCTIONS = ["fetch", "fetch_many", "by_httpx", "by_requests", "by_socket"]
NEEDS = SecurityRequirements.restricted().with_network_access("a.test")


@pytest.fixture(scope="module")
def attempts() -> list[Attempt]:
    return []


@pytest.fixture(scope="module")
def fetching(attempts: list[Attempt]) -> Iterator[ConfinedTool]:
    """tools/fetching.py, whose a.test is the loopback, as an owner may allow."""

    def make_broker(definition: ToolDefinition) -> Broker:
        return Broker(
            [*definition.requirements.domains, "127.0.0.1"],
            resolver=lambda host, port: [ip_address("127.0.0.1")],
            on_attempt=attempts.append,
        )

    with Sandbox(make_broker=make_broker) as own:
        if own.host.missing_for(NEEDS):
            pytest.skip("this host can't confine tools")
        tool = own.load("fetching", FUNCTIONS, NEEDS, path=[TOOLS])
        assert isinstance(tool, ConfinedTool)
        yield tool


def test_a_listed_host_is_reached_in_each_way(
    fetching: ConfinedTool, attempts: list[Attempt]
) -> None:
    with Server(ok(b"hello")) as server:
        assert fetching.call("fetch", [server.url()], tenant="acme").value == [200, "hello"]
        assert (attempts[-1].tenant, attempts[-1].host) == ("acme", "a.test")
        assert fetching.call("by_httpx", [server.url()]).value == "hello"
        assert fetching.call("by_requests", [server.url()]).value == "hello"
        assert fetching.call("fetch_many", [server.url(), 20]).value == [200] * 20


def test_other_hosts_and_redirects_to_them_are_refused(fetching: ConfinedTool) -> None:
    with Server(ok(b"no")) as other, Server(redirect(other.url(host="b.test"))) as server:
        for url in (other.url(host="b.test"), server.url()):
            with pytest.raises(ToolFailed, match="EgressDenied") as caught:
                fetching.call("fetch", [url])
            assert caught.value.error == "EgressDenied"
        assert other.accepted == 0


def test_there_is_no_other_way_out(fetching: ConfinedTool) -> None:
    with Server(ok(b"no")) as server:
        with pytest.raises(ToolFailed, match="PermissionError"):
            fetching.call("by_socket", ["127.0.0.1", server.port])
        assert server.accepted == 0


def test_a_host_that_hangs_is_held_by_the_time_of_the_call(fetching: ConfinedTool) -> None:
    def hang(request: bytes) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
        while True:
            import time

            time.sleep(0.05)
            yield b"x"

    with Server(hang) as server, pytest.raises((ToolTimeout, ToolFailed)) as caught:
        fetching.call("fetch", [server.url()], timeout=0.5)
    assert isinstance(caught.value, ToolTimeout) or caught.value.error == "EgressTimeout"


def test_a_tool_without_hosts_has_no_client(sandbox: Sandbox) -> None:
    with sandbox.load("fetching", FUNCTIONS, SAFE, path=[TOOLS]) as tool:
        with pytest.raises(ToolFailed):
            tool.call("fetch", ["http://a.test/"])
        with pytest.raises(ToolFailed, match="PermissionError"):
            tool.call("by_socket", ["127.0.0.1", 9])


@pytest.fixture(scope="module")
def running(attempts: list[Attempt]) -> Iterator[ConfinedTool]:
    """tools/programs.py with hosts: programs have a proxy at a loopback of their own."""

    def make_broker(definition: ToolDefinition) -> Broker:
        return Broker(
            [*definition.requirements.domains, "127.0.0.1"],
            resolver=lambda host, port: [ip_address("127.0.0.1")],
            on_attempt=attempts.append,
        )

    needs = programs(4).with_network_access("a.test")
    with Sandbox(make_broker=make_broker) as own:
        if own.host.missing_for(needs):
            pytest.skip("this host can't hold programs")
        tool = own.load("programs", ["runs"], needs, path=[TOOLS])
        assert isinstance(tool, ConfinedTool)
        yield tool


needs_curl = pytest.mark.skipif(not os.path.exists("/usr/bin/curl"), reason="no /usr/bin/curl")
CURL = ["/usr/bin/curl", "-sS", "--max-time", "5"]


@needs_curl
def test_a_program_reaches_listed_hosts_by_its_proxy(
    running: ConfinedTool, attempts: list[Attempt]
) -> None:
    with Server(ok(b"hello")) as server, Server(ok(b"no")) as other:
        code, said, _ = running.call("runs", [*CURL, server.url()], tenant="acme").value
        assert (code, said) == (0, "hello")
        assert (attempts[-1].tenant, attempts[-1].outcome) == ("acme", "answered")
        code, said, _ = running.call("runs", [*CURL, "-f", other.url(host="b.test")]).value
        assert code != 0 and other.accepted == 0
        assert attempts[-1].outcome == "refused"


@needs_curl
def test_a_program_has_no_way_round_its_proxy(running: ConfinedTool) -> None:
    with Server(ok(b"no")) as server:
        direct = [*CURL, "--noproxy", "*", f"http://127.0.0.1:{server.port}/"]
        code, _, said = running.call("runs", direct).value
        assert code != 0 and server.accepted == 0, said
        for other in ("--unix-socket /run/x http://a/", "--dns-servers 127.0.0.1 http://a/"):
            assert running.call("runs", [*CURL, "--noproxy", "*", *other.split()]).value[0] != 0
        script = f"exec 3<>/dev/tcp/127.0.0.1/{server.port}"
        assert running.call("runs", ["/bin/bash", "-c", script]).value[0] != 0
        assert server.accepted == 0
