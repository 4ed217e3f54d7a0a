from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import pytest
import trustme

from llmspell.security import Attempt, Broker, BrokerLimits, Session
from tests.security.broker.servers import LOOPBACK
from tests.security.urls.zone import Zone

#: Makes a session whose names are all at loopback: ``make(limits={...}, **options of a Broker)``.
MakeSession = Callable[..., Session]


@pytest.fixture
def attempts() -> list[Attempt]:
    return []


@pytest.fixture
def make(attempts: list[Attempt], request: pytest.FixtureRequest) -> MakeSession:
    def made(
        domains: tuple[str, ...] = ("a.test", "b.test", LOOPBACK),
        limits: dict[str, Any] | None = None,
        **options: Any,
    ) -> Session:
        options.setdefault("resolver", Zone({}, default=[LOOPBACK]))
        options.setdefault("on_attempt", attempts.append)
        session = Broker(domains, limits=BrokerLimits(**(limits or {})), **options).session(
            tenant="acme"
        )
        request.addfinalizer(session.close)
        return session

    return made


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """A client's context that trusts the tests' authority alone."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def certified(authority: trustme.CA) -> Callable[..., ssl.SSLContext]:
    """Makes a server's context with a certificate for names."""

    def made(*names: str, **options: Any) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*names, **options).configure_cert(context)
        return context

    return made
