"""From a URL to the addresses that may be connected to, with nothing looked up twice.

A name is resolved once, here; every answer is judged; and the caller connects to an address that
was judged, by :func:`open_checked`. A name whose answer changes between check and connection (DNS
rebinding) changes nothing.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from llmspell.errors import ConfigError, HostUnresolved, InputError, ResolveTimeout, UrlDenied
from llmspell.security.denials import Denials
from llmspell.security.urls.addresses import (
    Address,
    carried_ipv4,
    nat64_prefix,
    to_address,
    to_network,
    why_not_public,
)
from llmspell.security.urls.domain_rules import DomainRules
from llmspell.security.urls.lookups import BoundedResolver, Resolver, resolve
from llmspell.security.urls.url import Url, endpoint, joined, parse_url

if TYPE_CHECKING:
    from llmspell.security.audit import AuditSink

__all__ = ["CheckedUrl", "UrlValidator", "open_checked"]

MAX_RESOLVE_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class CheckedUrl:
    """A URL that may be asked for, and the addresses at which.

    Attributes:
        url: its canonical parts; send ``url.authority`` as Host, and ``url.host`` in TLS.
        addresses: all that its host resolved to, in the resolver's order, each allowed.
        hops: how many redirects led here.
    """

    url: Url
    addresses: tuple[Address, ...]
    hops: int = 0


class UrlValidator:
    """Checks that URLs lead only to hosts of ``rules``, and to addresses that are public or listed.

    Args:
        rules: which hosts may be asked for, and which addresses though they aren't public.
        resolver: called with a host and a port for all of the host's addresses, once a check; the
            system's by default. It is called only for names that the rules allow, in a thread of
            its own, which is left behind where it takes longer than ``resolve_seconds``. Whatever
            it raises there is HostUnresolved here.
        resolve_seconds: for the look-up of a name, at most a day; None calls ``resolver`` in the
            caller's thread, for one that ends by itself.
        ports: the ports that may be asked for; None is any.
        max_redirects: how many redirects may be followed from a URL.
        allow_downgrade: whether a redirect may lead from https to http.
        nat64_prefixes: prefixes by which this network reaches IPv4, beside ``64:ff9b::/96``; their
            addresses are judged by the IPv4 address in them.
        denied: addresses and networks that are refused though they are public, and though a rule
            lists them, such as one's own; also where NAT64 or ISATAP leads to them.
        audit: is told of each denial, as ``network.access``, before it is raised.
        tenant: id of the tenant on whose behalf URLs are asked for, for these records.

    Holds no state but its look-ups, 32 at one time and 8 for a tenant, with those left behind; as
    thread-safe as its resolver and the sink.

    Raises:
        ConfigError: a port, a number of redirects or of seconds out of range, no prefix of NAT64,
            no network, no sink, no id of a tenant.
    """

    def __init__(
        self,
        rules: DomainRules,
        *,
        resolver: Resolver | None = None,
        resolve_seconds: float | None = 5.0,
        ports: Collection[int] | None = None,
        max_redirects: int = 5,
        allow_downgrade: bool = False,
        nat64_prefixes: Collection[str] = (),
        denied: Collection[str] = (),
        audit: AuditSink | None = None,
        tenant: str | None = None,
    ) -> None:
        if not isinstance(rules, DomainRules):
            raise ConfigError(f"rules must be DomainRules, got {rules!r}")
        for name, given in (("denied", denied), ("nat64_prefixes", nat64_prefixes)):
            if isinstance(given, str) or not isinstance(given, Collection):
                raise ConfigError(f"{name} must be a list of str, got {given!r}")
        if ports is not None and not (
            isinstance(ports, Collection) and all(_is_int(port, 1, 65535) for port in ports)
        ):
            raise ConfigError(f"ports must be a list of 1 to 65535 each, got {ports!r}")
        if not _is_int(max_redirects, 0, None):
            raise ConfigError(f"max_redirects must be 0 or more, got {max_redirects!r}")
        self._rules = rules
        self._resolver = resolve if resolver is None else resolver
        if resolve_seconds is not None:
            bounded = BoundedResolver(self._resolver, _seconds(resolve_seconds))
            self._resolver = partial(bounded, tenant=tenant)
        self._ports = None if ports is None else frozenset(ports)
        self._max_redirects = max_redirects
        self._allow_downgrade = allow_downgrade
        self._denied = tuple(to_network(network) for network in denied)
        self._nat64 = tuple(nat64_prefix(prefix) for prefix in nat64_prefixes)
        self._denials = Denials(audit, "network.access", tenant)

    def validate(self, url: str) -> CheckedUrl:
        """Parse, match and resolve a URL; one answer that isn't allowed refuses all.

        Raises:
            InvalidUrl: its form is refused.
            UrlDenied: its host, port or an address of it isn't allowed.
            HostUnresolved: its host has no address.
            ResolveTimeout: none was found in time.
            MissingDependency: an internationalised host without the extra ``security``.
        """
        return self._check(parse_url(url), 0)

    def follow(self, checked: CheckedUrl, location: str) -> CheckedUrl:
        """Check where a redirect leads, as if it had been asked for, and that it may be followed.

        Drop what is meant for one origin, such as an Authorization header, where ``url.origin``
        changes.

        Args:
            checked: what was answered with the redirect.
            location: its Location header, absolute or relative.

        Raises:
            UrlDenied: beyond ``max_redirects``, from https to http, or as for :meth:`validate`.
            InvalidUrl, HostUnresolved, ResolveTimeout, MissingDependency: as for :meth:`validate`.
        """
        hops = checked.hops + 1
        if hops > self._max_redirects:
            raise self._denial(
                checked.url,
                f"redirect {hops}, max_redirects is {self._max_redirects}",
                "redirects",
            )
        url = joined(checked.url, location)
        if checked.url.scheme == "https" and url.scheme == "http" and not self._allow_downgrade:
            raise self._denial(
                url,
                f"a redirect from https to http at {url.host}; allow_downgrade=True lets it",
                "downgrade",
            )
        return self._check(url, hops)

    def _check(self, url: Url, hops: int) -> CheckedUrl:
        if not self._rules.allows_host(url.host):
            raise self._denial(url, f"{url.host} isn't allowed; list it in the rules", "host")
        if self._ports is not None and url.port not in self._ports:
            raise self._denial(
                url,
                f"port {url.port} of {url.host} isn't allowed, ports are {sorted(self._ports)}",
                "port",
            )
        addresses = (url.address,) if url.address is not None else self._resolved(url)
        for address in addresses:
            self._must_be_reachable(url, address)
        return CheckedUrl(url, addresses, hops)

    def _must_be_reachable(self, url: Url, address: Address) -> None:
        carried = carried_ipv4(address, self._nat64)
        ends = (address,) if carried is None else (address, carried[1])
        if any(end in network for end in ends for network in self._denied):
            which = "is" if url.address is not None else f"leads to {address}, which is"
            raise self._denial(url, f"{url.host} {which} denied", "address")
        if self._rules.lists(address):
            return
        purpose = why_not_public(address, nat64_prefixes=self._nat64)
        if purpose is not None:
            which = "is" if url.address is not None else f"leads to {address},"
            raise self._denial(
                url,
                f"{url.host} {which} {purpose}; list the address in the rules to allow it",
                "address",
            )

    def _denial(self, url: Url, message: str, reason: str) -> UrlDenied:
        """The error, on record with the origin alone: path and query may hold secrets."""
        denial = UrlDenied(message, reason=reason)
        asked = endpoint(url.host, url.port)
        return self._denials.noted(denial, asked, scheme=url.scheme, reason=reason)

    def _resolved(self, url: Url) -> tuple[Address, ...]:
        try:
            answers = tuple(self._resolver(url.host, url.port))
        except TimeoutError as error:
            raise ResolveTimeout(
                f"{url.host} isn't resolved in time: {error}; ask again later, or see whether its "
                "name servers answer"
            ) from error
        except (OSError, UnicodeError) as error:  # the latter by codecs of names
            raise HostUnresolved(f"{url.host} can't be resolved: {error}") from error
        if not answers:
            raise HostUnresolved(f"{url.host} has no address")
        try:
            addresses = [to_address(answer) for answer in answers]
        except InputError as error:
            raise HostUnresolved(f"{url.host} was resolved to no address: {error}") from error
        return tuple(dict.fromkeys(addresses))


def _seconds(given: object) -> float:
    number = isinstance(given, int | float) and not isinstance(given, bool)
    # A comparison with NaN is false.
    if not number or not 0 < given <= MAX_RESOLVE_SECONDS:  # type: ignore[operator]
        raise ConfigError(
            f"resolve_seconds must be a number above 0, at most {MAX_RESOLVE_SECONDS:,.0f}, or "
            f"None, got {given!r}"
        )
    return float(given)  # type: ignore[arg-type]


def _is_int(value: object, low: int, high: int | None) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and value >= low and (high is None or value <= high)  # type: ignore[operator]


def open_checked(checked: CheckedUrl, *, timeout: float = 10.0) -> socket.socket:
    """Connect to the first of the checked addresses that answers; nothing is resolved.

    For https wrap the socket with ``server_hostname=checked.url.host``.

    Args:
        checked: from a validator's ``validate`` or ``follow``.
        timeout: seconds for all addresses together; the socket keeps it as its timeout.

    Raises:
        HostUnresolved: no address could be connected to in time; the last failure is its cause.
    """
    end = time.monotonic() + timeout
    failure: OSError | None = None
    for tried, address in enumerate(checked.addresses):
        # Each has an equal share of the time left, so that a silent one leaves some to the next.
        share = (end - time.monotonic()) / (len(checked.addresses) - tried)
        if share <= 0:
            break
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        with ExitStack() as unless_done:
            try:
                connection = socket.socket(family, socket.SOCK_STREAM)
                unless_done.callback(connection.close)
                connection.settimeout(share)
                connection.connect((str(address), checked.url.port))
                connection.settimeout(timeout)
            except OSError as error:
                failure = error
                continue
            unless_done.pop_all()
        return connection
    raise HostUnresolved(
        f"none of the {len(checked.addresses)} addresses of {checked.url.authority} could be "
        f"connected to within {timeout:g} s: {failure or 'no time was left'}"
    ) from failure
