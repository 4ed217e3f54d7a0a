"""TLS ends in the broker: the name asked for is the name reached."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import trustme

from llmspell.errors import ConfigError
from llmspell.security import Attempt, Broker
from tests.security.broker.conftest import MakeSession
from tests.security.broker.servers import LOOPBACK, Server, ok, redirect

Certified = Callable[..., ssl.SSLContext]


def test_a_host_with_its_certificate_is_reached(
    make: MakeSession, attempts: list[Attempt], certified: Certified, trusting: ssl.SSLContext
) -> None:
    names: list[str | None] = []
    context = certified("a.test")
    context.sni_callback = lambda connection, name, _: names.append(name)
    with Server(ok(b"private"), tls=context) as server:
        session = make(tls=trusting)
        for _ in range(3):
            answer = session.answer({"method": "GET", "url": server.url()})
            assert answer["body"] == b"private"
    assert server.accepted == 1, "TLS's connections are kept too"
    assert names == ["a.test"]
    assert f"host: a.test:{server.port}".encode() in server.requests[0]
    assert attempts[0].scheme == "https"
    assert attempts[0].received_bytes == len(ok(b"private"))


def test_an_address_with_its_certificate_is_reached(
    make: MakeSession, certified: Certified, trusting: ssl.SSLContext
) -> None:
    with Server(ok(), tls=certified(LOOPBACK)) as server:
        answer = make(tls=trusting).answer({"method": "GET", "url": server.url(host=LOOPBACK)})
    assert answer["status"] == 200


def wrong(certified: Certified, case: str) -> ssl.SSLContext:
    if case == "another name":
        return certified("b.test")
    if case == "a parent's wildcard":
        return certified("*.a.test")
    if case == "expired":
        past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
        return certified("a.test", not_before=past - datetime.timedelta(days=9), not_after=past)
    if case == "the address's":
        return certified(LOOPBACK)
    assert case == "of an unknown authority"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("a.test").configure_cert(context)
    return context


@pytest.mark.parametrize(
    "case",
    ["another name", "a parent's wildcard", "expired", "the address's", "of an unknown authority"],
)
def test_a_wrong_certificate_ends_it_before_anything_is_said(
    make: MakeSession,
    attempts: list[Attempt],
    certified: Certified,
    trusting: ssl.SSLContext,
    case: str,
) -> None:
    with Server(ok(), tls=wrong(certified, case)) as server:
        answer = make(tls=trusting).answer({"method": "GET", "url": server.url()})
    assert answer["failed"] == "tls"
    assert server.requests == []
    assert (attempts[0].outcome, attempts[0].reason) == ("failed", "tls")
    assert attempts[0].sent_bytes == 0


def test_the_systems_certificates_are_the_default(make: MakeSession, certified: Certified) -> None:
    with Server(ok(), tls=certified("a.test")) as server:
        assert make().answer({"method": "GET", "url": server.url()})["failed"] == "tls"
    assert server.requests == []


def test_a_host_without_tls_is_not_spoken_to(make: MakeSession, trusting: ssl.SSLContext) -> None:
    said = bytearray()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            said.extend(connection.recv(4096))
            connection.sendall(ok())
            with suppress(OSError):
                while more := connection.recv(4096):
                    said.extend(more)

    with socket.create_server((LOOPBACK, 0)) as listener:
        serving = threading.Thread(target=serve)
        serving.start()
        url = f"https://a.test:{listener.getsockname()[1]}/"
        answer = make(tls=trusting).answer({"method": "GET", "url": url})
        serving.join()
    assert (answer["failed"], answer["timeout"]) == ("tls", False)
    assert b"GET" not in said


def test_a_handshake_that_never_ends_is_ended(make: MakeSession, trusting: ssl.SSLContext) -> None:
    def silent(_: bytes) -> Iterator[bytes]:
        yield b""

    with Server(silent) as server:  # which waits for the end of a request's head
        url = server.url().replace("http:", "https:")
        session = make(tls=trusting, limits={"tls_seconds": 0.1})
        answer = session.answer({"method": "GET", "url": url})
    assert (answer["failed"], answer["timeout"]) == ("tls", True)


def test_https_leads_to_http_only_where_that_is_allowed(
    make: MakeSession, certified: Certified, trusting: ssl.SSLContext
) -> None:
    with (
        Server(ok(b"plain")) as plain,
        Server(lambda _: redirect(plain.url()), tls=certified("a.test")) as server,
    ):
        request = {"method": "GET", "url": server.url()}
        assert make(tls=trusting).answer(request)["refused"] == "downgrade"
        answer = make(tls=trusting, allow_downgrade=True).answer(request)
        assert answer["body"] == b"plain"


def unverified(**options: Any) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for name, value in options.items():
        setattr(context, name, value)
    return context


@pytest.mark.parametrize(
    "options",
    [{"check_hostname": False}, {"check_hostname": False, "verify_mode": ssl.CERT_NONE},
     {"check_hostname": False, "verify_mode": ssl.CERT_OPTIONAL}],
)  # fmt: skip
def test_a_context_that_does_not_verify_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="verify"):
        Broker(["a.test"], tls=unverified(**options))
