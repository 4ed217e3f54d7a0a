from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trustme

from llmspell.security import Attempt, Broker, BrokerLimits, EgressProxy, Session
from tests.security.broker.servers import LOOPBACK
from tests.security.urls.zone import Zone

#: Makes a session whose names are all at loopback: ``make(limits={...}, **options of a Broker)``.
MakeSession = Callable[..., Session]
#: Makes a server's context with a certificate for names.
Certified = Callable[..., ssl.SSLContext]
#: Starts a proxy to names that are all at loopback, and gives its port.
Start = Callable[..., int]


@pytest.fixture
def attempts() -> list[Attempt]:
    return []


@pytest.fixture
def make(attempts: list[Attempt], request: pytest.FixtureRequest) -> MakeSession:
    def made(
        domains: tuple[str, ...] = ("a.test", "b.test", LOOPBACK),
        limits: dict[str, Any] | None = None,
        **options: Any,
    ) -> Session:
        options.setdefault("resolver", Zone({}, default=[LOOPBACK]))
        options.setdefault("on_attempt", attempts.append)
        session = Broker(domains, limits=BrokerLimits(**(limits or {})), **options).session(
            tenant="acme"
        )
        request.addfinalizer(session.close)
        return session

    return made


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """A client's context that trusts the tests' authority alone."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def certified(authority: trustme.CA) -> Callable[..., ssl.SSLContext]:
    """Makes a server's context with a certificate for names."""

    def made(*names: str, **options: Any) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*names, **options).configure_cert(context)
        return context

    return made


@pytest.fixture
def start(attempts: list[Attempt]) -> Iterator[Start]:
    """Starts a proxy to names that are all at loopback; gives its port."""
    started: list[EgressProxy] = []

    def made(limits: dict[str, Any] | None = None, **options: Any) -> int:
        zone = Zone({"private.test": ["10.0.0.1"]}, default=[LOOPBACK])
        broker = Broker(
            options.pop("domains", ["a.test", "private.test", LOOPBACK]),
            limits=BrokerLimits(**(limits or {})),
            resolver=zone,
            on_attempt=attempts.append,
            **options,
        )
        listener = socket.create_server((LOOPBACK, 0))
        started.append(EgressProxy(listener, broker, tenant="acme"))
        return int(listener.getsockname()[1])

    yield made
    for proxy in started:
        proxy.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "egress-proxy"]


def wait_for(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def tunnel(port: int, target: str) -> tuple[socket.socket, bytes]:
    """A connection with CONNECT sent, and the answer's head."""
    connection = socket.create_connection((LOOPBACK, port), timeout=20)
    connection.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    said = b""
    while b"\r\n\r\n" not in said and (more := connection.recv(1)):
        said += more
    return connection, said
