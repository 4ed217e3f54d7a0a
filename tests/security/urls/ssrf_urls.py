"""URLs that all lead to a private address, in every encoding that some client follows."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

IPV4 = (
    "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254",
    "168.63.129.16", "100.100.100.200", "192.0.0.192", "0.0.0.0", "198.18.0.1", "224.0.0.1",
)  # fmt: skip
IPV6 = (
    "::1", "::", "fd00:ec2::254", "fd20:ce::254", "fe80::1", "fec0::1", "ff02::1", "fc00::1",
    "2001:db8::1", "100::1", "5f00::1",
)  # fmt: skip
PUBLIC = "8.8.8.8"


class Leading(NamedTuple):
    """A URL and the private address that it leads to; by ``inet_aton`` where ``numeric``."""

    url: str
    host: str
    address: str
    numeric: bool


def numeric_forms(address: str) -> Iterator[str]:
    """What inet_aton reads as the address, beside its canonical form."""
    a, b, c, d = IPv4Address(address).packed
    whole, low24, low16 = int(IPv4Address(address)), b << 16 | c << 8 | d, c << 8 | d
    yield from (str(whole), f"0x{whole:x}", f"0X{whole:08X}", f"0{whole:o}", f"000{whole:o}")
    yield from (f"{a}.{low24}", f"{a}.{b}.{low16}", f"0x{a:x}.{low24}", f"0{a:o}.0{low24:o}")
    yield from (f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}", f"0x{a:02X}.0x{b:02X}.{low16}")
    yield from (f"0{a:o}.0{b:o}.0{c:o}.0{d:o}", f"000{a:o}.00{b:o}.0{c:o}.0{d:o}")
    yield from (f"0x{a:x}.{b}.0{c:o}.{d}", f"0{a:o}.{b}.{c}.0x{d:x}", f"{a}.{b}.0x{low16:x}")


def textual_forms(address: str) -> Iterator[str]:
    """What only browsers, normalising libraries or careless decoders read as the address."""
    full_width = address.translate({ord(c): ord(c) - 0x30 + 0xFF10 for c in "0123456789"})
    yield from (full_width, address.replace(".", "\u3002"), address.replace(".", "\uff0e"))
    yield from (address.replace(".", "\uff61"), full_width.replace(".", "\u3002"))
    circled = {ord(str(n)): chr(0x2460 + n - 1) for n in range(1, 10)} | {ord("0"): "\u24ea"}
    yield from (
        address.translate(circled),
        address.replace(".", "%2e"),
        address.replace(".", "%E3%80%82"),
    )
    yield "".join(f"%{ord(c):02x}" for c in address)
    yield from (
        f"{address}.",
        f"{address}..",
        f"{address}%00",
        f"{address}%20",
        f"{address}%00.a.com",
    )
    yield from (address[:1] + "\u00ad" + address[1:], address + "\u200b", "\u2060" + address)


def ipv6_forms(address: str) -> Iterator[str]:
    """IPv6 addresses that carry the IPv4 address."""
    number = int(IPv4Address(address))
    high, low = number >> 16, number & 0xFFFF
    yield from (
        f"[::ffff:{address}]",
        f"[::FFFF:{high:x}:{low:x}]",
        f"[0:0:0:0:0:ffff:{high:04x}:{low:04x}]",
    )
    yield from (f"[::{address}]", f"[0:0:0:0:0:0:{address}]", f"[::ffff:0:{address}]")
    yield from (
        f"[64:ff9b::{address}]",
        f"[64:ff9b:0:0:0:0:{high:x}:{low:x}]",
        f"[64:ff9b:1::{address}]",
    )
    yield from (f"[2002:{high:x}:{low:x}::]", f"[2002:{high:x}:{low:x}::1]")
    flipped = number ^ 0xFFFFFFFF
    yield f"[2001:0:808:808:8000:63bf:{flipped >> 16:x}:{flipped & 0xFFFF:x}]"
    yield from (f"[2a00:1450::5efe:{address}]", f"[2a00:1450::200:5efe:{high:x}:{low:x}]")
    yield from (f"[fe80::5efe:{address}]", f"[fe80::{address}%25lo]", f"[::ffff:{address}%251]")


def names(address: str) -> Iterator[str]:
    """Names that the tests' resolver has at the address."""
    dashed = address.replace(".", "-").replace(":", "-") + "-x"
    yield from (f"private-{dashed}.test", f"PRIVATE-{dashed}.Test", f"a.b.c.private-{dashed}.test")
    yield from (f"mixed-{dashed}.test", f"mapped-{dashed}.test", f"priv\u00e9-{dashed}.test")


def around(address: str) -> Iterator[str]:
    """Whole URLs that one client takes for a public host and another for the address."""
    yield from (
        f"http://{PUBLIC}@{address}/",
        f"http://{PUBLIC}:80@{address}/",
        f"http://@{address}/",
    )
    yield from (
        f"http://u:p@{address}:80/",
        f"http://{PUBLIC}\\@{address}/",
        f"http://{address}\\@{PUBLIC}/",
    )
    yield from (
        f"http://{address}:80\\@{PUBLIC}/",
        f"http://{address} @{PUBLIC}/",
        f"http:/\\{address}/",
    )
    yield from (
        f"http:\\\\{address}/",
        f"http:{address}/",
        f"http:/{address}/",
        f"http:///{address}/",
    )
    yield from (
        f"//{address}/",
        f"ht\ttp://{address}/",
        f"http://\t{address}/",
        f"http://\r\n{address}/",
    )
    yield from (f" http://{address}/", f"http://{address}\t.test/", f"http://{address}\x00.test/")
    yield from (
        f"http://{address}/ HTTP/1.1\r\nHost: {PUBLIC}",
        f"http://{address}:0/",
        f"http://{address}:/",
    )
    yield from (
        f"http://{address}:65616/",
        f"http://{address}:80:80/",
        f"http://{address}:\uff18\uff10/",
    )
    yield from (f"gopher://{address}:70/_x", f"ftp://{address}/", f"dict://{address}:11211/stats")
    yield from (
        f"http://{PUBLIC}%40{address}/",
        f"http://{PUBLIC}%23@{address}/",
        f"url:http://{address}/",
    )


def every_url() -> list[Leading]:
    """The table: each URL once."""
    found: dict[str, Leading] = {}

    def add(url: str, host: str, address: str, numeric: bool = False) -> None:
        found.setdefault(url, Leading(url, host, address, numeric))

    for address in IPV4:
        for host in (address, *numeric_forms(address)):
            add(f"http://{host}/", host, address, True)
        add(f"https://{address}:8443/latest/meta-data?x=1#y", address, address, True)
        for host in (*textual_forms(address), *ipv6_forms(address), *names(address)):
            add(f"https://{host}/x", host, address)
        for url in around(address):
            add(url, "", address)
    for address in IPV6:
        number = IPv6Address(address)
        for host in (address, number.exploded, number.exploded.upper(), f"{address}%25lo"):
            add(f"http://[{host}]:8080/", f"[{host}]", address)
        for host in names(address):
            add(f"http://{host}/", host, address)
    return list(found.values())
