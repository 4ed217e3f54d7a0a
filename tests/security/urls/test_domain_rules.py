"""Rules match whole labels, whatever the spelling, and never parts of names."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell.errors import ConfigError
from llmspell.security import DomainRules, parse_url

RULES = DomainRules(["api.company.com", ".example.org", "Bücher.example", ".xn--bcher-kva.org"])


@pytest.mark.parametrize(
    "host",
    ["api.company.com", "API.Company.COM", "a.example.org", "a.b.EXAMPLE.org", "bücher.example",
     "BÜCHER.example", "xn--bcher-kva.example", "a.bücher.org", "_a.example.org"],
)  # fmt: skip
def test_a_host_that_is_listed_is_allowed(host: str) -> None:
    assert RULES.allows_host(parse_url(f"http://{host}/").host)


@pytest.mark.parametrize(
    "host",
    ["company.com", "x.api.company.com", "xapi.company.com", "api.company.com.evil.net",
     "api-company.com", "example.org", "evilexample.org", "a.example.org.evil.net",
     "a.example.orgx", "example.org.evil.net", "bucher.example", "a.bücher.example",
     "bücher.org", "8.8.8.8",
     "api.company.co", "pi.company.com", "[2a00::1]", "example", "org"],
)  # fmt: skip
def test_a_host_that_only_looks_listed_is_not(host: str) -> None:
    assert not RULES.allows_host(parse_url(f"http://{host}/").host)


def test_no_rules_allow_nothing_and_the_star_every_host() -> None:
    for host in ("a.com", "8.8.8.8", "2a00::1", "localhost"):
        assert not DomainRules([]).allows_host(host)
        assert DomainRules(["*"]).allows_host(host)


def test_addresses_and_networks_are_listed() -> None:
    rules = DomainRules(["192.168.7.1", "10.1.0.0/16", "[fd00::1]", "fd01::/16"])
    for text in ("192.168.7.1", "10.1.255.255", "fd00::1", "fd01:2::3"):
        assert rules.lists(ip_address(text)) and rules.allows_host(text)
    for text in ("192.168.7.2", "10.2.0.0", "fd00::2", "fd02::", "8.8.8.8", "::ffff:10.1.0.1"):
        assert not rules.lists(ip_address(text)) and not rules.allows_host(text)
    assert not DomainRules(["*"]).lists(ip_address("10.1.0.1"))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("", "empty"), (".", "empty"), ("*.a.com", r"write '\.a\.com'"), ("a.*", "label"),
        ("http://a.com", "no network"), ("a.com:80", "no network"), ("a.com/x", "no network"),
        ("10.0.0.1/8", "beyond its prefix"), ("0.0.0.0/0", "every address"), ("::/0", "every"),
        ("a.com.", "dot"), ("..a.com", "label"), ("a..com", "label"), ("0x7f.1", "IPv4"),
        ("10.1", "IPv4"), (".8.8.8.8", "after a dot"), (".0.0.1", "IPv4"), ("a b", "label"),
        (" a.com", "label"), ("u@a.com", "label"), ("stra\u00dfe.de", "xn--"), (7, "must be a str"),
        ("a%2ecom", "percent"), ("**", "label"), ("a.com\n", "label"),
    ],
)  # fmt: skip
def test_a_rule_of_another_form_is_refused(rule: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DomainRules(["a.com", rule])


def test_one_str_is_no_list_of_rules() -> None:
    with pytest.raises(ConfigError, match="list"):
        DomainRules("a.com")
    assert repr(DomainRules(["a.com", "*"])) == "DomainRules(['a.com', '*'])"


LABELS = st.lists(st.sampled_from(["a", "b", "aa", "ab", "a-b", "com"]), min_size=1, max_size=4)


@given(LABELS, LABELS)
def test_a_suffix_matches_by_labels_alone(rule: list[str], host: list[str]) -> None:
    below = len(host) > len(rule) and host[-len(rule) :] == rule
    assert DomainRules(["." + ".".join(rule)]).allows_host(".".join(host)) is below
    assert DomainRules([".".join(rule)]).allows_host(".".join(host)) is (rule == host)


def test_a_rule_in_the_mapped_form_is_the_rule_of_the_ipv4_address() -> None:
    rules = DomainRules(["::ffff:10.1.0.0/112", "::ffff:192.168.7.1"])
    for address in ("10.1.2.3", "192.168.7.1"):
        assert rules.allows_host(address) and rules.lists(IPv4Address(address))
    assert not rules.allows_host("10.2.0.1")


@pytest.mark.parametrize(
    "rules", [None, 5, ["[::1"], ["::1]"], ["fe80::1%eth0"], ["::/0"], ["::ffff:0:0/96"]]
)
def test_what_would_match_nothing_or_all_is_refused(rules: Any) -> None:
    with pytest.raises(ConfigError):
        DomainRules(rules)
