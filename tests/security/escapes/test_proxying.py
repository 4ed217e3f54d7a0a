"""Programs that may reach a host by the proxy reach no other, and its owner keeps its time."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

import pytest

from llmspell.errors import ToolFailed
from llmspell.security import ConfinedTool, SecurityRequirements
from tests.security.escapes.running import ATTEMPTS, Grounds

FUNCTIONS = ["asks", "asks_without_end", "holds_many", "others", "well"]
REQUIREMENTS = (
    SecurityRequirements.privileged()
    .with_processes(2)
    .with_network_access("api.example.com")
    .with_timeout(4)
)
HOSTS = [
    *("127.0.0.1", "localhost", "[::1]", "0.0.0.0", "2130706433", "0x7f000001", "0177.0.0.1"),
    *(
        "127.1",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "169.254.169.254",
        "api.example.com@127.0.0.1",
    ),
    *("127.0.0.1#api.example.com", "127.0.0.1?api.example.com", "127.0.0.1\\@api.example.com"),
    *("api.example.com.127.0.0.1.nip.io", "api.example.com\\0.evil", "API.EXAMPLE.COM.evil"),
    *("", ".", "api.example.com:80@127.0.0.1", "%31%32%37.0.0.1", "１２７.0.0.1", "127。0。0。1"),
]


@pytest.fixture(scope="module")
def tool(grounds: Grounds) -> Iterator[ConfinedTool]:
    with grounds.load("proxying", FUNCTIONS, REQUIREMENTS, path=[ATTEMPTS], ready=1) as made:
        yield made


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(
    "line",
    [
        "CONNECT {host}:{port} HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
        "GET http://{host}:{port}/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n",
        "GET http://api.example.com:443/\r\nHost: {host}:{port} HTTP/1.1\r\n\r\n",
    ],
    ids=["connect", "absolute", "host", "split"],
)
def test_other_hosts_are_refused(
    grounds: Grounds, tool: ConfinedTool, host: str, line: str
) -> None:
    grounds.room.listeners.drain()
    ports = grounds.room.listeners.described()
    text = line.format(host=host, port=ports["tcp4"]).encode()
    answer = tool.call("asks", [text]).value
    assert b" 200" not in answer.partition(b"\r\n")[0]
    assert not any(grounds.room.listeners.count().values())


RAW = {
    "nothing": b"",
    "NUL": bytes(1_000),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "SOCKS": b"\x05\x01\x00",
    "SOCKS 4": b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a long line": b"GET " + b"x" * 1_000_000,
    "many headers": b"GET http://api.example.com/ HTTP/1.1\r\n" + b"a: b\r\n" * 50_000 + b"\r\n",
    "a length that is none": b"POST http://api.example.com/ HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    "two lengths": b"POST http://api.example.com/ HTTP/1.1\r\nContent-Length: 1\r\n"
    b"Content-Length: 2\r\n\r\nxx",
    "a port that is none": b"CONNECT api.example.com:99999 HTTP/1.1\r\n\r\n",
    "a method that is none": b"\xff\xfe http://api.example.com/ HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("raw", RAW.values(), ids=RAW.keys())
def test_what_is_no_request_is_refused(tool: ConfinedTool, raw: bytes) -> None:
    answer = b""
    with contextlib.suppress(ToolFailed):  # where its socket is closed while it writes
        answer = tool.call("asks", [raw]).value
    assert b" 200" not in answer.partition(b"\r\n")[0]
    assert tool.call("well").value == 42


@pytest.mark.parametrize("function", ["asks_without_end", "holds_many"])
def test_what_never_ends_is_ended(tool: ConfinedTool, function: str) -> None:
    tool.call("well")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ToolFailed):
        tool.call(function, timeout=2)
    assert tool.call("well").value == 42
    deadline = time.monotonic() + 10
    while len(os.listdir("/proc/self/fd")) > before + 16 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(os.listdir("/proc/self/fd")) <= before + 16


def test_nothing_else_listens_where_it_is(grounds: Grounds, tool: ConfinedTool) -> None:
    grounds.room.listeners.drain()
    ports = grounds.room.listeners.described()
    assert tool.call("others", [[ports["tcp4"], 22, 80, 443, 8000]]).value == []
    assert not any(grounds.room.listeners.count().values())
