"""The connections of one session: those in use, and those kept for its next request."""

from __future__ import annotations

import threading

from llmspell.errors import EgressDenied
from llmspell.security.broker.connection import Connection
from llmspell.security.urls.validator import CheckedUrl

__all__ = ["Pool"]


class Pool:
    """Keeps at most so many idle connections. Safe to share between threads; never shared further.

    A connection is handed out only for the origin that it was made for, while its address is among
    those that the URL's check allows.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._closed = False

    def take(self, checked: CheckedUrl) -> Connection | None:
        """A quiet connection for a checked URL, the one used last; None where there is none."""
        allowed = {str(address) for address in checked.addresses}
        while True:
            with self._lock:
                for at in reversed(range(len(self._idle))):
                    kept = self._idle[at]
                    if kept.origin == checked.url.origin and kept.address in allowed:
                        break
                else:
                    return None
                del self._idle[at]
                self._busy.add(kept)
            quiet = False
            try:
                quiet = kept.is_quiet()
            finally:  # also where an interrupt comes
                if not quiet:
                    self.give_back(kept, reusable=False)
            if quiet:
                return kept

    def add(self, connection: Connection) -> None:
        """Look after a new connection, which is in use.

        Raises:
            EgressDenied: the session is closed, and now the connection too.
        """
        with self._lock:
            if not self._closed:
                self._busy.add(connection)
                return
        connection.close()
        raise EgressDenied("the call of the tool is over", reason="closed")

    def give_back(self, connection: Connection, *, reusable: bool) -> None:
        """Keep a connection for the next request, or close it."""
        with self._lock:
            self._busy.discard(connection)
            over: Connection | None = connection
            if reusable and not self._closed:
                self._idle.append(connection)
                over = self._idle.pop(0) if len(self._idle) > self._most else None
        if over is not None:
            over.close()

    def close(self) -> None:
        """Close what is idle, and end what is in use; whoever uses it closes it."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            for connection in self._busy:
                connection.abort()
        for connection in idle:
            connection.close()
