"""Where an embedding service is."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from llmspell.errors import ConfigError

__all__ = ["checked_url", "place"]

_PORTS: Final = {"http": 80, "https": 443}
_LOOPBACK: Final = {"localhost", "127.0.0.1", "::1"}


def checked_url(base_url: str, *, has_key: bool, allow_http: bool) -> str:
    """A base URL without a slash at its end.

    Raises:
        ConfigError: not http or https, with a user, a query or a fragment in it, or one by which a
            key would go over a network in plain text.
    """
    if not isinstance(base_url, str):
        raise ConfigError(f"base_url must be a str, got {type(base_url).__name__}")
    try:
        parts = urlsplit(base_url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        # What is wrong with it may be a password in it.
        raise ConfigError("base_url is no URL; is its port a number?") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError("base_url must begin with https:// or http:// and have a host")
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigError("base_url must have no user, query or fragment; a key goes in api_key")
    if parts.scheme == "http" and has_key and not allow_http and host not in _LOOPBACK:
        raise ConfigError(
            f"the key would go to {host} in plain text; use https, or say "
            "RemoteSettings(allow_http=True) where the network is yours"
        )
    return base_url.rstrip("/")


def place(base_url: str, *, home: str) -> str:
    """What of a URL tells where vectors come from: host and port, and a path of its own.

    One host may serve several models under one name, each under another path.

    Args:
        base_url: as :func:`checked_url` gives it.
        home: that of the service whose interface it is; its path isn't repeated.
    """
    parts = urlsplit(base_url)
    host = str(parts.hostname)
    if ":" in host:
        host = f"[{host}]"
    if parts.port not in (None, _PORTS[parts.scheme]):
        host += f":{parts.port}"
    return host if parts.path == urlsplit(home).path else f"{host}{parts.path or '/'}"
