"""One HTTP/1.1 connection to an address that was checked, every wait and every size bounded.

h11 does the protocol and no input or output, so that each read has what is left of the request's
time. ``http.client`` reads by itself: a server that sends a byte a second, or interim responses for
ever, never ends there.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from llmspell.errors import (
    EgressDenied,
    EgressFailed,
    EgressTimeout,
    HostUnresolved,
)
from llmspell.security.broker.deadline import Deadline
from llmspell.security.broker.http11 import h11
from llmspell.security.broker.limits import BrokerLimits
from llmspell.security.broker.messages import Reply
from llmspell.security.urls.validator import CheckedUrl, open_checked

__all__ = ["READ_SIZE", "Connection", "named_errors", "reach", "send_all"]

READ_SIZE = 65536
MAX_INTERIM = 8  # responses of 1xx before the one that counts

#: Told of bytes sent and received, and of parts received, as they go; raises EgressDenied where
#: they are too many.
Charge = Callable[[int, int, int], None]


def reach(
    checked: CheckedUrl, limits: BrokerLimits, tls: ssl.SSLContext | None, deadline: Deadline
) -> socket.socket:
    """A connected socket; with ``tls`` its certificate is that of the checked URL's host.

    Raises:
        EgressFailed: no address answers, or TLS fails.
        EgressTimeout: not in time.
    """
    try:
        plain = open_checked(checked, timeout=deadline.left(limits.connect_seconds))
    except HostUnresolved as error:
        if isinstance(error.__cause__, TimeoutError) or error.__cause__ is None:
            raise EgressTimeout(f"{checked.url.host} doesn't answer", reason="connect") from error
        raise EgressFailed(f"{checked.url.host} can't be reached", reason="connect") from error
    with ExitStack() as unless_done:
        unless_done.callback(plain.close)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected = plain
            if tls is not None:
                plain.settimeout(deadline.left(limits.tls_seconds))
                connected = tls.wrap_socket(plain, server_hostname=checked.url.host)
        except EgressTimeout:  # which is a TimeoutError too
            raise
        except TimeoutError as error:
            raise EgressTimeout("the TLS handshake took too long", reason="tls") from error
        except OSError as error:
            what = getattr(error, "verify_message", "") or "the handshake failed"
            raise EgressFailed(f"TLS with {checked.url.host}: {what}", reason="tls") from error
        unless_done.pop_all()
    return connected


@contextmanager
def named_errors() -> Iterator[None]:
    """Errors of a socket as those of this package, which pass through."""
    try:
        yield
    except (EgressDenied, EgressFailed):  # which are OSErrors too
        raise
    except TimeoutError as error:
        raise EgressTimeout("it took too long", reason="time") from error
    except OSError as error:
        raise EgressFailed("the connection broke", reason="connection") from error


def send_all(connection: socket.socket, data: bytes, deadline: Deadline, charge: Charge) -> None:
    """Send all of ``data`` by the deadline; ``sendall`` of TLS has its timeout anew for each part.

    Raises:
        EgressDenied: ``charge`` refuses.
        EgressTimeout: not in time.
        OSError: the other end is gone.
    """
    rest = memoryview(data)
    while rest:
        part = rest[:READ_SIZE]
        charge(len(part), 0, 0)
        while part:
            connection.settimeout(deadline.left())
            sent = connection.send(part)
            part, rest = part[sent:], rest[sent:]


class Connection:
    """A connection that one session uses for one request after another; not thread-safe.

    Attributes:
        origin: that it was made for.
        address: of the other end.
        reusable: whether another request may follow.
        heard: whether the host has sent anything in reply to the last.

    Raises:
        EgressFailed: it broke already; it is closed.
    """

    def __init__(self, connected: socket.socket, checked: CheckedUrl, limits: BrokerLimits) -> None:
        self._socket = connected
        self._limits = limits
        self._http = h11.Connection(
            h11.CLIENT, max_incomplete_event_size=limits.response_header_bytes
        )
        self.origin = checked.url.origin
        try:
            self.address: str = connected.getpeername()[0]
        except OSError as error:  # reset since
            connected.close()
            raise EgressFailed("the connection broke", reason="connection") from error
        self.reusable = True
        self.heard = False
        self._read = self._parts = 0  # bytes and parts of the response, framing included

    def exchange(
        self,
        method: str,
        target: str,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        deadline: Deadline,
        charge: Charge,
    ) -> Reply:
        """Send a request and read its response, all of it.

        Raises:
            EgressDenied: a limit on sizes, or ``charge`` refuses.
            EgressFailed: the host doesn't speak HTTP/1.1, or is gone.
            EgressTimeout: not in time.
        """
        self.reusable = self.heard = False
        self._read = self._parts = 0
        try:
            with named_errors():
                request = h11.Request(method=method, target=target, headers=headers)
                sent = self._bytes(request) + (self._bytes(h11.Data(data=body)) if body else b"")
                send_all(self._socket, sent + self._bytes(h11.EndOfMessage()), deadline, charge)
                head = self._head(deadline, charge)
                received = self._body(deadline, charge)
        except h11.RemoteProtocolError as error:
            if error.error_status_hint == 431:
                raise self._too_many_headers() from error
            raise EgressFailed(
                f"the host's response isn't HTTP/1.1: {error}"[:200], reason="protocol"
            ) from error
        except h11.LocalProtocolError as error:
            raise EgressDenied(f"no request of HTTP/1.1: {error}"[:200], reason="header") from error
        done = self._http.our_state is h11.DONE and self._http.their_state is h11.DONE
        if done and self._http.trailing_data == (b"", False):
            self._http.start_next_cycle()
            self.reusable = True
        return Reply(head.status_code, tuple(head.headers), received)

    def is_quiet(self) -> bool:
        """Whether the host has neither closed since, nor sent what nobody asked for."""
        try:
            self._socket.settimeout(0)
            # The bytes below TLS: a peek at those above would wait for a whole record.
            socket.socket.recv(self._socket, 1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def abort(self) -> None:
        """End what another thread is waiting for; it raises EgressFailed."""
        try:
            # Not that of SSLSocket, after which its other thread would send in the clear.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        """Close without a word."""
        self._socket.close()

    def _bytes(self, event: h11.Event) -> bytes:
        return self._http.send(event) or b""

    def _head(self, deadline: Deadline, charge: Charge) -> h11.Response:
        first = Deadline(deadline.left(self._limits.first_byte_seconds))
        for _ in range(MAX_INTERIM + 1):
            event = self._next(deadline, charge, first)
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse):
                break
        raise EgressFailed("the host gives no final response", reason="protocol")

    def _body(self, deadline: Deadline, charge: Charge) -> bytes:
        body = bytearray()
        while True:
            event = self._next(deadline, charge)
            if isinstance(event, h11.EndOfMessage):
                return bytes(body)
            if not isinstance(event, h11.Data):
                raise EgressFailed("the host broke its response off", reason="protocol")
            body += event.data
            if len(body) > self._limits.response_bytes:
                raise self._too_large()

    def _next(self, deadline: Deadline, charge: Charge, first: Deadline | None = None) -> Any:
        """The next event of the protocol; with ``first`` of a head, else of the body.

        ``first`` bounds the wait until anything is heard.
        """
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if first is not None and self._read > self._limits.response_header_bytes:
                raise self._too_many_headers()  # of interim responses and the final one together
            if self._read > self._limits.response_header_bytes + 2 * self._limits.response_bytes:
                raise self._too_large()
            wait = deadline if self.heard or first is None else first
            self._socket.settimeout(wait.left())
            data = self._socket.recv(READ_SIZE)
            self._read += len(data)
            self._count(charge, len(data), 1)
            self.heard = self.heard or bool(data)
            self._http.receive_data(data)
        deadline.left()
        headers = getattr(event, "headers", ())  # trailers too
        self._count(charge, 0, 1 + len(headers))
        size = sum(len(name) + len(value) for name, value in headers)
        if (
            len(headers) > self._limits.response_headers
            or size > self._limits.response_header_bytes
        ):
            raise self._too_many_headers()
        return event

    def _count(self, charge: Charge, received: int, parts: int) -> None:
        charge(0, received, parts)
        self._parts += parts
        if self._parts > self._limits.response_parts:
            raise EgressDenied(
                f"a response in more than {self._limits.response_parts:,} reads, chunks and lines "
                "of headers",
                reason="parts",
            )

    def _too_large(self) -> EgressDenied:
        return EgressDenied(
            f"a response of more than {self._limits.response_bytes:,} bytes", reason="response-size"
        )

    def _too_many_headers(self) -> EgressDenied:
        return EgressDenied(
            f"a response with more than {self._limits.response_headers} headers, or "
            f"{self._limits.response_header_bytes:,} bytes of them",
            reason="response-headers",
        )
