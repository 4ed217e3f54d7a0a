"""An HTTP proxy for foreign programs, which know nothing of the broker's messages.

It listens where the program's otherwise empty network namespace ends, and is as strict as the
broker: CONNECT leads to TLS with the host that was asked for, and to nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import re
import selectors
import socket
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from llmspell.errors import ConfigError, EgressDenied, EgressFailed, EgressTimeout
from llmspell.security.broker.broker import Broker
from llmspell.security.broker.client_hello import read_client_hello
from llmspell.security.broker.connection import READ_SIZE, named_errors, reach, send_all
from llmspell.security.broker.deadline import Deadline
from llmspell.security.broker.http11 import h11
from llmspell.security.broker.relay import relay
from llmspell.security.urls.url import Url

__all__ = ["EgressProxy"]

_AUTHORITY = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):[0-9]{1,5}")
_WITHOUT_BODY = frozenset({204, 304})

_log = logging.getLogger(__name__)


class EgressProxy:
    """Serves CONNECT and absolute-form requests at a listening socket, until it is closed.

    A tunnel's TLS ClientHello must name the host that CONNECT asked for, without an encrypted
    second one. What is said within TLS after that is between the program and that host. A request
    in absolute form is answered as :meth:`Session.answer` does, and redirects are the program's to
    follow. One request or tunnel a connection; ``limits.connections`` of them at one time, and
    others wait.

    Args:
        listener: listening, and closed with the proxy. It may belong to another network namespace.
        broker: whose rules and limits hold; the proxy is one session of it.
        tenant: for the records of attempts.

    Raises:
        ConfigError: ``listener`` doesn't listen.
    """

    def __init__(self, listener: socket.socket, broker: Broker, *, tenant: str = "") -> None:
        try:
            listening = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError:
            listening = 0
        if not listening:
            raise ConfigError("listener must be a listening socket")
        listener.setblocking(False)
        self._listener = listener
        self._limits = broker.limits
        self._session = broker.session(tenant=tenant)
        self._account = self._session.account
        self._free = threading.BoundedSemaphore(self._limits.connections)
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._closed = threading.Event()
        self._wake, self._woken = socket.socketpair()
        self._acceptor = threading.Thread(target=self._accept, name="egress-proxy", daemon=True)
        self._acceptor.start()

    def close(self) -> None:
        """Stop listening, end all that is under way, and wait for it; again does nothing.

        A look-up and connecting aren't interrupted, so it may take as long as they.
        """
        self._closed.set()
        _shut(self._wake)
        self._session.close()
        with self._lock:
            for side in self._sockets:
                _shut(side)
        self._acceptor.join()
        with self._lock:
            threads = tuple(self._threads)
        for thread in threads:
            thread.join()
        for side in (self._listener, self._wake, self._woken):
            side.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not self._closed.is_set():
                self._free.acquire()
                selector.select()
                self._start()

    def _start(self) -> None:
        """Serve the next connection, if there is one."""
        try:
            client, _ = self._listener.accept()
        except OSError:
            self._free.release()
            self._closed.wait(0.05)  # rather than spin while descriptors are short
            return
        client.setblocking(True)
        thread = threading.Thread(
            target=self._serve, args=(client,), name="egress-proxy", daemon=True
        )
        with self._lock:
            self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:  # no more threads
            client.close()
            self._forget(thread)

    def _forget(self, thread: threading.Thread) -> None:
        with self._lock:
            self._threads.discard(thread)
        self._free.release()

    def _serve(self, client: socket.socket) -> None:
        try:
            with self._watched(client):
                self._answer(client)
        except OSError:
            return  # it was told and recorded, or the program is gone
        except Exception:  # the border to a hostile program
            _log.exception("the proxy failed to answer a request")
        finally:
            self._forget(threading.current_thread())

    @contextlib.contextmanager
    def _watched(self, side: socket.socket) -> Iterator[socket.socket]:
        """Close a socket in the end; ``close`` ends what waits for it."""
        with side:
            with self._lock:
                self._sockets.add(side)
                if self._closed.is_set():
                    _shut(side)
            try:
                yield side
            finally:
                with self._lock:
                    self._sockets.discard(side)

    def _answer(self, client: socket.socket) -> None:
        deadline = self._account.deadline(self._limits.total_seconds)
        http = h11.Connection(
            h11.SERVER, max_incomplete_event_size=self._limits.request_header_bytes
        )
        try:
            request, body = self._read(client, http, deadline)
            target = request.target.decode("ascii")
        except (h11.RemoteProtocolError, EgressDenied) as error:
            denied = EgressDenied(f"no request for a proxy: {error}"[:200], reason="protocol")
            with contextlib.suppress(EgressDenied), self._account.attempt():
                raise denied from error
            self._refuse(client, http, denied, deadline)
            return
        if request.method == b"CONNECT":
            self._tunnel(client, http, target, deadline)
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
            self._respond(client, http, answer, deadline, bare=request.method == b"HEAD")
        else:
            kind, reason = (
                (EgressDenied, "refused")
                if "refused" in answer
                else (EgressTimeout if answer["timeout"] else EgressFailed, "failed")
            )
            self._refuse(client, http, kind(answer["message"], reason=answer[reason]), deadline)

    def _read(
        self, client: socket.socket, http: h11.Connection, deadline: Deadline
    ) -> tuple[h11.Request, bytes]:
        request: h11.Request | None = None
        body = bytearray()
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                if http.they_are_waiting_for_100_continue:
                    interim = h11.InformationalResponse(status_code=100, headers=[])
                    send_all(client, http.send(interim) or b"", deadline, _free_of_charge)
                client.settimeout(deadline.left())
                http.receive_data(client.recv(READ_SIZE))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > self._limits.request_bytes:
                    raise EgressDenied(
                        f"a body of more than {self._limits.request_bytes:,} bytes", reason="body"
                    )
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                return request, bytes(body)
            else:
                raise EgressDenied("the connection ended", reason="protocol")

    def _tunnel(
        self, client: socket.socket, http: h11.Connection, target: str, deadline: Deadline
    ) -> None:
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
                    said = self._greeting(client, http.trailing_data[0], checked.url, deadline)
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
            self._refuse(client, http, error, deadline)

    def _greeting(self, client: socket.socket, said: bytes, url: Url, deadline: Deadline) -> bytes:
        """What the program says first, once it is TLS with the host of ``url``."""
        wait = Deadline(deadline.left(self._limits.tls_seconds))
        while (hello := read_client_hello(said)) is None:
            client.settimeout(wait.left())
            more = client.recv(READ_SIZE)
            if not more:
                raise EgressDenied("the tunnel ended before its TLS", reason="client-hello")
            said += more
        if hello.encrypted:
            raise EgressDenied("an encrypted ClientHello may name any host", reason="client-hello")
        # An address stands in no ClientHello (RFC 6066, section 3).
        if hello.server_name != (url.host if url.address is None else None):
            raise EgressDenied(f"TLS in the tunnel isn't with {url.host}", reason="client-hello")
        return said

    def _refuse(
        self,
        client: socket.socket,
        http: h11.Connection,
        error: EgressDenied | EgressFailed,
        deadline: Deadline,
    ) -> None:
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
        self._respond(client, http, answer, deadline, bare=False)

    def _respond(
        self,
        client: socket.socket,
        http: h11.Connection,
        answer: dict[str, Any],
        deadline: Deadline,
        *,
        bare: bool,
    ) -> None:
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
        send_all(client, data, deadline, _free_of_charge)
        _shut(client, socket.SHUT_WR)


def _free_of_charge(sent: int, received: int) -> None:
    """What passes between the proxy and the program leaves nothing."""


def _shut(side: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    with contextlib.suppress(OSError):
        side.shutdown(how)
