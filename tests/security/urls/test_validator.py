"""What a check, a redirect and a connection take and refuse."""

from __future__ import annotations

import pickle
import socket
import threading
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from llmspell.errors import (
    ConfigError,
    HostUnresolved,
    InvalidUrl,
    ResolveTimeout,
    SecurityError,
    UrlDenied,
)
from llmspell.security import CheckedUrl, DomainRules, UrlValidator, open_checked, parse_url
from llmspell.security.urls.lookups import OF_A_TENANT
from tests.processes import until
from tests.security.urls.zone import Zone

PUBLIC = IPv4Address("8.8.8.8")
ZONE = {
    "a.com": ["8.8.8.8", "2a00::1"],
    "b.com": ["8.8.4.4"],
    "in.a.com": ["10.1.2.3"],
    "v6.a.com": ["::ffff:8.8.8.8", "8.8.8.8", "64:ff9b::808:808"],
}


def validator(*rules: str, zone: Zone | None = None, **options: object) -> UrlValidator:
    zone = Zone(ZONE) if zone is None else zone
    return UrlValidator(DomainRules(rules), resolver=zone, **options)  # type: ignore[arg-type]


def test_a_check_gives_the_url_and_all_its_addresses() -> None:
    checked = validator("a.com").validate("HTTPS://A.com/x?y#z")
    assert str(checked.url) == "https://a.com/x?y"
    assert checked.addresses == (PUBLIC, IPv6Address("2a00::1"))
    assert checked.hops == 0


def test_answers_are_unmapped_and_each_is_given_once() -> None:
    checked = validator("*").validate("http://v6.a.com/")
    assert checked.addresses == (PUBLIC, IPv6Address("64:ff9b::808:808"))


@pytest.mark.parametrize("text", ["http://[::ffff:8.8.8.8]/", "http://8.8.8.8/"])
def test_an_address_is_checked_without_a_look_up(text: str) -> None:
    zone = Zone(ZONE)
    assert validator("*", zone=zone).validate(text).addresses == (PUBLIC,)
    assert zone.asked == []


def test_a_name_that_is_not_listed_is_not_even_looked_up() -> None:
    zone = Zone(ZONE)
    for text in ("http://b.com/", "http://secret.b.com/", "http://8.8.8.8/", "http://a.com.b.com/"):
        with pytest.raises(UrlDenied) as caught:
            validator("a.com", ".a.com", zone=zone).validate(text)
        assert caught.value.reason == "host"
    assert zone.asked == []


def test_a_private_address_is_reached_only_where_it_is_listed() -> None:
    with pytest.raises(UrlDenied, match=r"in\.a\.com leads to 10\.1\.2\.3, private use") as caught:
        validator("*").validate("http://in.a.com/")
    assert caught.value.reason == "address"
    assert isinstance(caught.value, (SecurityError, PermissionError))
    assert pickle.loads(pickle.dumps(caught.value)).reason == "address"
    checked = validator("in.a.com", "10.1.0.0/16").validate("http://in.a.com/")
    assert checked.addresses == (IPv4Address("10.1.2.3"),)
    for text in ("http://10.1.255.1/", "http://[::ffff:10.1.2.3]/"):
        assert validator("10.1.0.0/16").validate(text).addresses[0] in (
            IPv4Address("10.1.255.1"), IPv4Address("10.1.2.3"),
        )  # fmt: skip
    for text in ("http://10.2.0.1/", "http://in.a.com/", "http://[64:ff9b::10.1.2.3]/"):
        with pytest.raises(UrlDenied):
            validator("10.1.0.0/16").validate(text)
    with pytest.raises(UrlDenied):
        validator("in.a.com", "10.2.0.0/16").validate("http://in.a.com/")


def test_a_networks_own_nat64_is_told_by_its_prefix() -> None:
    zone = Zone({"a.com": ["2a00:64::a00:1"]})
    assert validator("*", zone=zone).validate("http://a.com/")
    with pytest.raises(UrlDenied, match=r"NAT64 .* of 10\.0\.0\.1"):
        validator("*", zone=zone, nat64_prefixes=["2a00:64::/96"]).validate("http://a.com/")


def test_networks_can_be_denied_though_they_are_public_or_listed() -> None:
    checker = validator("*", "10.1.2.3", denied=["8.8.0.0/16", "10.1.2.3"])
    for text, message in (
        ("http://a.com/", r"a\.com leads to 8\.8\.8\.8, which is denied"),
        ("http://8.8.4.4/", r"8\.8\.4\.4 is denied"),
        ("http://in.a.com/", r"in\.a\.com leads to 10\.1\.2\.3, which is denied"),
    ):
        with pytest.raises(UrlDenied, match=message) as caught:
            checker.validate(text)
        assert caught.value.reason == "address"
    assert checker.validate("http://9.9.9.9/")


def test_ports_can_be_listed() -> None:
    only = validator("*", ports=[443, 8443])
    assert only.validate("https://a.com/").url.port == 443
    assert only.validate("http://a.com:8443/").url.port == 8443
    with pytest.raises(UrlDenied, match=r"port 80 of a\.com") as caught:
        only.validate("http://a.com/")
    assert caught.value.reason == "port"


