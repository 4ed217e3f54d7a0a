"""One spelling for each host: an address, or a name in ASCII as the DNS asks for it."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from types import ModuleType

from llmspell.errors import InvalidUrl, MissingDependency
from llmspell.security.shown import shown
from llmspell.security.urls.addresses import Address, to_address

__all__ = ["address_of", "normal_host"]

MAX_NAME = 253  # characters of a name without its last dot, RFC 1035, section 2.3.4
MAX_LABEL = 63

# A last label that inet_aton, and with it most resolvers, would read as a number.
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
_DECIMAL_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_CANONICAL_IPV4 = re.compile(rf"{_DECIMAL_BYTE}(?:\.{_DECIMAL_BYTE}){{3}}")
# Underscores are no part of host names, but names with them are served (RFC 2181, section 11).
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")


def normal_host(text: str) -> str:
    """The host of a URL, brackets of IPv6 included, in the one spelling that is compared and used.

    An IPv4 address stays as it is, for only its canonical form is taken; IPv6 is compressed and
    loses its brackets; an IPv4-mapped address becomes the IPv4 address. A name is in lower case;
    one that isn't ASCII becomes A-labels by IDNA 2008 after UTS 46's mapping.

    Raises:
        InvalidUrl: with the reason, where clients could disagree on what host this is.
        MissingDependency: an internationalised name without the extra ``security``.
    """
    if not text:
        raise InvalidUrl("the host is empty", reason="no-host")
    if "%" in text:
        what = "has a zone" if text.startswith("[") else "is percent-encoded"
        reason = "zone" if text.startswith("[") else "percent-in-host"
        raise InvalidUrl(f"the host {shown(text)} {what}; write it plainly", reason=reason)
    if text.startswith("["):
        return str(_ipv6(text))
    if len(text) > MAX_NAME:
        raise InvalidUrl(
            f"the host has {len(text)} characters, the limit is {MAX_NAME}", reason="long-host"
        )
    name = text.lower() if text.isascii() else _from_unicode(text)
    if name.endswith("."):
        raise InvalidUrl(f"the host {shown(text)} ends in a dot; leave it out", reason="dot")
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        if not _CANONICAL_IPV4.fullmatch(name):
            raise InvalidUrl(
                f"the host {shown(text)} ends in a number but isn't an IPv4 address: four decimal "
                "numbers, without leading zeros",
                reason="ipv4-form",
            )
        return name
    for label in labels:
        if not _LABEL.fullmatch(label) or len(label) > MAX_LABEL:
            raise InvalidUrl(
                f"the host {shown(text)} has the label {shown(label)}; a label is 1 to "
                f"{MAX_LABEL} letters, digits, hyphens and underscores, no hyphen first or last",
                reason="label",
            )
    if text.isascii() and any(label.startswith("xn--") for label in labels):
        _must_be_a_labels(name)
    return name


def address_of(host: str) -> Address | None:
    """The address that a host from :func:`normal_host` is, or None where it is a name."""
    if ":" in host:
        return IPv6Address(host)
    return IPv4Address(host) if _CANONICAL_IPV4.fullmatch(host) else None


def _ipv6(text: str) -> Address:
    try:
        return to_address(IPv6Address(text[1:-1] if text.endswith("]") else ""))
    except ValueError as error:
        raise InvalidUrl(
            f"the host {shown(text)} is no IPv6 address in brackets", reason="ipv6-form"
        ) from error


def _from_unicode(text: str) -> str:
    """A-labels, unless a character stands for ASCII, vanishes, or means two hosts."""
    idna = _idna()
    try:
        for character in text:
            if character.isascii():
                continue
            mapped = idna.uts46_remap(character)
            if not mapped or any(part.isascii() for part in mapped):
                raise InvalidUrl(
                    f"the host {shown(text)} has {character!a}, which is left out or stands for "
                    f"{mapped!a}; write that",
                    reason="unicode-host",
                )
        name = str(idna.encode(text, uts46=True, std3_rules=True).decode("ascii"))
    except idna.IDNAError as error:
        raise InvalidUrl(
            f"the host {shown(text)} isn't a name of IDNA 2008: {error}", reason="unicode-host"
        ) from error
    # Python's sockets encode by IDNA 2003, to which a sharp s is ss: two hosts, by the client.
    try:
        older = text.encode("idna").decode("ascii")
    except UnicodeError:
        return name
    if older.lower() != name:
        raise InvalidUrl(
            f"the host {shown(text)} is {shown(name)} by IDNA 2008 and {shown(older)} by IDNA "
            "2003; write which",
            reason="unicode-host",
        )
    return name


def _must_be_a_labels(name: str) -> None:
    """Refuse ``xn--`` labels that spell no name: decoders make different ones of them."""
    idna = _idna()
    for label in name.split("."):
        if label.startswith("xn--"):
            try:
                idna.ulabel(label)
            except idna.IDNAError as error:
                raise InvalidUrl(
                    f"the host has the label {shown(label)}, which isn't of IDNA 2008: {error}",
                    reason="unicode-host",
                ) from error


def _idna() -> ModuleType:
    try:
        import idna
    except ImportError as error:
        raise MissingDependency("security", "idna") from error
    return idna
