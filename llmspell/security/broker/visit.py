"""One connection of a program to the proxy: a request that is answered, or a tunnel."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from llmspell.errors import EgressDenied, EgressFailed, EgressTimeout
from llmspell.security.broker.client_hello import read_client_hello
from llmspell.security.broker.connection import READ_SIZE, named_errors, reach, send_all
from llmspell.security.broker.deadline import Deadline
from llmspell.security.broker.http11 import h11
from llmspell.security.broker.limits import BrokerLimits
from llmspell.security.broker.relay import relay
from llmspell.security.broker.session import Session
from llmspell.security.urls.url import Url

__all__ = ["Visit", "shut"]

_AUTHORITY = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):[0-9]{1,5}")
_WITHOUT_BODY = frozenset({204, 304})

#: Closes a socket in the end, and at once where the proxy is closed.
Watch = Callable[[socket.socket], AbstractContextManager[socket.socket]]


class Visit:
    """One program's connection, from its request to its end; of one thread.

    Args:
        client: the program's socket; it stays open.
        session: which the request is one of.
        limits: the session's.
        watched: for the sockets of tunnels.
    """

    def __init__(
        self, client: socket.socket, session: Session, limits: BrokerLimits, watched: Watch
    ) -> None:
        self._client = client
        self._session = session
        self._account = session.account
        self._limits = limits
        self._watched = watched
        self._http = h11.Connection(
            h11.SERVER, max_incomplete_event_size=limits.request_header_bytes
        )

    def answer(self) -> None:
        """Read its request, and do it; refusals are told and recorded.

        Raises:
            OSError: the program is gone, or too slow.
        """
        deadline = self._account.deadline(self._limits.total_seconds)
        try:
            request, body = self._read(deadline)
            target = request.target.decode("ascii")
        except (h11.RemoteProtocolError, EgressDenied) as error:
            denied = EgressDenied(f"no request for a proxy: {error}"[:200], reason="protocol")
            with contextlib.suppress(EgressDenied), self._account.attempt():
                raise denied from error
            self._refuse(denied, deadline)
            return
        if request.method == b"CONNECT":
            self._tunnel(target, deadline)
            return
        asked = {
            "method": request.method.decode("ascii"),
            "url": target,
            "headers": [(n.decode("latin-1"), v.decode("latin-1")) for n, v in request.headers],
            "body": body,
            "redirects": False,
        }
        answer = self._session.answer(asked)
        if "status" in answer:
            self._respond(answer, deadline, bare=request.method == b"HEAD")
        else:
            kind, reason = (
                (EgressDenied, "refused")
                if "refused" in answer
                else (EgressTimeout if answer["timeout"] else EgressFailed, "failed")
            )
            self._refuse(kind(answer["message"], reason=answer[reason]), deadline)

    def _read(self, deadline: Deadline) -> tuple[h11.Request, bytes]:
        client, http = self._client, self._http
        request: h11.Request | None = None
        body = bytearray()
        read = 0
        while True:
            event = http.next_event()
            # As for a host's response: what is read has a bound, and so has the work on it.
            self._account.charge(0, 1 + len(getattr(event, "headers", ())))
            if event is h11.NEED_DATA:
                if http.they_are_waiting_for_100_continue:
                    interim = h11.InformationalResponse(status_code=100, headers=[])
                    send_all(client, http.send(interim) or b"", deadline, _free_of_charge)
                client.settimeout(deadline.left())
                data = client.recv(READ_SIZE)
                read += len(data)
                if read > self._limits.request_header_bytes + 2 * self._limits.request_bytes:
                    raise self._too_large()
                http.receive_data(data)
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > self._limits.request_bytes:
                    raise self._too_large()
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                return request, bytes(body)
            else:
                raise EgressDenied("the connection ended", reason="protocol")

    def _too_large(self) -> EgressDenied:
        return EgressDenied(
            f"a body of more than {self._limits.request_bytes:,} bytes", reason="body"
        )

    def _tunnel(self, target: str, deadline: Deadline) -> None:
        client, http = self._client, self._http
        try:
            with self._account.attempt() as trying, named_errors():
                trying.method = "CONNECT"
                if not _AUTHORITY.fullmatch(target):
                    raise EgressDenied("CONNECT takes HOST:PORT", reason="connect-target")
                checked = self._session.check(f"https://{target}/", trying)
                with self._watched(reach(checked, self._limits, None, deadline)) as outer:
                    trying.address = outer.getpeername()[0]
                    trying.status = 200
                    established = http.send(h11.Response(status_code=200, headers=[])) or b""
                    send_all(client, established, deadline, _free_of_charge)
                    said = self._greeting(http.trailing_data[0], checked.url, deadline)
                    send_all(outer, said, deadline, trying.charge)
                    relay(
                        client,
                        outer,
                        silence=self._limits.first_byte_seconds,
                        deadline=self._account.deadline(),
                        charge=trying.charge,
                    )
        except (EgressDenied, EgressFailed) as error:
            # It is recorded. In a tunnel that is open nothing more can be said.
            self._refuse(error, deadline)

    def _greeting(self, said: bytes, url: Url, deadline: Deadline) -> bytes:
        """What the program says first, once it is TLS with the host of ``url``."""
        wait = Deadline(deadline.left(self._limits.tls_seconds))
        while (hello := read_client_hello(said)) is None:
            self._client.settimeout(wait.left())
            more = self._client.recv(READ_SIZE)
            self._account.charge(0, 1)
            if not more:
                raise EgressDenied("the tunnel ended before its TLS", reason="client-hello")
            said += more
        if hello.encrypted:
            raise EgressDenied("an encrypted ClientHello may name any host", reason="client-hello")
        # An address stands in no ClientHello (RFC 6066, section 3).
        if hello.server_name != (url.host if url.address is None else None):
            raise EgressDenied(f"TLS in the tunnel isn't with {url.host}", reason="client-hello")
        return said

    def _refuse(self, error: EgressDenied | EgressFailed, deadline: Deadline) -> None:
        status = 403
        if error.reason == "protocol" and isinstance(error, EgressDenied):
            status = 400
        elif isinstance(error, EgressFailed):
            status = 504 if isinstance(error, EgressTimeout) else 502
        answer = {
            "status": status,
            "headers": [("content-type", "text/plain; charset=utf-8")],
            "body": f"{error.reason}: {error}\n".encode(),
        }
        self._respond(answer, deadline, bare=False)

    def _respond(self, answer: dict[str, Any], deadline: Deadline, *, bare: bool) -> None:
        http = self._http
        if http.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return  # nothing can be said any more
        body: bytes = b"" if bare else answer["body"]
        headers = [
            (name, value) for name, value in answer["headers"] if bare or name != "content-length"
        ]
        if not bare and answer["status"] not in _WITHOUT_BODY:
            headers.append(("content-length", str(len(body))))
        head = h11.Response(
            status_code=answer["status"],
            headers=[(n.encode("latin-1"), v.encode("latin-1")) for n, v in headers]
            + [(b"connection", b"close")],
        )
        data = http.send(head) or b""
        if body:
            data += http.send(h11.Data(data=body)) or b""
        data += http.send(h11.EndOfMessage()) or b""
        send_all(self._client, data, deadline, _free_of_charge)
        shut(self._client, socket.SHUT_WR)


def _free_of_charge(sent: int, received: int, parts: int) -> None:
    """What passes between the proxy and the program leaves nothing."""


def shut(side: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    """Shut a socket down that may be gone."""
    with contextlib.suppress(OSError):
        side.shutdown(how)
