"""Which hosts a tool may reach, matched on the borders of labels."""

from __future__ import annotations

from collections.abc import Iterable

from llmspell.errors import ConfigError, InvalidUrl
from llmspell.security.urls.addresses import Address, Network, to_network
from llmspell.security.urls.hostname import address_of, normal_host

__all__ = ["DomainRules"]


class DomainRules:
    """A list of hosts: ``DomainRules(["api.company.com", ".example.org", "10.1.0.0/16"])``.

    - ``"api.company.com"`` is that name alone.
    - ``".example.org"`` is every name below, ``a.example.org`` and ``b.a.example.org``, and not
      ``example.org`` itself, which is a rule of its own.
    - ``"*"`` is every name, and every public address.
    - ``"192.168.7.1"``, ``"fd00::1"`` and ``"10.1.0.0/16"`` are addresses. They allow a URL whose
      host is one, and let a name that another rule allows lead there although they aren't public.

    Names are compared in lower case and as A-labels, so ``"Bücher.example"`` and
    ``"xn--bcher-kva.example"`` are one rule. Immutable; safe to share between threads.

    Raises:
        ConfigError: a rule of none of these forms, or a network of every address.
        MissingDependency: an internationalised name without the extra ``security``.
    """

    def __init__(self, rules: Iterable[str]) -> None:
        if isinstance(rules, str) or not isinstance(rules, Iterable):
            raise ConfigError(f"rules must be a list of str, got {rules!r}")
        self._rules = tuple(rules)
        exact: set[str] = set()
        suffixes: set[str] = set()
        networks: list[Network] = []
        self._any = False
        for rule in self._rules:
            if not isinstance(rule, str):
                raise ConfigError(f"a rule must be a str, got {rule!r}")
            if rule == "*":
                self._any = True
            elif (network := _network(rule)) is not None:
                networks.append(network)
            elif rule.startswith("."):
                suffixes.add(_name(rule, rule[1:]))
            else:
                exact.add(_name(rule, rule))
        self._exact = frozenset(exact)
        self._suffixes = frozenset(suffixes)
        self._networks = tuple(networks)

    def allows_host(self, host: str) -> bool:
        """Whether a host, spelt as ``Url.host`` is, may be asked for; its addresses come on top."""
        address = address_of(host)
        if address is not None:
            return self._any or self.lists(address)
        if self._any or host in self._exact:
            return True
        at = host.find(".")
        while at >= 0:
            if host[at + 1 :] in self._suffixes:
                return True
            at = host.find(".", at + 1)
        return False

    def lists(self, address: Address) -> bool:
        """Whether an address is listed, so that it may be reached although it isn't public."""
        return any(address in network for network in self._networks)

    def __repr__(self) -> str:
        return f"DomainRules({list(self._rules)!r})"


def _network(rule: str) -> Network | None:
    """The network of a rule that is an address or a network; None where it is neither."""
    bracketed = rule.startswith("[") and rule.endswith("]")
    try:
        network = to_network(rule[1:-1] if bracketed else rule)
    except ConfigError as error:
        if "/" in rule or ":" in rule:
            raise ConfigError(
                f"the rule {rule!r} is no network; a rule has no scheme, port or path, and a "
                "network no bits set beyond its prefix"
            ) from error
        return None
    if network.prefixlen == 0:
        raise ConfigError(
            f'the rule {rule!r} is every address; list networks, or "*" for all public'
        )
    return network


def _name(rule: str, name: str) -> str:
    try:
        host = normal_host(name)
    except InvalidUrl as error:
        hint = f"; write {rule[1:]!r} for names below it" if rule.startswith("*.") else ""
        raise ConfigError(f"the rule {rule!r} is no host: {error}{hint}") from error
    if address_of(host) is not None:
        raise ConfigError(f"the rule {rule!r} has an address after a dot; leave the dot out")
    return host
