"""One spelling for what a tool is given: paths, hosts, names of variables."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv6Address, ip_address
from typing import Any, Final

from llmspell.errors import ConfigError, InvalidUrl
from llmspell.security.shown import shown

__all__ = [
    "is_of_kernel",
    "normal_domain",
    "normal_list",
    "normal_path",
    "normal_variable",
    "with_parents",
]

MAX_PATH: Final = 4_095  # bytes; PATH_MAX of linux/limits.h counts the NUL behind it
MAX_COMPONENT: Final = 255  # bytes; NAME_MAX
MAX_VARIABLE: Final = 255
MAX_LISTED: Final = 256  # of paths, of hosts, of variables; rules are looked at one by one

#: File systems that are the kernel's interface: what lies there is no data.
OF_KERNEL: Final = ("/dev", "/proc", "/sys")

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# What POSIX (Base Definitions, section 8.1) asks of names that shells can set, in either case.
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def normal_path(path: str | os.PathLike[str]) -> str:
    """An absolute POSIX path without doubled slashes, ``.`` and a slash at its end.

    Nothing is looked up on the disk. ``..`` is refused: behind a symbolic link it leads elsewhere
    than the text says.

    Raises:
        ConfigError: no such path.
    """
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str):
        raise ConfigError(f"a path must be a str or os.PathLike of str, got {text!r}")
    if not text.startswith("/"):
        raise ConfigError(f"the path {shown(text)} is relative; write it from / on")
    if _CONTROL.search(text):
        raise ConfigError(f"the path {shown(text)} has a control character")
    components = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in components:
        raise ConfigError(f"the path {shown(text)} has '..' in it; write where it leads")
    try:
        longest = max((len(part.encode()) for part in components), default=0)
        normal = "/" + "/".join(components)
        length = len(normal.encode())
    except UnicodeEncodeError:
        raise ConfigError(f"the path {shown(text)} isn't UTF-8; rename the file") from None
    if longest > MAX_COMPONENT or length > MAX_PATH:
        raise ConfigError(
            f"the path {shown(text)} is too long: a path has at most {MAX_PATH:,} bytes, and a "
            f"name in it {MAX_COMPONENT}"
        )
    return normal


def with_parents(path: str) -> Iterator[str]:
    """A normal path, the directory that it lies in, and so on up to ``"/"``."""
    while path:
        yield path
        path = path.rpartition("/")[0]
    yield "/"


def is_of_kernel(path: str) -> bool:
    """Whether a normal path is, or lies beneath, one of the kernel's own file systems."""
    return any(parent in OF_KERNEL for parent in with_parents(path))


def normal_domain(domain: str) -> str:
    """A host as it is compared: ``"api.company.com"``, ``".company.com"``, an address, or ``"*"``.

    The forms are those of :class:`llmspell.security.DomainRules`, without networks: names in lower
    case, as A-labels where they aren't ASCII (IDNA 2008). A dot in front stands for every name
    below, and not for the name itself.

    Raises:
        ConfigError: no such form; the cause is :class:`llmspell.errors.InvalidUrl` where the host
            is at fault.
        MissingDependency: an internationalised name without the extra ``security``.
    """
    from llmspell.security.urls.hostname import address_of, normal_host

    if not isinstance(domain, str):
        raise ConfigError(f"a domain must be a str, got {domain!r}")
    if domain == "*":
        return domain
    suffix = domain.startswith(".")
    name = domain[1:] if suffix else _bracketed(domain)
    try:
        host = normal_host(name)
    except InvalidUrl as error:
        below = shown(domain[1:])
        hint = f"; write {below} for names below it" if domain.startswith("*.") else ""
        raise ConfigError(f"the domain {shown(domain)} is no host: {error}{hint}") from error
    if suffix and address_of(host) is not None:
        raise ConfigError(f"the domain {shown(domain)} has an address after a dot; leave that out")
    return "." + host if suffix else host


def normal_variable(name: str) -> str:
    """The name of an environment variable, as it is.

    Raises:
        ConfigError: a name that isn't letters, digits and underscores, the first no digit.
    """
    if not isinstance(name, str):
        raise ConfigError(f"an environment variable must be a str, got {name!r}")
    if not _VARIABLE.fullmatch(name) or len(name) > MAX_VARIABLE:
        raise ConfigError(
            f"the environment variable {shown(name)} must be 1 to {MAX_VARIABLE} ASCII letters, "
            "digits and underscores, and not begin with a digit"
        )
    return name


def normal_list(name: str, given: object, normal: Callable[[Any], str]) -> tuple[str, ...]:
    """What is listed under ``name``, each in its one spelling; sorted, and without doubles.

    Raises:
        ConfigError: no list, one that is too long, or as ``normal`` raises it.
    """
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ConfigError(f"{name} must be a list of str, got {given!r}")
    listed = tuple(sorted({normal(one) for one in given}))
    if len(listed) > MAX_LISTED:
        raise ConfigError(f"{name} lists {len(listed)}, the limit is {MAX_LISTED}")
    return listed


def _bracketed(host: str) -> str:
    """An IPv6 address in the brackets of URLs, for here it may stand without."""
    try:
        return f"[{host}]" if isinstance(ip_address(host), IPv6Address) else host
    except ValueError:
        return host
