"""An HTTP proxy for foreign programs, which know nothing of the broker's messages.

It listens where the program's otherwise empty network namespace ends, and is as strict as the
broker: CONNECT leads to TLS with the host that was asked for, and to nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from llmspell.errors import ConfigError
from llmspell.security.broker.broker import Broker
from llmspell.security.broker.visit import Visit, shut

__all__ = ["EgressProxy"]

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
        tenant: id of the tenant, for the records of attempts; None for the operator.

    Raises:
        ConfigError: ``listener`` doesn't listen, or no id of a tenant.
    """

    def __init__(
        self, listener: socket.socket, broker: Broker, *, tenant: str | None = None
    ) -> None:
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
        self._free = threading.BoundedSemaphore(self._limits.connections)
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._closed = threading.Event()
        self._wake, self._woken = socket.socketpair()
        self._acceptor = threading.Thread(target=self._accept, name="egress-proxy", daemon=True)
        try:
            self._acceptor.start()
        except BaseException:  # no more threads, or an interrupt; the listener is the caller's yet
            self._closed.set()
            for side in (self._wake, self._woken):
                side.close()
            self._session.close()
            raise

    def close(self) -> None:
        """Stop listening, end all that is under way, and wait for it; again does nothing.

        A look-up and connecting aren't interrupted, so it may take as long as they.
        """
        self._closed.set()
        shut(self._wake)
        self._session.close()
        with self._lock:
            for side in self._sockets:
                shut(side)
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
                Visit(client, self._session, self._limits, self._watched).answer()
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
                    shut(side)
            try:
                yield side
            finally:
                with self._lock:
                    self._sockets.discard(side)