@pytest.mark.parametrize(
    "options",
    [
        {"ports": [0]},
        {"ports": [65536]},
        {"max_redirects": -1},
        {"nat64_prefixes": ["10.0.0.0/8"]},
        {"denied": ["a.com"]},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        validator("*", **options)


@pytest.mark.parametrize("answers", [[], ["a.com"], ["8.8.8.8", ""], ["8.8.8.8/32"]])
def test_an_answer_that_is_no_address_is_no_answer(answers: list[str]) -> None:
    with pytest.raises(HostUnresolved):
        validator("*", zone=Zone({"a.com": answers})).validate("http://a.com/")


def test_a_failing_look_up_is_named() -> None:
    def fail() -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(HostUnresolved, match=r"a\.com can't be resolved: .*not known") as caught:
        validator("*", zone=Zone({"a.com": fail})).validate("http://a.com/")
    assert isinstance(caught.value.__cause__, socket.gaierror)


def test_the_systems_resolver_is_asked_for_all_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(host: str, port: int, **_: int) -> list[tuple[object, ...]]:
        assert (host, port) == ("a.com", 8080)
        four = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", port))
        six = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1%eth0", port, 0, 2))
        return [four, six]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(UrlDenied, match="fe80::1, link-local"):
        UrlValidator(DomainRules(["*"])).validate("http://a.com:8080/")


def test_localhost_of_this_system_is_refused() -> None:
    with pytest.raises(UrlDenied, match="loopback"):
        UrlValidator(DomainRules(["*"])).validate("http://localhost/")
    checked = UrlValidator(DomainRules(["localhost", "127.0.0.1", "::1"])).validate(
        "http://localhost"
    )
    assert all(address.is_loopback for address in checked.addresses)


def test_a_redirect_is_checked_as_a_url_is() -> None:
    checker = validator("a.com", ".a.com")
    start = checker.validate("https://a.com/x/y")
    assert str(checker.follow(start, "../z").url) == "https://a.com/z"
    assert checker.follow(start, "https://a.com:8443").url.origin == ("https", "a.com", 8443)
    for location, reason in (
        ("https://b.com", "host"), ("//b.com/", "host"), ("//in.a.com", "address"),
        ("https://127.0.0.1", "host"), ("http://a.com", "downgrade"),
    ):  # fmt: skip
        with pytest.raises(UrlDenied) as caught:
            checker.follow(start, location)
        assert caught.value.reason == reason
    for location in (
        "https://a.com@b.com",
        "/\\b.com",
        "file:///etc/passwd",
        "/x\r\nSet-Cookie: a",
    ):
        with pytest.raises(InvalidUrl):
            checker.follow(start, location)


def test_redirects_end() -> None:
    checker = validator("a.com", max_redirects=3)
    checked = checker.validate("http://a.com/")
    for hop in (1, 2, 3):
        checked = checker.follow(checked, "/again")
        assert checked.hops == hop
    with pytest.raises(UrlDenied, match="redirect 4, max_redirects is 3") as caught:
        checker.follow(checked, "/again")
    assert caught.value.reason == "redirects"
    with pytest.raises(UrlDenied, match="max_redirects is 0"):
        none = validator("a.com", max_redirects=0)
        none.follow(none.validate("http://a.com/"), "/x")


def test_https_leads_to_http_only_when_asked() -> None:
    lenient = validator("a.com", allow_downgrade=True)
    assert lenient.follow(lenient.validate("https://a.com"), "http://a.com").url.scheme == "http"
    strict = validator("a.com")
    upgraded = strict.follow(strict.validate("http://a.com"), "https://a.com")
    assert upgraded.url.scheme == "https"
    assert strict.follow(strict.validate("http://a.com"), "//a.com/x").url.scheme == "http"


@pytest.fixture
def server() -> socket.socket:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening  # type: ignore[misc]


def checked_at(port: int, *addresses: str) -> CheckedUrl:
    return CheckedUrl(parse_url(f"http://a.com:{port}/"), tuple(map(ip_address, addresses)))


def test_the_next_address_is_tried_where_one_refuses(server: socket.socket) -> None:
    port = server.getsockname()[1]
    with open_checked(checked_at(port, "127.0.0.3", "127.0.0.1"), timeout=7) as connection:
        assert connection.getpeername() == ("127.0.0.1", port)
        assert connection.gettimeout() == 7


def test_a_connection_makes_no_look_up(
    server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a look-up")

    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, forbidden)
    open_checked(checked_at(server.getsockname()[1], "127.0.0.1")).close()


def test_no_address_that_answers_is_named(server: socket.socket) -> None:
    port = server.getsockname()[1]
    with pytest.raises(HostUnresolved, match=r"none of the 2 addresses of a\.com") as caught:
        open_checked(checked_at(port, "127.0.0.3", "127.0.0.4"))
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    with pytest.raises(HostUnresolved, match="within 0 s"):
        open_checked(checked_at(port, "127.0.0.1"), timeout=0)


@pytest.mark.parametrize("denied", ["8.8.8.0/24", "::ffff:8.8.8.8", "::ffff:8.8.8.0/120"])
@pytest.mark.parametrize(
    "host",
    [
        "8.8.8.8",
        "[::ffff:8.8.8.8]",
        "[64:ff9b::808:808]",
        "[2a00:64::808:808]",
        "[2a00::5efe:808:808]",
    ],
)
def test_what_is_denied_is_denied_in_each_form_that_leads_there(denied: str, host: str) -> None:
    checks = validator("*", denied=[denied], nat64_prefixes=["2a00:64::/96"])
    with pytest.raises(UrlDenied, match="is denied") as caught:
        checks.validate(f"http://{host}/")
    assert caught.value.reason == "address"
    assert checks.validate(f"http://{host.replace('808]', '404]').replace('8.8.8.8', '8.8.4.4')}/")


def test_a_resolver_that_fails_otherwise_is_named_too() -> None:
    def failing(host: str, port: int) -> list[str]:
        raise UnicodeError("label too long")

    with pytest.raises(HostUnresolved, match="label too long"):
        UrlValidator(DomainRules(["*"]), resolver=failing).validate("http://a.com/")
    with pytest.raises(HostUnresolved, match="an address must be IPv4 or IPv6, got 134744072"):
        validator("*", zone=Zone({"a.com": [134744072]})).validate("http://a.com/")  # type: ignore[list-item]


def test_a_look_up_ends_in_time_and_is_named() -> None:
    hold = threading.Event()

    def hang(host: str, port: int) -> list[str]:
        hold.wait(30)
        return ["8.8.8.8"]

    slow = UrlValidator(DomainRules(["*"]), resolver=hang, resolve_seconds=0.05)
    with pytest.raises(ResolveTimeout, match=r"a\.com isn't resolved in time: no answer within"):
        slow.validate("http://a.com/")
    hold.set()


def test_a_tenants_look_ups_that_hang_are_few() -> None:
    hold, started = threading.Event(), []

    def hang(host: str, port: int) -> list[str]:
        started.append(host)
        hold.wait(30)
        return ["8.8.8.8"]

    slow = UrlValidator(DomainRules(["*"]), resolver=hang, resolve_seconds=0.01, tenant="acme")
    for _ in range(OF_A_TENANT + 2):
        with pytest.raises(ResolveTimeout):
            slow.validate("http://a.com/")
    until(lambda: len(started) == OF_A_TENANT)  # the last thread may only begin now
    hold.set()


def test_a_resolver_that_ends_by_itself_may_run_where_it_is_asked() -> None:
    threads: list[threading.Thread] = []

    def here(host: str, port: int) -> list[str]:
        threads.append(threading.current_thread())
        if host == "late.com":
            raise TimeoutError("its own")
        return ["8.8.8.8"]

    own = UrlValidator(DomainRules(["*"]), resolver=here, resolve_seconds=None)
    assert own.validate("http://a.com/").addresses == (PUBLIC,)
    with pytest.raises(ResolveTimeout, match="its own"):
        own.validate("http://late.com/")
    assert set(threads) == {threading.current_thread()}


@pytest.mark.parametrize(
    "options",
    [
        {"ports": 80}, {"ports": ["80"]}, {"ports": [True]}, {"max_redirects": "5"},
        {"max_redirects": True}, {"denied": "10.0.0.0/8"}, {"denied": ["fe80::1%eth0"]},
        {"nat64_prefixes": "64:ff9b::/96"}, {"resolve_seconds": 0}, {"resolve_seconds": "5"},
        {"resolve_seconds": float("nan")}, {"resolve_seconds": True},
        {"resolve_seconds": 86_401},
    ],
)  # fmt: skip
def test_options_of_another_type_are_refused_when_it_is_made(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        validator("*", **options)
    with pytest.raises(ConfigError, match="rules must be DomainRules"):
        UrlValidator(["*"])  # type: ignore[arg-type]


def test_an_address_that_is_silent_leaves_time_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    waits: list[float] = []

    class Silent:
        def __init__(self, family: int, kind: int) -> None: ...

        def settimeout(self, seconds: float) -> None:
            waits.append(seconds)

        def connect(self, address: object) -> None:
            nonlocal now
            now += waits[-1]
            raise TimeoutError("timed out")

        def close(self) -> None: ...

    monkeypatch.setattr("llmspell.security.urls.validator.socket.socket", Silent)
    monkeypatch.setattr("llmspell.security.urls.validator.time.monotonic", lambda: now)
    addresses = tuple(ip_address(f"8.8.8.{last}") for last in range(4))
    with pytest.raises(HostUnresolved, match="none of the 4 addresses"):
        open_checked(CheckedUrl(parse_url("http://a.com/"), addresses), timeout=8.0)
    assert waits == pytest.approx([2.0] * 4)
