"""More than 700 URLs that all lead to a private address: none through."""

from __future__ import annotations

import socket
from collections import Counter
from ipaddress import IPv4Address, ip_address

import pytest

from llmspell.errors import HostUnresolved, InvalidUrl, UrlDenied
from llmspell.security import DomainRules, UrlValidator, is_public
from llmspell.security.urls.hostname import normal_host
from tests.security.urls.ssrf_urls import IPV4, IPV6, PUBLIC, every_url, names
from tests.security.urls.zone import Zone

TABLE = every_url()


def private_zone() -> Zone:
    """Each of the table's names at its address: alone, beside a public one, or mapped."""
    zone = Zone({})
    for address in (*IPV4, *IPV6):
        for name in names(address):
            answers = [address]
            if name.startswith("mixed-"):
                answers = [PUBLIC, address]
            elif name.startswith("mapped-") and address in IPV4:
                answers = [f"::ffff:{address}"]
            zone.names[normal_host(name)] = answers
    return zone


def test_no_url_that_leads_to_a_private_address_gets_through() -> None:
    zone = private_zone()
    validator = UrlValidator(DomainRules(["*"]), resolver=zone)
    reasons: Counter[str] = Counter()
    through = []
    for leading in TABLE:
        try:
            validator.validate(leading.url)
        except (InvalidUrl, UrlDenied) as error:
            reasons[error.reason] += 1
        else:
            through.append(leading)
    print(f"{len(TABLE)} URLs, {len(through)} through; refused for {dict(reasons.most_common())}")
    assert through == []
    assert len(TABLE) >= 700
    assert reasons["address"] >= 200, "too few got as far as the table of addresses"
    # Every name of the zone was asked for, so none was refused for want of an answer.
    assert {host for host, _ in zone.asked} == set(zone.names)


def test_no_redirect_to_one_of_these_gets_through() -> None:
    zone = private_zone()
    zone.names["public.test"] = [PUBLIC]
    validator = UrlValidator(DomainRules(["*"]), resolver=zone, allow_downgrade=True)
    start = validator.validate("http://public.test/a")
    for leading in TABLE:
        try:
            reached = validator.follow(start, leading.url)
        except (InvalidUrl, UrlDenied):
            continue
        pytest.fail(f"{leading.url!a} led to {reached.addresses}")


def test_the_tables_numbers_do_lead_there() -> None:
    """The numeric forms are what the C library connects to, so refusing them means something."""
    numeric = [leading for leading in TABLE if leading.numeric]
    assert len(numeric) > 150
    for leading in numeric:
        assert IPv4Address(socket.inet_aton(leading.host)) == IPv4Address(leading.address)
        assert not is_public(leading.address)


def test_the_same_table_gets_through_a_check_by_is_global_and_substrings() -> None:
    """What a usual check lets through: it looks at the text, or asks ``is_global``."""
    through = 0
    for leading in TABLE:
        host = leading.host.strip("[]")
        try:
            through += ip_address(host).is_global
        except ValueError:
            through += leading.numeric  # no address in its eyes, so it is a name, and allowed
    assert through > 200


@pytest.mark.parametrize("address", [*IPV4, *IPV6])
def test_a_name_leads_nowhere_when_one_of_many_answers_is_private(address: str) -> None:
    many = [f"8.8.{at}.{at}" for at in range(1, 20)]
    for at in (0, 7, len(many)):
        zone = Zone({"a.test": [*many[:at], address, *many[at:]]})
        with pytest.raises(UrlDenied) as caught:
            UrlValidator(DomainRules(["*"]), resolver=zone).validate("http://a.test/")
        assert caught.value.reason == "address"
        assert str(ip_address(address)) in str(caught.value)


def test_a_zone_without_an_answer_is_told_apart_from_a_refusal() -> None:
    with pytest.raises(HostUnresolved, match="no address"):
        UrlValidator(DomainRules(["*"]), resolver=Zone({})).validate("http://a.test/")
