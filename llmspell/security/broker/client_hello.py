"""The first message of TLS, which names the host in the clear; RFC 8446, section 4.1.2.

It is read, never changed, and it is all of TLS that the proxy reads. What can't be understood is
refused.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmspell.errors import EgressDenied

__all__ = ["MAX_HELLO", "ClientHello", "read_client_hello"]

MAX_HELLO = 32 * 1024  # bytes with the framing of records; post-quantum key shares take 2 KiB
_HANDSHAKE = 22
_CLIENT_HELLO = b"\x01"
_MAX_RECORD = 1 << 14
_MAX_RECORDS = 16  # for it is read from the start again as more comes; clients send one, or two
_SERVER_NAME, _ENCRYPTED_CLIENT_HELLO = 0, 0xFE0D


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What a ClientHello says of the host.

    Attributes:
        server_name: in lower case, or None where there is none, as for an address.
        encrypted: whether a second, encrypted ClientHello is in it, which may name another host.
    """

    server_name: str | None
    encrypted: bool


class _Reader:
    """Takes bytes from the front; all lengths are checked."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        if count > len(self._data) - self._at:
            raise _refused("is cut short")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def block(self, width: int) -> _Reader:
        """What follows a length of so many bytes."""
        return _Reader(self.take(self.number(width)))

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data) - self._at)

    def __bool__(self) -> bool:
        return self._at < len(self._data)


def read_client_hello(data: bytes) -> ClientHello | None:
    """What stands in the ClientHello at the start of a connection; None where more must come.

    Raises:
        EgressDenied: it isn't TLS, or isn't well-formed, or longer than ``MAX_HELLO``.
    """
    message = _handshake(data)
    if message is None:
        if len(data) >= MAX_HELLO:
            raise _refused(f"is longer than {MAX_HELLO:,} bytes")
        return None
    hello = _Reader(message)
    hello.take(2 + 32)  # the version, and random bytes
    hello.block(1)  # the session
    hello.block(2)  # cipher suites
    hello.block(1)  # compression
    if not hello:
        return ClientHello(None, encrypted=False)
    extensions = hello.block(2)
    if hello:
        raise _refused("has something after its extensions")
    seen: dict[int, _Reader] = {}
    while extensions:
        kind = extensions.number(2)
        if kind in seen:
            raise _refused("has an extension twice")
        seen[kind] = extensions.block(2)
    name = _server_name(seen[_SERVER_NAME]) if _SERVER_NAME in seen else None
    return ClientHello(name, encrypted=_ENCRYPTED_CLIENT_HELLO in seen)


def _handshake(data: bytes) -> bytes | None:
    """The ClientHello out of the records that carry it; None where more must come."""
    message = bytearray()
    at = 0
    for _ in range(_MAX_RECORDS):
        if at >= len(data):
            return None
        header = data[at : at + 5]
        # What has begun otherwise isn't waited for.
        if header[0] != _HANDSHAKE or (len(header) > 1 and header[1] != 3):
            raise _refused("isn't TLS")
        if len(header) < 5:
            return None
        length = int.from_bytes(header[3:5], "big")
        if not 0 < length <= _MAX_RECORD:
            raise _refused("is in a record of a wrong length")
        message += data[at + 5 : at + 5 + length]
        at += 5 + length
        if message[:1] not in (b"", _CLIENT_HELLO):
            raise _refused("is another message")
        if len(message) >= 4:
            size = int.from_bytes(message[1:4], "big")
            if size > MAX_HELLO:
                raise _refused(f"is longer than {MAX_HELLO:,} bytes")
            if len(message) >= 4 + size:
                return bytes(message[4 : 4 + size])
    raise _refused(f"is in more than {_MAX_RECORDS} records")


def _server_name(extension: _Reader) -> str:
    """RFC 6066, section 3: a list of one name, of type 0."""
    names = extension.block(2)
    kind = names.number(1)
    name = names.block(2)
    if kind != 0 or names or extension:
        raise _refused("names several hosts, or none as a name")
    text = name.rest()
    if not text.isascii() or not text:
        raise _refused("names a host that isn't ASCII")
    return text.decode("ascii").lower()


def _refused(what: str) -> EgressDenied:
    return EgressDenied(f"what came first in the tunnel {what}", reason="client-hello")
