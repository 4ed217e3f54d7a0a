"""Sockets of every kind that an attempt may reach, and whether it did."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import Any, Final

_PACKET: Final = 4096


class Listeners:
    """Nobody answers; who has come is counted when it is asked."""

    def __init__(self, base: Path) -> None:
        self._all: dict[str, socket.socket] = {}
        self._paths = {name: str(base / f"{name}.socket") for name in ("unix", "unix_packets")}
        names = ("abstract", "abstract_packets")
        self._abstract = {name: f"llmspell-{os.urandom(8).hex()}" for name in names}
        stream, packets = socket.SOCK_STREAM, socket.SOCK_DGRAM
        self._bind("tcp4", socket.AF_INET, stream, ("127.0.0.1", 0))
        self._bind("tcp6", socket.AF_INET6, stream, ("::1", 0))
        self._bind("udp4", socket.AF_INET, packets, ("127.0.0.1", 0))
        self._bind("udp6", socket.AF_INET6, packets, ("::1", 0))
        self._bind("unix", socket.AF_UNIX, stream, self._paths["unix"])
        self._bind("unix_packets", socket.AF_UNIX, packets, self._paths["unix_packets"])
        self._bind("abstract", socket.AF_UNIX, stream, "\0" + self._abstract["abstract"])
        self._bind(
            "abstract_packets", socket.AF_UNIX, packets, "\0" + self._abstract["abstract_packets"]
        )

    def described(self) -> dict[str, Any]:
        """Ports, paths and names."""
        ports = {
            name: self._all[name].getsockname()[1] if name in self._all else 9
            for name in ("tcp4", "tcp6", "udp4", "udp6")
        }
        return {**ports, **self._paths, **self._abstract}

    def count(self) -> dict[str, int]:
        """How many have come to each since it was asked last, or drained."""
        return {name: self._come(listener) for name, listener in self._all.items()}

    def drain(self) -> None:
        """Forget who has come."""
        self.count()

    def close(self) -> None:
        for listener in self._all.values():
            listener.close()

    def _bind(self, name: str, family: int, kind: int, address: Any) -> None:
        listener = socket.socket(family, kind)
        try:
            listener.bind(address)
        except OSError:  # no such family here
            listener.close()
            return
        if kind == socket.SOCK_STREAM:
            listener.listen(64)
        listener.setblocking(False)
        self._all[name] = listener

    def _come(self, listener: socket.socket) -> int:
        come = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                if listener.type == socket.SOCK_STREAM:
                    listener.accept()[0].close()
                else:
                    listener.recv(_PACKET)
                come += 1
        return come
