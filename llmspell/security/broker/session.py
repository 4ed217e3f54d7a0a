"""The requests of one call of a tool: each checked, carried out, answered."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from llmspell.errors import (
    EgressDenied,
    EgressFailed,
    EgressTimeout,
    HostUnresolved,
    InvalidUrl,
    MissingDependency,
    ResolveTimeout,
    UrlDenied,
)
from llmspell.security.broker import messages
from llmspell.security.broker.account import Account, OnAttempt, Try
from llmspell.security.broker.connection import Connection, reach
from llmspell.security.broker.deadline import Deadline
from llmspell.security.broker.limits import BrokerLimits
from llmspell.security.broker.messages import Asked, Reply
from llmspell.security.broker.pool import Pool
from llmspell.security.urls.url import Url, joined, parse_url
from llmspell.security.urls.validator import CheckedUrl, UrlValidator

__all__ = ["Policy", "Session"]

# A request of these may be sent twice (RFC 9110, section 9.2.2).
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Policy:
    """What the sessions of a broker have in common."""

    limits: BrokerLimits
    methods: Collection[str]
    tls: Callable[[], ssl.SSLContext]
    on_attempt: OnAttempt | None


class Session:
    """Answers the requests of one call of a tool; made by :meth:`Broker.session`.

    Its limits count for all threads together, and its connections are its own. Close it when the
    call is over: what is under way ends then. Safe to share between threads.
    """

    def __init__(self, policy: Policy, validator: UrlValidator, tenant: str | None) -> None:
        self._policy = policy
        self._limits = policy.limits
        self._validator = validator
        self._account = Account(policy.limits, tenant, policy.on_attempt)
        self._pool = Pool(policy.limits.connections)

    def answer(self, request: Any, *, timeout: float | None = None) -> dict[str, Any]:
        """What a worker is answered; never raises, whatever it sent.

        Blocks until then: at most ``total_seconds``, and ``resolve_seconds`` more.

        Args:
            request: as it was unpacked; docs/reference/egress.md has its form.
            timeout: seconds that may be left before that; those of the call.

        Returns:
            A map that msgpack can hold: ``status``, ``url``, ``headers`` and ``body``; or
            ``refused`` or ``failed``, a reason, and ``message``.
        """
        try:
            return self._answer(request, timeout)
        except (EgressDenied, EgressFailed) as error:
            return messages.refusal(error)
        except Exception:  # the border to a hostile worker: it must not end what serves it
            _log.exception("the broker failed to answer a request")
            return messages.refusal(EgressFailed("the broker failed", reason="internal"))

    def close(self) -> None:
        """End what is under way, and close all connections; again does nothing.

        A look-up, connecting and a TLS handshake aren't interrupted; what they are for is refused.
        """
        self._account.close()
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def account(self) -> Account:
        """What this session's attempts are counted in."""
        return self._account

    def check(self, url: str, trying: Try) -> CheckedUrl:
        """A URL that may be asked for; the attempt says where it leads.

        Raises:
            EgressDenied: it may not.
            EgressFailed: its host has no address.
        """
        return _judged(trying, self._validator.validate, parse_url, url)

    def _answer(self, request: Any, timeout: float | None) -> dict[str, Any]:
        with self._account.attempt() as trying:
            asked = messages.read_request(request, self._limits, self._policy.methods)
            trying.method = asked.method
            most = self._limits.total_seconds if timeout is None else timeout
            most = min(most, self._limits.total_seconds)
            deadline = self._account.deadline(
                most if asked.timeout is None else min(asked.timeout, most)
            )
            checked = self.check(asked.url, trying)
            reply = self._carry_out(asked, checked, deadline, trying)
        while asked.redirects and (location := reply.location()) is not None:
            with self._account.attempt(checked.hops + 1) as trying:
                before = checked
                trying.method = asked.method
                checked = _judged(trying, self._validator.follow, _target, before, location)
                asked = messages.for_next(asked, reply.status, before.url, checked.url)
                trying.method = asked.method
                reply = self._carry_out(asked, checked, deadline, trying)
        return messages.response(reply, checked.url)

    def _carry_out(
        self, asked: Asked, checked: CheckedUrl, deadline: Deadline, trying: Try
    ) -> Reply:
        headers = messages.headers_for(asked, checked.url)
        kept = self._pool.take(checked)
        if kept is not None:
            try:
                return self._exchange(kept, asked, headers, checked, deadline, trying)
            except EgressFailed as error:
                # Closed by the host just as we sent: that happens, and means nothing was done.
                if error.reason not in {"connection", "protocol"} or kept.heard:
                    raise
                if asked.method not in _IDEMPOTENT:
                    raise
        tls = self._policy.tls() if checked.url.scheme == "https" else None
        connected = reach(checked, self._limits, tls, deadline)
        connection = Connection(connected, checked, self._limits)
        self._pool.add(connection)
        return self._exchange(connection, asked, headers, checked, deadline, trying)

    def _exchange(
        self,
        connection: Connection,
        asked: Asked,
        headers: list[tuple[bytes, bytes]],
        checked: CheckedUrl,
        deadline: Deadline,
        trying: Try,
    ) -> Reply:
        try:
            trying.address = connection.address
            reply = connection.exchange(
                asked.method, checked.url.target, headers, asked.body, deadline, trying.charge
            )
        finally:
            self._pool.give_back(connection, reusable=connection.reusable)
        trying.status = reply.status
        return reply


def _target(before: CheckedUrl, location: str) -> Url:
    return joined(before.url, location)


def _judged(
    trying: Try, judge: Callable[..., CheckedUrl], parse: Callable[..., Url], *where: Any
) -> CheckedUrl:
    """What ``judge`` allows; its refusal as a worker may hear it, without what a name leads to."""
    try:
        checked = judge(*where)
    except InvalidUrl as error:
        raise EgressDenied(str(error), reason=error.reason) from error
    except MissingDependency as error:
        raise EgressDenied("internationalised hosts aren't taken here", reason="host") from error
    except (UrlDenied, HostUnresolved) as error:
        with suppress(InvalidUrl, MissingDependency):  # a Location, beyond the last redirect
            trying.note(parse(*where))
        host = trying.host
        if isinstance(error, HostUnresolved):
            if isinstance(error, ResolveTimeout):
                raise EgressTimeout(f"{host} isn't found in time", reason="resolve") from error
            raise EgressFailed(f"{host} has no address", reason="resolve") from error
        what = str(error)
        if error.reason == "address":
            what = f"{host} is at an address that isn't public; list the address to allow it"
        raise EgressDenied(what, reason=error.reason) from error
    trying.note(checked.url)
    return checked
