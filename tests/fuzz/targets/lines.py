"""One line that a stranger wrote: a URL, a command line, a pattern, a host, a path or a variable.

The first byte says which.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx

from llmspell.errors import (
    ConfigError,
    InputError,
    InvalidCommand,
    InvalidUrl,
    PatternLimitExceeded,
    UnsafePattern,
)
from llmspell.security import (
    DomainRules,
    LinearPattern,
    Redactor,
    Url,
    is_public,
    parse_url,
    split_words,
)
from llmspell.security.grants import normal_domain, normal_path, normal_variable
from llmspell.security.urls.url import joined

BASES = tuple(map(parse_url, ("http://a.example/b/c?d", "https://[::1]:8443/", "http://1.2.3.4")))
TEXT = "aaa bbb\nxyz 0123 \u00e9\u4e2d\U0001f600 key=value"


def run(data: bytes) -> None:
    """Read as what the first byte names."""
    if data:
        text = data[1:].decode("utf-8", "surrogateescape")
        READERS[data[0] % len(READERS)](text)


def _url(text: str) -> None:
    with contextlib.suppress(InvalidUrl):
        _reads_the_same(parse_url(text))
    for base in BASES:
        with contextlib.suppress(InvalidUrl):
            _reads_the_same(joined(base, text))


def _reads_the_same(url: Url) -> None:
    written = str(url)
    assert written.isascii() and written.isprintable() and " " not in written
    again = parse_url(written)
    assert (again.origin, again.target) == (url.origin, url.target)
    theirs = urlsplit(written)
    assert theirs.hostname == url.host and (theirs.port or url.port) == url.port
    assert theirs.username is None and theirs.scheme == url.scheme
    try:
        client = httpx.URL(written)
    except httpx.InvalidURL:
        return  # a client that refuses goes nowhere else
    assert client.raw_host.decode("ascii").strip("[]") == url.host
    assert (client.port or url.port, client.scheme, client.userinfo) == (url.port, url.scheme, b"")
    if url.address is not None:
        is_public(url.address)


def _command(text: str) -> None:
    with contextlib.suppress(InvalidCommand):
        words = split_words(text)
        assert words and words == shlex.split(text)
        assert all("\0" not in word for word in words)
        # What is quoted is taken as it stands.
        assert split_words("x " + shlex.join(words)) == ["x", *words]


def _pattern(text: str) -> None:
    for flags in ({}, {"ignore_case": True, "multiline": True, "dot_all": True}):
        with contextlib.suppress(UnsafePattern, InputError, PatternLimitExceeded):
            pattern = LinearPattern(text, **flags)
            end = 0
            for match in pattern.finditer(TEXT):
                assert end <= match.start() <= match.end() <= len(TEXT)
                assert match.group() == TEXT[match.start() : match.end()]
                end = match.end()
            pattern.sub("-", TEXT)
            assert (pattern.fullmatch(TEXT) is None) or pattern.match(TEXT)


def _pattern_of_secrets(text: str) -> None:
    with contextlib.suppress(UnsafePattern, ConfigError):
        redactor = Redactor(patterns={"own": text})
        for finding in redactor.find(TEXT):
            assert 0 <= finding.start <= finding.end <= len(TEXT)


def _host(text: str) -> None:
    with contextlib.suppress(ConfigError):
        host = normal_domain(text)
        assert normal_domain(host) == host and host.isascii()
    with contextlib.suppress(ConfigError, InvalidUrl):
        rules = DomainRules([text])
        rules.allows_host("a.example")


def _path(text: str) -> None:
    with contextlib.suppress(ConfigError):
        path = normal_path(text)
        assert normal_path(path) == path and path.startswith("/") and ".." not in path.split("/")
    with contextlib.suppress(ConfigError):
        assert normal_variable(text) == text and text.isidentifier()


READERS: tuple[Callable[[str], None], ...] = (
    *(_url, _command, _pattern, _pattern_of_secrets, _host, _path),
)
