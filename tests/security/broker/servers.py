"""Servers of the tests, on real sockets: what they say is written out, byte by byte."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

LOOPBACK = "127.0.0.1"
#: Given a request, what is sent: in one piece, or in several; None closes without a word.
Respond = Callable[[bytes], bytes | Iterable[bytes] | None]


def ok(body: bytes = b"fine", *headers: str, status: str = "200 OK") -> bytes:
    """A whole response with its length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def redirect(location: str, status: int = 302) -> bytes:
    return ok(b"", f"Location: {location}", status=f"{status} Found")


class Server:
    """Answers each request by ``respond``, and counts connections and requests.

    The connection is kept unless a response says ``Connection: close`` or isn't bytes.
    """

    def __init__(
        self,
        respond: Respond | bytes,
        *,
        address: str = LOOPBACK,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._respond: Respond = (lambda _: respond) if isinstance(respond, bytes) else respond
        self._tls = tls
        self._closing = False
        self.accepted = 0
        self.requests: list[bytes] = []
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.socket(family)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((address, port))
        self._listener.listen(128)
        self.port = int(self._listener.getsockname()[1])
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    def url(self, path: str = "/", host: str = "a.test") -> str:
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{host}:{self.port}{path}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing = True
        socket.create_connection(self._listener.getsockname()[:2]).close()
        self._acceptor.join()
        self._listener.close()
        self.drop()
        for thread in self._threads:
            thread.join()

    def drop(self) -> None:
        """End all connections."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._closing:
                connection.close()
                return
            self.accepted += 1
            with self._lock:
                self._open.add(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads = [thread, *(t for t in self._threads if t.is_alive())]
            thread.start()

    def _serve(self, plain: socket.socket) -> None:
        connection = plain
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                connection = self._tls.wrap_socket(plain, server_side=True)
                with self._lock:
                    self._open.discard(plain)
                    self._open.add(connection)
            while (request := _read(connection)) and self._answer(connection, request):
                pass
        except OSError:
            pass  # the broker has gone, as it may
        finally:
            with self._lock:
                self._open.discard(connection)
                self._open.discard(plain)
            connection.close()

    def _answer(self, connection: socket.socket, request: bytes) -> bool:
        self.requests.append(request)
        said = self._respond(request)
        if isinstance(said, bytes):
            connection.sendall(said)
            return b"\r\nConnection: close\r\n" not in said
        for part in said or ():
            connection.sendall(part)
        return False


def _read(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?im)^content-length: *(\d+)", head)
    while length and len(body) < int(length[1]):
        more = connection.recv(65536)
        if not more:
            return b""
        body += more
    return head + b"\r\n\r\n" + body
