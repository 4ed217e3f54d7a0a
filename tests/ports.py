"""Ports for servers that are told one, as those are that can't say which they took."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_RANDOM = random.SystemRandom()  # whose numbers no test decides


def free_port() -> int:
    """A port of the loopback that nobody listens on.

    It is below those that the system gives to outgoing connections, which could take it before the
    server does, or while the server is down.
    """
    above = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else 32_768
    while True:
        port = _RANDOM.randrange(min(10_000, above // 2), above)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
