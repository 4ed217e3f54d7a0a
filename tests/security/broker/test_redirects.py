"""Redirects are followed by checking each again, and take no credentials to another origin."""

from __future__ import annotations

from typing import Any

import pytest

from llmspell.security import Attempt
from tests.security.broker.conftest import MakeSession
from tests.security.broker.servers import LOOPBACK, Server, ok, redirect
from tests.security.urls.zone import Zone


def ask(session: Any, url: str, method: str = "GET", **more: Any) -> dict[str, Any]:
    answer: dict[str, Any] = session.answer({"method": method, "url": url, **more})
    return answer


def by_path(pages: dict[str, bytes]) -> Any:
    return lambda request: pages[request.split(b" ")[1].decode()]


def test_a_chain_is_followed_and_each_hop_recorded(
    make: MakeSession, attempts: list[Attempt]
) -> None:
    pages = {"/": redirect("/a?secret=1"), "/a?secret=1": redirect("../b", 301), "/b": ok(b"there")}
    with Server(by_path(pages)) as server:
        answer = ask(make(), server.url())
        assert (answer["status"], answer["body"], answer["url"]) == (
            200,
            b"there",
            server.url("/b"),
        )
    assert server.accepted == 1
    assert [(a.hops, a.status, a.outcome) for a in attempts] == [
        (0, 302, "answered"), (1, 301, "answered"), (2, 200, "answered"),
    ]  # fmt: skip
    assert "secret" not in repr(attempts)


@pytest.mark.parametrize("sent", [b"/caf\xc3\xa9", b"/caf\xe9", b"/caf%C3%A9"])
def test_a_location_that_is_not_ascii_is_read(make: MakeSession, sent: bytes) -> None:
    with Server(lambda r: ok() if b"/caf%C3%A9" in r else redirect(sent.decode("latin-1"))) as here:
        assert ask(make(), here.url())["url"] == here.url("/caf%C3%A9")


def test_redirects_are_left_to_who_wants_to_follow_them(make: MakeSession) -> None:
    with Server(redirect("/next")) as server:
        answer = ask(make(), server.url(), redirects=False)
    assert answer["status"] == 302
    assert ["location", "/next"] in answer["headers"]
    assert len(server.requests) == 1


def test_redirects_end(make: MakeSession) -> None:
    with Server(redirect("/again")) as server:
        assert ask(make(), server.url())["refused"] == "redirects"
        assert len(server.requests) == 6
        assert ask(make(limits={"redirects": 0}), server.url())["refused"] == "redirects"
        assert len(server.requests) == 7


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://c.test/", "host"),
        ("//c.test/", "host"),
        ("http://private.a.test:PORT/", "address"),
        ("http://a.test:1/", "port"),
        ("http://a.test@c.test/", "credentials"),
        ("http://127.1:PORT/", "ipv4-form"),
        ("http://[::ffff:10.0.0.1]:PORT/", "host"),
        ("ftp://a.test/", "scheme"),
        ("\\\\c.test", "backslash"),
        ("/x\x85y", "control-character"),
    ],
)
def test_a_redirect_astray_is_refused(
    make: MakeSession, attempts: list[Attempt], location: str, reason: str
) -> None:
    zone = Zone({"private.a.test": ["10.0.0.1"]}, default=[LOOPBACK])
    with Server(lambda _: redirect(location.replace("PORT", str(server.port)))) as server:
        session = make(("a.test", ".a.test", LOOPBACK), resolver=zone, ports=[server.port])
        answer = ask(session, server.url())
    assert answer["refused"] == reason
    assert reason != "address" or "10.0.0.1" not in repr(answer)
    assert len(server.requests) == 1
    assert [attempt.outcome for attempt in attempts] == ["answered", "refused"]
    assert attempts[1].address == ""


def test_a_last_redirect_to_no_url_is_refused_all_the_same(make: MakeSession) -> None:
    with Server(redirect("http://[")) as server:
        assert ask(make(limits={"redirects": 0}), server.url())["refused"] == "redirects"


HEADERS = [
    ["Authorization", "Bearer secret"], ["Cookie", "a=secret"], ["X-Api-Key", "secret"],
    ["Accept", "text/html"], ["User-Agent", "me"],
]  # fmt: skip


def test_credentials_stay_with_their_origin(make: MakeSession) -> None:
    with Server(by_path({"/": ok(b"other")})) as other:
        pages = {"/": redirect("/same"), "/same": redirect(other.url(host="b.test"))}
        with Server(by_path(pages)) as server:
            answer = ask(make(), server.url(), headers=HEADERS)
    assert answer["body"] == b"other"
    assert server.requests[1].count(b"secret") == 3
    (request,) = other.requests
    assert b"secret" not in request
    assert b"accept: text/html" in request
    assert b"user-agent: me" in request
    assert f"host: b.test:{other.port}".encode() in request


def test_another_port_is_another_origin(make: MakeSession) -> None:
    with Server(ok()) as other, Server(lambda _: redirect(other.url())) as server:
        ask(make(), server.url(), headers=HEADERS)
    assert b"secret" not in other.requests[0]


@pytest.mark.parametrize(
    ("status", "method", "then", "keeps"),
    [
        (301, "POST", "GET", False),
        (302, "POST", "GET", False),
        (303, "POST", "GET", False),
        (303, "PUT", "GET", False),
        (303, "HEAD", "HEAD", False),
        (307, "POST", "POST", True),
        (308, "PUT", "PUT", True),
        (302, "PUT", "PUT", True),
    ],
)
def test_the_method_follows_the_standard(
    make: MakeSession, status: int, method: str, then: str, keeps: bool
) -> None:
    with Server(by_path({"/": redirect("/next", status), "/next": ok(b"")})) as server:
        body = b"" if method == "HEAD" else b"the body"
        ask(make(), server.url(), method, body=body, headers=[["Content-Type", "text/x"]])
    assert server.requests[1].startswith(f"{then} /next".encode())
    assert server.requests[1].endswith(b"the body") == keeps
    if not keeps and method != "HEAD":
        assert b"content-type" not in server.requests[1]


@pytest.mark.parametrize("status", [300, 304, 305, 306])
def test_other_statuses_are_no_redirects(make: MakeSession, status: int) -> None:
    said = f"HTTP/1.1 {status} X\r\nLocation: /next\r\nContent-Length: 0\r\n\r\n".encode()
    with Server(said) as server:
        assert ask(make(), server.url())["status"] == status


def test_two_locations_lead_nowhere(make: MakeSession) -> None:
    with Server(ok(b"", "Location: /a", "Location: /b", status="302 Found")) as server:
        assert ask(make(), server.url())["status"] == 302
    assert len(server.requests) == 1
