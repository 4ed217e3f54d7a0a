"""One parser decides where an http or https URL leads.

It is our own and small, for it takes less than others do. Parsers disagree on the host of a URL
that isn't quite what RFC 3986 writes: backslashes, credentials, tabs, percent-encoded or full-width
hosts, numbers that inet_aton reads. A parser of WHATWG's standard (ada-url is a good one) is
made to repair these, since browsers must; but what it repaired, the next client repairs otherwise.
Here each is refused with a reason, and what is left reads the same to all.

Give clients ``str(url)``, which is ASCII and canonical, rather than the text that was parsed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from llmspell.errors import InvalidUrl
from llmspell.security.urls.addresses import Address
from llmspell.security.urls.hostname import address_of, normal_host

__all__ = ["MAX_URL", "Url", "endpoint", "joined", "parse_url"]

MAX_URL = 8192  # characters; servers begin to refuse at about this length (RFC 9110, section 4.1)
DEFAULT_PORTS = {"http": 80, "https": 443}

_PARTS = re.compile(
    r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)"
    r"(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?",
    re.ASCII | re.DOTALL | re.IGNORECASE,
)
_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]*\]|[^\[\]:]*)(?::(?P<port>.*))?", re.DOTALL)
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_SPACE = re.compile(r"\s")
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.ASCII | re.IGNORECASE)
# What RFC 3986 lets stand in a path; the rest of ASCII, and all beyond, is percent-encoded.
_PATH_SAFE = "/:@!$&'()*+,;=%"
_QUERY_SAFE = _PATH_SAFE + "?"


@dataclass(frozen=True, slots=True)
class Url:
    """An http or https URL in canonical parts, as :func:`parse_url` makes them.

    Attributes:
        scheme: "http" or "https".
        host: a name in ASCII and lower case, or an address; IPv6 has no brackets.
        port: 1 to 65535, the scheme's where the URL names none.
        path: percent-encoded, "/" at least.
        query: percent-encoded, without "?"; "" where there is none.
        fragment: as it was written. It is never sent, and no part of ``str(url)``.
    """

    scheme: str
    host: str
    port: int
    path: str
    query: str
    fragment: str = ""

    @property
    def address(self) -> Address | None:
        """The address that the host is, or None where it is a name."""
        return address_of(self.host)

    @property
    def authority(self) -> str:
        """Host and port as the Host header has them: brackets around IPv6, no default port."""
        whole = endpoint(self.host, self.port)
        is_default = self.port == DEFAULT_PORTS[self.scheme]
        return whole.removesuffix(f":{self.port}") if is_default else whole

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: credentials for one origin aren't for another."""
        return self.scheme, self.host, self.port

    @property
    def target(self) -> str:
        """Path and query, as a request line has them."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def endpoint(host: str, port: int) -> str:
    """Host and port as one text, with brackets around IPv6."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_url(text: str) -> Url:
    """Take an absolute http or https URL apart; nothing is repaired.

    Raises:
        InvalidUrl: with a ``reason``; the message never holds credentials or the query.
        MissingDependency: an internationalised host without the extra ``security``.
    """
    if not isinstance(text, str):
        raise InvalidUrl(f"a URL must be a str, got {type(text).__name__}", reason="type")
    _must_be_clean(text)
    parts = _PARTS.fullmatch(text)
    if parts is None:
        raise InvalidUrl("a URL must begin with http:// or https://", reason="scheme")
    scheme = parts["scheme"].lower()
    if "@" in parts["authority"]:
        raise InvalidUrl(
            "a URL must have no credentials; send them as a header", reason="credentials"
        )
    if _LONE_PERCENT.search(parts["path"]) or _LONE_PERCENT.search(parts["query"] or ""):
        raise InvalidUrl("a % must be followed by two hexadecimal digits", reason="percent")
    authority = _AUTHORITY.fullmatch(parts["authority"])
    if authority is None:
        raise InvalidUrl(
            "brackets are only for an IPv6 address, at most one port follows", reason="ipv6-form"
        )
    return Url(
        scheme,
        normal_host(authority["host"]),
        DEFAULT_PORTS[scheme] if authority["port"] is None else _port(authority["port"]),
        quote(parts["path"], safe=_PATH_SAFE) or "/",
        quote(parts["query"] or "", safe=_QUERY_SAFE),
        parts["fragment"] or "",
    )


def joined(base: Url, location: str) -> Url:
    """The URL that a Location header leads to from ``base``: absolute or relative (RFC 3986).

    Raises:
        InvalidUrl: as :func:`parse_url` does, or an empty location.
    """
    if not isinstance(location, str) or not location:
        raise InvalidUrl("a location must be a str that isn't empty", reason="location")
    _must_be_clean(location)  # before anything of it is looked at
    root = f"{base.scheme}://{base.authority}"
    if _SCHEME.match(location):
        return parse_url(location)
    if location.startswith("//"):
        return parse_url(f"{base.scheme}:{location}")
    if location.startswith("/"):
        return parse_url(root + location)
    if location.startswith("?"):
        return parse_url(root + base.path + location)
    if location.startswith("#"):
        return parse_url(str(base) + location)
    directory = base.path[: base.path.rindex("/") + 1]
    end = re.search(r"[?#]|\Z", location)
    at = end.start() if end else len(location)
    return parse_url(root + _without_dots(directory + location[:at]) + location[at:])


def _must_be_clean(text: str) -> None:
    if len(text) > MAX_URL:
        raise InvalidUrl(
            f"a URL of {len(text)} characters, the limit is {MAX_URL}", reason="long-url"
        )
    for pattern, what, reason in (
        (_CONTROL, "a control character", "control-character"),
        (_SPACE, "white space", "whitespace"),
    ):
        found = pattern.search(text)
        if found:
            raise InvalidUrl(
                f"a URL must not have {what}, got {found[0]!a} at {found.start()}; "
                "percent-encode it",
                reason=reason,
            )
    if "\\" in text:
        raise InvalidUrl("a URL must have no backslash; write / or %5C", reason="backslash")


def _port(text: str) -> int:
    if not _PORT.fullmatch(text) or int(text) > 65535:
        raise InvalidUrl(
            "a port must be 1 to 65535, in digits without leading zeros; leave the colon out where "
            "there is none",
            reason="port",
        )
    return int(text)


def _without_dots(path: str) -> str:
    """RFC 3986, section 5.2.4, for a path that begins with a slash."""
    kept: list[str] = []
    segments = path[1:].split("/")
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)
