"""Where HTTP clients would connect to for a URL, each by its own parser."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from ipaddress import ip_address

Place = tuple[str, int]
PORTS = {"http": 80, "https": 443}


def of_urllib(text: str) -> Place:
    from urllib.parse import urlsplit

    parts = urlsplit(text)
    return placed(parts.hostname, parts.port, parts.scheme)


def of_urllib3(text: str) -> Place:
    from urllib3.util import parse_url

    parts = parse_url(text)
    return placed(parts.host, parts.port, parts.scheme)


def of_requests(text: str) -> Place:
    """What requests prepares, as its transport then takes it apart."""
    import requests

    return of_urllib3(str(requests.Request("GET", text).prepare().url))


def of_httpx(text: str) -> Place:
    import httpx

    url = httpx.URL(text)
    return placed(url.raw_host.decode("ascii"), url.port, url.scheme)


def of_yarl(text: str) -> Place:
    import yarl

    url = yarl.URL(text)
    return placed(url.raw_host, url.port, url.scheme)


def of_ada(text: str) -> Place:
    """The standard of browsers, WHATWG's."""
    import ada_url

    url = ada_url.URL(text)
    return placed(url.hostname, int(url.port) if url.port else None, url.protocol.rstrip(":"))


def placed(host: str | None, port: int | None, scheme: str | None) -> Place:
    """Host and port in one spelling, without brackets; an address in its canonical form."""
    if not host or scheme not in PORTS:
        raise ValueError(f"no place: {scheme!a}, {host!a}")
    host = host.strip("[]").lower()
    if ":" in host:
        six = ip_address(host)
        host = str(getattr(six, "ipv4_mapped", None) or six)
    elif not host.isascii():
        # A client that leaves the name as it is has the system's resolver encode it.
        host = host.encode("idna").decode("ascii")
    return host, PORTS[scheme] if port is None else port


ALL: dict[str, tuple[str, Callable[[str], Place]]] = {
    "urllib": ("urllib", of_urllib),
    "urllib3": ("urllib3", of_urllib3),
    "requests": ("requests", of_requests),
    "httpx": ("httpx", of_httpx),
    "yarl": ("yarl", of_yarl),
    "ada": ("ada_url", of_ada),
}
INSTALLED = {
    name: place for name, (module, place) in ALL.items() if importlib.util.find_spec(module)
}
