"""What the attempts of one session come to, and a record of each."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from llmspell.errors import EgressDenied, EgressFailed
from llmspell.security.broker.attempt import Attempt, AttemptOutcome
from llmspell.security.broker.deadline import Deadline
from llmspell.security.broker.limits import BrokerLimits
from llmspell.security.urls.url import Url

__all__ = ["Account", "OnAttempt", "Try"]

OnAttempt = Callable[[Attempt], object]

_log = logging.getLogger(__name__)


class Try:
    """An attempt while it is being made; filled in as it goes."""

    def __init__(self, charge: Callable[[int, int], None], hops: int) -> None:
        self._charge = charge
        self.hops = hops
        self.method = self.scheme = self.host = self.address = ""
        self.port = self.status = self.sent = self.received = 0

    def charge(self, sent: int, received: int, parts: int) -> None:
        """Count bytes, and the parts that were received.

        Raises:
            EgressDenied: the session has no more, or is closed.
        """
        self.sent += sent
        self.received += received
        self._charge(sent + received, parts)

    def note(self, url: Url) -> None:
        """Say where it leads."""
        self.scheme, self.host, self.port = url.origin


class Account:
    """Counts requests, bytes, parts and time against a session's limits.

    Safe to share between threads.
    """

    def __init__(
        self, limits: BrokerLimits, tenant: str | None, on_attempt: OnAttempt | None
    ) -> None:
        self._limits = limits
        self._tenant = tenant
        self._on_attempt = on_attempt
        self._end = Deadline(limits.session_seconds)
        self._lock = threading.Lock()
        self._requests = 0
        self._bytes = 0
        self._parts = 0
        self._closed = False

    def close(self) -> None:
        """Refuse everything from now on."""
        with self._lock:
            self._closed = True

    def deadline(self, seconds: float | None = None) -> Deadline:
        """When something must be done that may take so many seconds, or what the session has left.

        Raises:
            EgressTimeout: the session has no time left.
        """
        return Deadline(self._end.left() if seconds is None else self._end.left(seconds))

    @contextmanager
    def attempt(self, hops: int = 0) -> Iterator[Try]:
        """Count a request, and record what becomes of it.

        Raises:
            EgressDenied: the session has no more requests, or is closed; or as the block raises it.
            EgressFailed: the session has no time left, or the attempt can't be recorded; or as the
                block raises it.
        """
        with self._lock:
            self._requests += 1
            number = self._requests
        trying = Try(self.charge, hops)
        start = time.monotonic()
        outcome: AttemptOutcome = "failed"
        reason = "internal"
        try:
            self.charge(0, 0)
            if number > self._limits.requests:
                raise EgressDenied(
                    f"more than {self._limits.requests} requests in one call of the tool",
                    reason="requests",
                )
            self._end.left()
            yield trying
        except EgressDenied as error:
            outcome, reason = "refused", error.reason
            raise
        except EgressFailed as error:
            reason = error.reason
            raise
        else:
            outcome, reason = "answered", ""
        finally:
            # The first beyond the limit is recorded, the rest not: a worker must not fill a log.
            if number <= self._limits.requests + 1:
                self._record(trying, outcome, reason, time.monotonic() - start)

    def charge(self, count: int, parts: int) -> None:
        """Count bytes and parts.

        Raises:
            EgressDenied: the session has no more, or is closed.
        """
        with self._lock:
            if self._closed:
                raise EgressDenied("the call of the tool is over", reason="closed")
            self._bytes += count
            self._parts += parts
            if self._bytes > self._limits.session_bytes:
                raise EgressDenied(
                    f"more than {self._limits.session_bytes:,} bytes in one call of the tool",
                    reason="bytes",
                )
            if self._parts > self._limits.session_parts:
                raise EgressDenied(
                    f"more than {self._limits.session_parts:,} reads, chunks and lines of headers "
                    "in one call of the tool",
                    reason="parts",
                )

    def _record(self, trying: Try, outcome: AttemptOutcome, reason: str, seconds: float) -> None:
        if self._on_attempt is None:
            return
        attempt = Attempt(
            tenant=self._tenant,
            method=trying.method,
            scheme=trying.scheme,
            host=trying.host,
            port=trying.port,
            address=trying.address,
            outcome=outcome,
            reason=reason,
            status=trying.status,
            hops=trying.hops,
            sent_bytes=trying.sent,
            received_bytes=trying.received,
            seconds=seconds,
        )
        try:
            self._on_attempt(attempt)
        except Exception as error:  # of the caller's log: what can't be recorded isn't given
            _log.exception("an attempt to reach %s can't be recorded", trying.host or "a host")
            raise EgressFailed("the attempt can't be recorded", reason="unrecorded") from error
