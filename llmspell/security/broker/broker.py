"""The one way out for a sandboxed worker, held by its parent."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Collection, Iterable
from functools import partial

from llmspell.errors import ConfigError
from llmspell.security.broker.account import OnAttempt
from llmspell.security.broker.limits import BrokerLimits
from llmspell.security.broker.session import Policy, Session
from llmspell.security.secrets.ref import check_tenant
from llmspell.security.urls.domain_rules import DomainRules
from llmspell.security.urls.lookups import BoundedResolver, Remembered, Resolver, resolve
from llmspell.security.urls.validator import UrlValidator

__all__ = ["METHODS", "Broker"]

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Broker:
    """Makes HTTP requests for sandboxed tools, to allowed hosts, at addresses that it checked.

    TLS ends here, with the certificate verified for the host of the URL. Frozen, and safe to share
    between threads and tenants: what belongs to one call is in its :meth:`session`.

    Args:
        domains: which hosts may be reached, as for :class:`DomainRules`.
        limits: of each session.
        methods: that are allowed, of GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS.
        resolver: for names; the system's by default. It is called in a thread of its own, which is
            left behind where it takes longer than ``limits.resolve_seconds``.
        ports: that may be asked for; None is any.
        denied: addresses and networks that are refused though they are public or listed.
        nat64_prefixes: by which this network reaches IPv4.
        allow_downgrade: whether a redirect may lead from https to http.
        tls: a context in place of the system's certificates; it must verify certificates and hosts.
        on_attempt: called with the :class:`Attempt` for each try, in the thread that made it. If it
            raises, the worker gets no response. :func:`record_attempts` makes one for an audit log.

    Raises:
        ConfigError: a value out of range.
        MissingDependency: without the extra ``security``.
    """

    def __init__(
        self,
        domains: Iterable[str] | DomainRules,
        *,
        limits: BrokerLimits | None = None,
        methods: Collection[str] = METHODS,
        resolver: Resolver | None = None,
        ports: Collection[int] | None = None,
        denied: Collection[str] = (),
        nat64_prefixes: Collection[str] = (),
        allow_downgrade: bool = False,
        tls: ssl.SSLContext | None = None,
        on_attempt: OnAttempt | None = None,
    ) -> None:
        if not METHODS.issuperset(methods) or isinstance(methods, str):
            raise ConfigError(f"methods must be of {sorted(METHODS)}, got {methods!r}")
        if tls is not None and not (tls.check_hostname and tls.verify_mode is ssl.CERT_REQUIRED):
            raise ConfigError("tls must verify certificates and check host names")
        self._limits = BrokerLimits() if limits is None else limits
        self._rules = domains if isinstance(domains, DomainRules) else DomainRules(domains)
        self._resolver = BoundedResolver(
            resolve if resolver is None else resolver, self._limits.resolve_seconds
        )
        self._ports = None if ports is None else frozenset(ports)
        self._denied = tuple(denied)
        self._nat64_prefixes = tuple(nat64_prefixes)
        self._allow_downgrade = allow_downgrade
        self._policy = Policy(
            self._limits, frozenset(methods), (lambda: tls) if tls else _system_tls, on_attempt
        )
        self._validator(None)  # so that what is out of range is refused now

    @property
    def limits(self) -> BrokerLimits:
        """Of each session."""
        return self._limits

    def session(self, *, tenant: str | None = None) -> Session:
        """For one call of a tool; close it when the call is over.

        Args:
            tenant: id of the tenant whose call it is, for the records of attempts; None for the
                operator's.

        Raises:
            ConfigError: no id of a tenant.
        """
        if tenant is not None:
            check_tenant(tenant)
        return Session(self._policy, self._validator(tenant), tenant)

    def _validator(self, tenant: str | None) -> UrlValidator:
        return UrlValidator(
            self._rules,
            resolver=Remembered(partial(self._resolver, tenant=tenant)),
            resolve_seconds=None,
            ports=self._ports,
            max_redirects=self._limits.redirects,
            allow_downgrade=self._allow_downgrade,
            nat64_prefixes=self._nat64_prefixes,
            denied=self._denied,
        )


_tls: ssl.SSLContext | None = None
_tls_lock = threading.Lock()


def _system_tls() -> ssl.SSLContext:
    """One for the process, for reading all certificates is slow."""
    global _tls
    with _tls_lock:
        if _tls is None:
            _tls = ssl.create_default_context()
        return _tls
