"""Which addresses are on the public internet: the table that decides where a URL may lead.

The rows are IANA's special-purpose registries for IPv4 and IPv6 (RFC 6890, kept at iana.org), its
multicast spaces, and the addresses at which clouds serve their virtual machines. Three rules are
stricter than the registries:

- IPv6 is public only within ``2000::/3``, the one block that IANA gives out as global unicast
  (RFC 4291, section 2.4), so what is assigned elsewhere one day is refused until then.
- Anycast of the network itself (AS112, AMT, PCP, TURN) is refused, though it is reachable: the
  nearest node may be one's own router, and no web server is there.
- An IPv6 address that carries an IPv4 address is judged by what it carries where hosts send to it
  today: mapped, NAT64 and ISATAP. The carriers that are deprecated or lead through a stranger's
  relay (compatible, translated, 6to4, Teredo) are refused whatever they carry.

Python's ``is_global`` won't do: that of 3.11 takes ``::127.0.0.1``, ``64:ff9b::7f00:1``,
``2002:7f00:1::``, ``fec0::1``, ``168.63.129.16`` and ``224.0.0.1`` for global.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from llmspell.errors import ConfigError, InputError

__all__ = [
    "Address",
    "Network",
    "carried_ipv4",
    "is_public",
    "nat64_prefix",
    "to_address",
    "to_network",
    "why_not_public",
]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class _Row(NamedTuple):
    network: str
    purpose: str


# The first row that holds an address names it, so a network stands after the parts of it.
_IPV4 = (
    _Row("168.63.129.16/32", "Azure's platform address"),
    _Row("169.254.169.254/32", "the metadata service of clouds"),
    _Row("100.100.100.200/32", "Alibaba Cloud's metadata service"),
    _Row("192.0.0.192/32", "Oracle Cloud's metadata service"),
    _Row("0.0.0.0/8", "this host on this network (RFC 1122)"),
    _Row("10.0.0.0/8", "private use (RFC 1918)"),
    _Row("100.64.0.0/10", "shared by carriers (RFC 6598)"),
    _Row("127.0.0.0/8", "loopback (RFC 1122)"),
    _Row("169.254.0.0/16", "link-local (RFC 3927)"),
    _Row("172.16.0.0/12", "private use (RFC 1918)"),
    _Row("192.0.0.0/24", "IETF protocol assignments (RFC 6890, 7335, 7600, 7723, 8155)"),
    _Row("192.0.2.0/24", "documentation (RFC 5737)"),
    _Row("192.31.196.0/24", "AS112 (RFC 7535)"),
    _Row("192.52.193.0/24", "AMT (RFC 7450)"),
    _Row("192.88.99.0/24", "6to4 relay anycast, deprecated (RFC 7526)"),
    _Row("192.168.0.0/16", "private use (RFC 1918)"),
    _Row("192.175.48.0/24", "AS112 (RFC 7534)"),
    _Row("198.18.0.0/15", "benchmarking (RFC 2544)"),
    _Row("198.51.100.0/24", "documentation (RFC 5737)"),
    _Row("203.0.113.0/24", "documentation (RFC 5737)"),
    _Row("224.0.0.0/4", "multicast (RFC 5771)"),
    _Row("255.255.255.255/32", "broadcast (RFC 919)"),
    _Row("240.0.0.0/4", "reserved (RFC 1112)"),
)
_IPV6 = (
    _Row("::/128", "unspecified (RFC 4291)"),
    _Row("::1/128", "loopback (RFC 4291)"),
    _Row("::/96", "IPv4-compatible, deprecated (RFC 4291)"),
    _Row("::ffff:0:0:0/96", "IPv4-translated (RFC 2765)"),
    _Row("64:ff9b:1::/48", "NAT64 of this network (RFC 8215)"),
    _Row("100::/64", "discarded (RFC 6666)"),
    _Row("100:0:0:1::/64", "dummy prefix (RFC 9780)"),
    _Row("2001::/32", "Teredo (RFC 4380)"),
    _Row("2001:2::/48", "benchmarking (RFC 5180)"),
    _Row("2001:3::/32", "AMT (RFC 7450)"),
    _Row("2001:4:112::/48", "AS112 (RFC 7535)"),
    _Row("2001:10::/28", "ORCHID, deprecated (RFC 4843)"),
    _Row("2001:20::/28", "ORCHIDv2 (RFC 7343)"),
    _Row("2001:30::/28", "identifiers of drones (RFC 9374)"),
    _Row("2001::/23", "IETF protocol assignments (RFC 2928, 7723, 8155, 9665)"),
    _Row("2001:db8::/32", "documentation (RFC 3849)"),
    _Row("2002::/16", "6to4 (RFC 3056)"),
    _Row("2620:4f:8000::/48", "AS112 (RFC 7534)"),
    _Row("3ffe::/16", "the 6bone, returned (RFC 3701)"),
    _Row("3fff::/20", "documentation (RFC 9637)"),
    _Row("5f00::/16", "identifiers of segment routing (RFC 9602)"),
    _Row("fd00:ec2::254/128", "the metadata service of Amazon EC2"),
    _Row("fd20:ce::254/128", "the metadata service of Google Cloud"),
    _Row("fc00::/7", "unique local (RFC 4193)"),
    _Row("fe80::/10", "link-local (RFC 4291)"),
    _Row("fec0::/10", "site-local, deprecated (RFC 3879)"),
    _Row("ff00::/8", "multicast (RFC 4291)"),
)
_IPV4_TABLE = tuple((IPv4Network(row.network), row.purpose) for row in _IPV4)
_IPV6_TABLE = tuple((IPv6Network(row.network), row.purpose) for row in _IPV6)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_BY_NAT64 = "NAT64 (RFC 6052)"
_MAPPED = IPv6Network("::ffff:0:0/96")
# Where RFC 6052, section 2.2, puts the four bytes by the length of the prefix; byte 8 is left out.
_NAT64_BYTES = {
    32: (4, 5, 6, 7),
    40: (5, 6, 7, 9),
    48: (6, 7, 9, 10),
    56: (7, 9, 10, 11),
    64: (9, 10, 11, 12),
    96: (12, 13, 14, 15),
}


def is_public(address: Address | str, *, nat64_prefixes: Sequence[IPv6Network | str] = ()) -> bool:
    """Whether an address is one of the public internet; a str must be an address in its usual form.

    ``nat64_prefixes`` are those by which this network's own translator reaches IPv4 (RFC 6052);
    they look like any other global address. ``64:ff9b::/96`` is known without it.

    Raises:
        InputError: no address.
        ConfigError: no prefix of NAT64.
    """
    return why_not_public(address, nat64_prefixes=nat64_prefixes) is None


def why_not_public(
    address: Address | str, *, nat64_prefixes: Sequence[IPv6Network | str] = ()
) -> str | None:
    """What an address is that isn't public, such as "loopback (RFC 1122)"; None where it is.

    Raises:
        InputError: no address.
        ConfigError: no prefix of NAT64.
    """
    address = to_address(address)
    if isinstance(address, IPv4Address):
        return _why_not_public_ipv4(address)
    carrier, carried = carried_ipv4(address, nat64_prefixes) or ("", None)
    # The well-known prefix of NAT64 lies outside of global unicast, an ISATAP address needn't.
    if carrier != _BY_NAT64:
        for network, purpose in _IPV6_TABLE:
            if address in network:
                return purpose
        if address not in _GLOBAL_UNICAST:
            return "outside of global unicast (RFC 4291)"
    if carried is None or (purpose_carried := _why_not_public_ipv4(carried)) is None:
        return None
    return f"{carrier} of {carried}, {purpose_carried}"


def carried_ipv4(
    address: Address, nat64_prefixes: Sequence[IPv6Network | str] = ()
) -> tuple[str, IPv4Address] | None:
    """The IPv4 address to which hosts send what is for an IPv6 address, and by what; or None.

    Raises:
        ConfigError: no prefix of NAT64.
    """
    if isinstance(address, IPv4Address):
        return None
    for given in (_NAT64, *nat64_prefixes):
        prefix = given if given is _NAT64 else nat64_prefix(given)
        if address in prefix:
            carried = bytes(address.packed[at] for at in _NAT64_BYTES[prefix.prefixlen])
            return _BY_NAT64, IPv4Address(carried)
    # ISATAP (RFC 5214, section 6.1): two bits of the first byte say universal and group.
    if address.packed[8] & 0xFC == 0 and address.packed[9:12] == b"\x00\x5e\xfe":
        return "ISATAP (RFC 5214)", IPv4Address(address.packed[12:])
    return None


def to_address(address: Address | str) -> Address:
    """The IPv4 address of an IPv4-mapped one (RFC 4291), else the address, without a zone.

    Raises:
        InputError: no address.
    """
    # Numbers and bytes are addresses to the module of the standard library.
    given = str(address) if isinstance(address, str | IPv4Address | IPv6Address) else ""
    try:
        parsed = ip_address(given)
    except ValueError as error:
        raise InputError(f"an address must be IPv4 or IPv6, got {address!a}") from error
    if isinstance(parsed, IPv4Address):
        return parsed
    return parsed.ipv4_mapped or IPv6Address(parsed.packed)


def to_network(text: str) -> Network:
    """An address or a network; an IPv4-mapped one (RFC 4291) is that of IPv4.

    Raises:
        ConfigError: it is neither, has a zone, or has bits set beyond its prefix.
    """
    try:
        if not isinstance(text, str) or "%" in text:
            raise ValueError(f"{text!r} isn't an address or a network without a zone")
        network = ip_network(text)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        start = network.network_address.packed[12:]
        return IPv4Network((start, network.prefixlen - 96))
    return network


def nat64_prefix(text: IPv6Network | str) -> IPv6Network:
    """A prefix of NAT64 as RFC 6052 allows it.

    Raises:
        ConfigError: no IPv6 network, or one whose length isn't 32, 40, 48, 56, 64 or 96.
    """
    try:
        prefix = text if isinstance(text, IPv6Network) else IPv6Network(str(text))
    except ValueError as error:
        raise ConfigError(f"a NAT64 prefix must be an IPv6 network, got {text!r}") from error
    if prefix.prefixlen not in _NAT64_BYTES:
        lengths = ", ".join(str(length) for length in _NAT64_BYTES)
        raise ConfigError(f"the length of a NAT64 prefix must be one of {lengths}, got {text!r}")
    return prefix


def _why_not_public_ipv4(address: IPv4Address) -> str | None:
    for network, purpose in _IPV4_TABLE:
        if address in network:
            return purpose
    return None
