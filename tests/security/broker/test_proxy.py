"""Foreign programs reach through the proxy what the broker allows, and nothing else."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import urllib.request

import pytest

from llmspell.errors import ConfigError
from llmspell.security import Attempt, Broker, EgressProxy
from tests.security.broker.conftest import Certified, Start, tunnel, wait_for
from tests.security.broker.servers import LOOPBACK, Server, ok, redirect
from tests.security.broker.test_client_hello import ENCRYPTED, hello, named, real_hello, record


def say(port: int, data: bytes) -> bytes:
    """What a proxy answers until it closes."""
    with socket.create_connection((LOOPBACK, port), timeout=20) as connection:
        connection.sendall(data)
        said = b""
        try:
            while more := connection.recv(65536):
                said += more
        except ConnectionResetError:
            pass
        return said


def test_a_program_reaches_an_allowed_host_by_tls(
    start: Start, attempts: list[Attempt], certified: Certified, trusting: ssl.SSLContext
) -> None:
    body = bytes(range(256)) * 4000
    with Server(ok(body), tls=certified("a.test")) as server:
        client = http.client.HTTPSConnection(LOOPBACK, start(), context=trusting, timeout=20)
        client.set_tunnel("a.test", server.port)
        for _ in range(2):
            client.request("POST", "/path", body=body[:100_000])
            assert client.getresponse().read() == body
        client.close()
        wait_for(lambda: len(attempts) == 1)
    assert server.requests[0].endswith(body[:100_000])
    (attempt,) = attempts
    assert (attempt.method, attempt.host, attempt.port) == ("CONNECT", "a.test", server.port)
    assert (attempt.tenant, attempt.outcome, attempt.address) == ("acme", "answered", LOOPBACK)
    assert attempt.received_bytes > 2 * len(body)
    assert attempt.sent_bytes > 200_000


@pytest.mark.parametrize(
    ("target", "status", "reason"),
    [
        ("b.test:443", 403, "host"),
        ("private.test:443", 403, "address"),
        ("10.0.0.1:443", 403, "host"),
        ("0x7f.1:443", 403, "ipv4-form"),
        ("127.1:443", 403, "ipv4-form"),
        ("[::ffff:10.0.0.1]:443", 403, "host"),
        ("a.test", 403, "connect-target"),
        ("a.test:", 403, "connect-target"),
        ("a.test:0", 403, "port"),
        ("a.test:99999", 403, "port"),
        ("a.test:443/path", 403, "connect-target"),
        ("user@a.test:443", 403, "connect-target"),
        ("http://a.test:443", 403, "connect-target"),
        ("a.test:443?x:1", 403, "connect-target"),
        ("a.test:1", 502, "connect"),
    ],
)
def test_a_connect_astray_is_refused(
    start: Start, attempts: list[Attempt], target: str, status: int, reason: str
) -> None:
    connection, said = tunnel(start(), target)
    connection.close()
    assert said.startswith(f"HTTP/1.1 {status} ".encode())
    assert [attempt.reason for attempt in attempts] == [reason]


@pytest.mark.parametrize(
    ("host", "first"),
    [
        ("a.test", real_hello("b.test")),
        ("a.test", real_hello("x.a.test")),
        ("a.test", real_hello(None)),
        (LOOPBACK, real_hello("b.test")),
        ("a.test", record(hello(named(b"a.test"), (ENCRYPTED, b"b.test")))),
        ("a.test", b"GET / HTTP/1.1\r\nHost: b.test\r\n\r\n"),
        ("a.test", b"SSH-2.0-OpenSSH_9\r\n"),
        ("a.test", b"\x16\x03\x01\x00\x05hello"),
    ],
    ids=["another", "below", "none", "not an address", "encrypted", "HTTP", "SSH", "not TLS"],
)
def test_a_tunnel_is_for_tls_with_its_host(
    start: Start, attempts: list[Attempt], host: str, first: bytes
) -> None:
    with Server(ok()) as server:
        connection, said = tunnel(start(), f"{host}:{server.port}")
        with connection:
            assert said.startswith(b"HTTP/1.1 200 ")
            connection.sendall(first)
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(100) == b""
    assert server.requests == []
    assert [(a.outcome, a.reason, a.sent_bytes) for a in attempts] == [
        ("refused", "client-hello", 0)
    ]


def test_a_tunnel_to_an_address_names_no_host(
    start: Start, certified: Certified, trusting: ssl.SSLContext
) -> None:
    with Server(ok(b"there"), tls=certified(LOOPBACK)) as server:
        client = http.client.HTTPSConnection(LOOPBACK, start(), context=trusting, timeout=20)
        client.set_tunnel(LOOPBACK, server.port)
        client.request("GET", "/")
        assert client.getresponse().read() == b"there"
        client.close()


def test_a_tunnel_that_says_nothing_ends(start: Start, attempts: list[Attempt]) -> None:
    with Server(ok()) as server:
        port = start({"tls_seconds": 0.1})
        connection, _ = tunnel(port, f"a.test:{server.port}")
        with connection:
            assert connection.recv(1) == b""
    assert [attempt.reason for attempt in attempts] == ["time"]


def test_a_tunnel_has_its_bytes(
    start: Start, attempts: list[Attempt], certified: Certified, trusting: ssl.SSLContext
) -> None:
    with Server(ok(bytes(500_000)), tls=certified("a.test")) as server:
        port = start({"session_bytes": 100_000})
        client = http.client.HTTPSConnection(LOOPBACK, port, context=trusting, timeout=20)
        client.set_tunnel("a.test", server.port)
        client.request("GET", "/")
        with pytest.raises((http.client.IncompleteRead, OSError)):
            client.getresponse().read()
        client.close()
        wait_for(lambda: len(attempts) == 1)
    assert [attempt.reason for attempt in attempts] == ["bytes"]
    assert attempts[0].received_bytes < 200_000


def test_a_program_reaches_an_allowed_host_in_the_clear(
    start: Start, attempts: list[Attempt]
) -> None:
    with Server(lambda request: ok(request[-3:], "X-Seen: 1")) as server:
        proxied = urllib.request.build_opener(
            urllib.request.ProxyHandler({"http": f"http://{LOOPBACK}:{start()}"})
        )
        with proxied.open(server.url("/x?y"), data=b"abc", timeout=20) as answer:
            assert answer.read() == b"abc"
            assert answer.headers["X-Seen"] == "1"
    assert server.requests[0].startswith(b"POST /x?y HTTP/1.1\r\n")
    assert (attempts[0].method, attempts[0].status) == ("POST", 200)


def test_redirects_are_left_to_the_program(start: Start) -> None:
    with Server(redirect("http://b.test/")) as server:
        said = say(start(), f"GET {server.url()} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert said.startswith(b"HTTP/1.1 403 ")  # its Host is another
        host = f"a.test:{server.port}"
        said = say(start(), f"GET {server.url()} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert said.startswith(b"HTTP/1.1 302 ")
    assert b"location: http://b.test/" in said


def test_a_head_is_answered_without_a_body(start: Start) -> None:
    with Server(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n") as server:
        host = f"a.test:{server.port}"
        said = say(start(), f"HEAD http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    head, _, body = said.partition(b"\r\n\r\n")
    assert b"content-length: 50" in head
    assert body == b""


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"GET http://b.test/ HTTP/1.1\r\nHost: b.test\r\n\r\n", 403),
        (b"GET http://private.test/ HTTP/1.1\r\nHost: private.test\r\n\r\n", 403),
        (b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", 403),
        (b"OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n", 403),
        (b"TRACE http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 403),
        (b"GET http://a.test:1/ HTTP/1.1\r\nHost: a.test:1\r\n\r\n", 502),
        (b"GET http://a.test/ HTTP/1.1\r\nHost: b.test\r\n\r\n", 403),
        (b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nUpgrade: h2c\r\n\r\n", 403),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 403),
        (b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nX : b\r\n\r\n", 400),
        (b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nX: a\rb\r\n\r\n", 400),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", 400),
        (b"\x05\x01\x00\r\n\r\n", 400),
        (b"\x16\x03\x01\r\n\r\n", 400),
        (b"GET http://a.test/ HTTP/1.1\r\n\r\n", 400),
        (b"GET http://a.test/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 403),
        (
            b"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n"
            b"Content-Length: 2\r\n\r\nab",
            400,
        ),
    ],
)
def test_what_is_no_allowed_request_is_refused(
    start: Start, attempts: list[Attempt], said: bytes, status: int
) -> None:
    assert say(start(), said).startswith(f"HTTP/1.1 {status} ".encode())
    assert len(attempts) == 1
    assert attempts[0].outcome == ("failed" if status == 502 else "refused")


def test_a_body_is_bounded(start: Start, attempts: list[Attempt]) -> None:
    port = start({"request_bytes": 1000})
    head = b"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
    say(port, head + b"7d1\r\n" + b"x" * 2001 + b"\r\n0\r\n\r\n")
    assert [attempt.outcome for attempt in attempts] == ["refused"]


def test_a_program_that_waits_to_be_told_is_told(start: Start) -> None:
    with Server(ok()) as server, socket.create_connection((LOOPBACK, start()), 20) as connection:
        host = f"a.test:{server.port}"
        connection.sendall(
            f"POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\n"
            "Expect: 100-continue\r\n\r\n".encode()
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"abc")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
    assert server.requests[0].endswith(b"abc")


def test_connections_wait_for_one_another(start: Start) -> None:
    hold = threading.Event()

    def respond(request: bytes) -> bytes:
        hold.wait(20)
        return ok()

    with Server(respond) as server:
        port = start({"connections": 2})
        host = f"a.test:{server.port}"
        ask = f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        threads = [threading.Thread(target=say, args=(port, ask)) for _ in range(6)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(server.requests) == 2)
        assert server.accepted == len(server.requests) == 2
        hold.set()
        for thread in threads:
            thread.join()
    assert len(server.requests) == 6


def test_closing_ends_what_is_under_way(certified: Certified, trusting: ssl.SSLContext) -> None:
    with Server(ok(), tls=certified("a.test")) as server:
        listener = socket.create_server((LOOPBACK, 0))
        broker = Broker(["a.test", LOOPBACK], resolver=lambda *_: [LOOPBACK])
        proxy = EgressProxy(listener, broker)
        plain, _ = tunnel(listener.getsockname()[1], f"a.test:{server.port}")
        with trusting.wrap_socket(plain, server_hostname="a.test") as connection:
            half, _ = tunnel(listener.getsockname()[1], f"a.test:{server.port}")
            proxy.close()
            proxy.close()
            assert connection.recv(1) == half.recv(1) == b""
            half.close()
    assert listener.fileno() == -1
    assert not [thread for thread in threading.enumerate() if thread.name == "egress-proxy"]


def test_a_socket_that_does_not_listen_is_refused() -> None:
    with socket.socket() as idle, pytest.raises(ConfigError, match="listening"):
        EgressProxy(idle, Broker(["a.test"]))
