"""What is on the public internet and what isn't, at the edges of every row of the table."""

from __future__ import annotations

import ipaddress

import pytest

from llmspell.errors import ConfigError, InputError
from llmspell.security import is_public, why_not_public
from llmspell.security.urls.addresses import _IPV4_TABLE, _IPV6_TABLE, nat64_prefix, to_address

# Held apart from the code's table: what IANA's registries and the clouds' manuals say.
NOT_PUBLIC = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/128",
    "::1/128",
    "::/96",
    "::ffff:0:0:0/96",
    "64:ff9b:1::/48",
    "100::/64",
    "100:0:0:1::/64",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "2620:4f:8000::/48",
    "3ffe::/16",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
]


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_no_edge_of_a_special_network_is_public(text: str) -> None:
    network = ipaddress.ip_network(text)
    middle = network[network.num_addresses // 2]
    for address in (network[0], middle, network[-1]):
        assert not is_public(address), address


# The next address before or after a network, where that isn't in another one.
@pytest.mark.parametrize(
    "text",
    [
        "1.0.0.0",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "168.63.129.15",
        "168.63.129.17",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "191.255.255.255",
        "192.0.1.0",
        "192.0.3.0",
        "192.31.195.255",
        "192.31.197.0",
        "192.52.192.255",
        "192.52.194.0",
        "192.88.98.255",
        "192.88.100.0",
        "192.167.255.255",
        "192.169.0.0",
        "192.175.47.255",
        "192.175.49.0",
        "198.17.255.255",
        "198.20.0.0",
        "198.51.99.255",
        "198.51.101.0",
        "203.0.112.255",
        "203.0.114.0",
        "223.255.255.255",
        "2000::",
        "2001:200::",
        "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:db9::",
        "2003::",
        "2620:4f:7fff:ffff:ffff:ffff:ffff:ffff",
        "2620:4f:8001::",
        "3ffd:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "8.8.8.8",
        "1.1.1.1",
        "2606:4700:4700::1111",
        "2a00:1450:4001:82a::200e",
    ],
)
def test_the_neighbours_of_special_networks_are_public(text: str) -> None:
    assert is_public(text), why_not_public(text)


@pytest.mark.parametrize(
    "text",
    [
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::7f00:1",
        "64:ff9b:1::808:808",
        "2002:7f00:1::",
        "2002:808:808::",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
        "fec0::1",
        "168.63.129.16",
        "169.254.169.254",
        "100.100.100.200",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd20:ce::254",
        "224.0.0.1",
        "255.255.255.255",
        "::ffff:127.0.0.1",
        "::8.8.8.8",
        "::ffff:0:8.8.8.8",
        "2a00:1450:4001:82a:0:5efe:10.0.0.1",
        "2a00:1450:4001:82a:200:5efe:7f00:1",
        "2a00:1450:4001:82a:300:5efe:a9fe:a9fe",
        "4000::1",
        "1fff:ffff::",
        "fe80::1%eth0",
        "64:ff9b::a83f:8110",
        "64:ff9b::100.64.0.1",
        "::",
    ],
)
def test_what_carries_or_is_private_is_not_public(text: str) -> None:
    assert not is_public(text)


@pytest.mark.parametrize(
    "text",
    [
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2a00:1450:4001:82a:0:5efe:8.8.8.8",
        "2a00:1450:4001:82a:0:5eff:10.0.0.1",
        "2a00:1450:4001:82a:1200:5efe:10.0.0.1",
        "2a00:1450:4001:82a::10.0.0.1",
    ],
)
def test_what_carries_a_public_address_is_public(text: str) -> None:
    assert is_public(text), why_not_public(text)


@pytest.mark.parametrize("length", [32, 40, 48, 56, 64, 96])
def test_a_networks_own_nat64_prefix_is_judged_by_what_it_carries(length: int) -> None:
    """The layouts of RFC 6052, written out by hand, for 10.1.2.3 and 8.8.4.4."""
    base = int(ipaddress.IPv6Address("2a00:1450:aabb:ccdd:ee:ff00::"))
    prefix = ipaddress.IPv6Network((base >> (128 - length) << (128 - length), length))
    for carried, public in (("10.1.2.3", False), ("8.8.4.4", True)):
        packed = bytearray(prefix.network_address.packed)
        at = length // 8
        for byte in ipaddress.IPv4Address(carried).packed:
            at += at == 8
            packed[at] = byte
            at += 1
        address = ipaddress.IPv6Address(bytes(packed))
        assert is_public(address), "it looks like any global address"
        assert is_public(address, nat64_prefixes=[nat64_prefix(str(prefix))]) is public


@pytest.mark.parametrize("text", ["2a00::/33", "10.0.0.0/8", "2a00::1/96", "", "::/0"])
def test_a_prefix_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="NAT64"):
        nat64_prefix(text)


def test_the_reason_is_the_narrowest_one() -> None:
    assert why_not_public("169.254.169.254") == "the metadata service of clouds"
    assert why_not_public("169.254.1.1") == "link-local (RFC 3927)"
    assert why_not_public("::1") == "loopback (RFC 4291)"
    assert why_not_public("2001::1") == "Teredo (RFC 4380)"
    assert why_not_public("64:ff9b::7f00:1") == (
        "NAT64 (RFC 6052) of 127.0.0.1, loopback (RFC 1122)"
    )


@pytest.mark.parametrize("table", [_IPV4_TABLE, _IPV6_TABLE], ids=["ipv4", "ipv6"])
def test_each_row_names_some_address(table: tuple[tuple[ipaddress.IPv4Network, str], ...]) -> None:
    """A row behind a wider one would never be given as the reason."""
    for at, (network, _) in enumerate(table):
        assert not any(network.subnet_of(before) for before, _ in table[:at]), network


def test_a_mapped_address_is_the_ipv4_address_and_a_zone_is_left_out() -> None:
    assert to_address("::ffff:8.8.8.8") == ipaddress.ip_address("8.8.8.8")
    assert str(to_address("fe80::1%lo")) == "fe80::1"


@pytest.mark.parametrize("text", ["", "a.com", "127.1", "0x7f000001", "127.0.0.01", "[::1]"])
def test_what_is_no_address_is_named(text: str) -> None:
    with pytest.raises(InputError, match="IPv4 or IPv6"):
        is_public(text)


@pytest.mark.parametrize("value", [1, True, b"\x08\x08\x08\x08", None])
def test_a_number_is_no_address(value: object) -> None:
    with pytest.raises(InputError, match="an address must be IPv4 or IPv6"):
        is_public(value)  # type: ignore[arg-type]


def test_a_prefix_of_nat64_is_checked_where_it_is_given() -> None:
    for prefix in ("2a00:1::/33", "10.0.0.0/8"):
        with pytest.raises(ConfigError, match="NAT64"):
            is_public("2a00:1::7f00:1", nat64_prefixes=[ipaddress.ip_network(prefix)])  # type: ignore[list-item]
    assert not is_public("2a00:1::7f00:1", nat64_prefixes=["2a00:1::/96"])
