"""What a tool asks for: frozen, checked against its level when it is built."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Self

from llmspell.errors import ConfigError, LevelMismatch, RequirementDenied
from llmspell.security.grants import (
    is_of_kernel,
    normal_domain,
    normal_list,
    normal_path,
    normal_variable,
    with_parents,
)
from llmspell.security.levels import CEILINGS, MIB, Ceiling, SecurityLevel

__all__ = ["SecurityRequirements", "check_level"]

MIN_MEMORY: Final = MIB
MAX_CPU_MS: Final = 3_600_000
MAX_TIMEOUT: Final = 3_600.0
OUTPUT: Final = MIB
MAX_OUTPUT: Final = 64 * MIB


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class SecurityRequirements:
    """What a tool needs of the machine.

    Begin with :meth:`safe`, :meth:`restricted` or :meth:`privileged`. Each ``with_`` method returns
    another of these: lists grow, and a number takes the place of the one before. ``repr`` is the
    expression that builds an equal one. Immutable, hashable, and safe to share between threads; a
    pickle is checked again when it is loaded.

    Args:
        level: what may be asked for at most.
        read_only: paths that may be read, with all that is beneath; normal, sorted.
        writable: paths that may be changed too, with all that is beneath; normal, sorted.
        domains: hosts that may be reached, as :func:`llmspell.security.grants.normal_domain` spells
            them; sorted.
        environment: names of variables that are passed on; sorted.
        processes: at one time, besides the tool's own.
        memory_bytes: of the tool with its processes, 1 MiB or more.
        cpu_ms: milliseconds of processor time, 1 to 3,600,000 (an hour).
        timeout_seconds: from the call to the result, more than 0 and at most 3,600.
        output_bytes: of the encoded result, and as many each of stdout and stderr; at most 64 MiB.

    Raises:
        RequirementDenied: something that the level doesn't allow.
        ConfigError: a value that no level could take.
        MissingDependency: an internationalised domain without the extra ``security``.
    """

    level: SecurityLevel
    read_only: tuple[str, ...]
    writable: tuple[str, ...]
    domains: tuple[str, ...]
    environment: tuple[str, ...]
    processes: int
    memory_bytes: int
    cpu_ms: int
    timeout_seconds: float
    output_bytes: int

    def __post_init__(self) -> None:
        _require_level("level", self.level)
        for name, normal in _LISTS.items():
            object.__setattr__(self, name, normal_list(name, getattr(self, name), normal))
        _require_int("processes", self.processes, 0, None)
        _require_int("memory_bytes", self.memory_bytes, MIN_MEMORY, None)
        _require_int("cpu_ms", self.cpu_ms, 1, MAX_CPU_MS)
        _require_int("output_bytes", self.output_bytes, 0, MAX_OUTPUT)
        object.__setattr__(self, "timeout_seconds", _normal_timeout(self.timeout_seconds))
        self._require_level_allows(CEILINGS[self.level])
        writable = frozenset(self.writable)
        for path in self.read_only:
            for root in with_parents(path):
                if root in writable:
                    raise ConfigError(
                        f"{path!r} can't be read-only, for it may be written through {root!r}; "
                        "list it once, or make what is above it read-only"
                    )

    @classmethod
    def safe(cls) -> Self:
        """Nothing but 50 MiB, a second of CPU and 5 s to answer."""
        return cls._least(SecurityLevel.SAFE)

    @classmethod
    def restricted(cls) -> Self:
        """What will be listed, and 100 MiB, 5 s of CPU and 30 s to answer."""
        return cls._least(SecurityLevel.RESTRICTED)

    @classmethod
    def privileged(cls) -> Self:
        """What will be listed, everything included; 500 MiB, 30 s of CPU and 120 s to answer."""
        return cls._least(SecurityLevel.PRIVILEGED)

    def with_file_access(self, path: str | os.PathLike[str], *, write: bool = True) -> Self:
        """Add a path that may be read and, unless ``write`` is False, changed, with all beneath.

        Relative paths, ``..``, the root below PRIVILEGED and the kernel's own files (``/proc``,
        ``/sys``, ``/dev``) below PRIVILEGED are refused. Symbolic links aren't looked at.
        """
        if not isinstance(write, bool):
            raise ConfigError(f"write must be True or False, got {write!r}")
        return self._with_one("writable" if write else "read_only", normal_path(path))

    def with_read_only(self, path: str | os.PathLike[str]) -> Self:
        """Add a path that may be read, with all beneath; see :meth:`with_file_access`."""
        return self.with_file_access(path, write=False)

    def with_network_access(self, domain: str) -> Self:
        """Add a host: ``"api.company.com"``, ``".company.com"`` for all names below, or an address.

        ``"*"``, every name and public address, is for PRIVILEGED. Private addresses are reached
        only where they are listed.
        """
        return self._with_one("domains", normal_domain(domain))

    def with_environment(self, name: str) -> Self:
        """Add an environment variable that is passed on where it is set."""
        return self._with_one("environment", normal_variable(name))

    def with_processes(self, n: int) -> Self:
        """Allow ``n`` processes at one time besides the tool's own."""
        return replace(self, processes=n)

    def with_memory_limit(self, bytes: int) -> Self:
        """Allow so many bytes of memory, all processes together."""
        return replace(self, memory_bytes=bytes)

    def with_cpu_limit(self, ms: int) -> Self:
        """Allow so many milliseconds of processor time."""
        return replace(self, cpu_ms=ms)

    def with_timeout(self, seconds: float) -> Self:
        """Allow so many seconds from the call to the result."""
        return replace(self, timeout_seconds=seconds)

    def with_output_limit(self, bytes: int) -> Self:
        """Allow so many bytes of result, and as many each of stdout and stderr."""
        return replace(self, output_bytes=bytes)

    def to_fields(self) -> dict[str, str | int | float | list[str]]:
        """These as msgpack and JSON can hold them; :meth:`from_fields` takes them back."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        listed = {name: list(values[name]) for name in _LISTS}
        return values | listed | {"level": self.level.value}

    @classmethod
    def from_fields(cls, given: Mapping[str, Any]) -> Self:
        """Requirements from what :meth:`to_fields` gave, and from nothing else.

        Raises:
            ConfigError: a field that is missing or unknown, or not as :meth:`to_fields` writes it.
            RequirementDenied: something that the level doesn't allow.
        """
        if not isinstance(given, Mapping):
            raise ConfigError(f"requirements must be a mapping of fields, got {given!r}")
        names = {field.name for field in fields(cls)}
        if given.keys() != names:
            amiss = ", ".join(sorted(map(repr, given.keys() ^ names)))
            raise ConfigError(f"requirements: fields are missing or unknown: {amiss}")
        try:
            level = SecurityLevel(given["level"])
        except ValueError:
            raise ConfigError(f"requirements: there is no level {given['level']!r}") from None
        for name in _LISTS:
            if not isinstance(given[name], list | tuple):
                raise ConfigError(f"requirements: {name} must be a list, got {given[name]!r}")
        made = cls(**{**given, "level": level})
        for name in _LISTS:
            if list(given[name]) != list(getattr(made, name)):
                raise ConfigError(
                    f"requirements: {name} must be normal, sorted and without doubles, as "
                    f"{list(getattr(made, name))!r}; got {given[name]!r}"
                )
        return made

    def __repr__(self) -> str:
        least = CEILINGS[self.level]
        calls = [f"with_file_access({path!r})" for path in self.writable]
        calls += [f"with_read_only({path!r})" for path in self.read_only]
        calls += [f"with_network_access({domain!r})" for domain in self.domains]
        calls += [f"with_environment({name!r})" for name in self.environment]
        if self.processes:
            calls.append(f"with_processes({self.processes})")
        if self.memory_bytes != least.memory_bytes:
            calls.append(f"with_memory_limit({self.memory_bytes})")
        if self.cpu_ms != least.cpu_ms:
            calls.append(f"with_cpu_limit({self.cpu_ms})")
        if self.timeout_seconds != least.timeout_seconds:
            calls.append(f"with_timeout({self.timeout_seconds})")
        if self.output_bytes != OUTPUT:
            calls.append(f"with_output_limit({self.output_bytes})")
        return ".".join([f"SecurityRequirements.{self.level.value}()", *calls])

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[dict[str, Any]]]:
        return type(self).from_fields, (self.to_fields(),)

    @classmethod
    def _least(cls, level: SecurityLevel) -> Self:
        ceiling = CEILINGS[level]
        return cls(
            level=level,
            read_only=(),
            writable=(),
            domains=(),
            environment=(),
            processes=0,
            memory_bytes=ceiling.memory_bytes,
            cpu_ms=ceiling.cpu_ms,
            timeout_seconds=ceiling.timeout_seconds,
            output_bytes=OUTPUT,
        )

    def _with_one(self, name: str, value: str) -> Self:
        changed: dict[str, Any] = {name: (*getattr(self, name), value)}
        return replace(self, **changed)

    def _require_level_allows(self, ceiling: Ceiling) -> None:
        for name in _LISTS:
            listed: tuple[str, ...] = getattr(self, name)
            if listed and not ceiling.lists:
                self._deny(name, f"lists {listed[0]!r}", "has none; leave it out")
        for name in ("read_only", "writable"):
            for path in getattr(self, name):
                if not ceiling.everything and (path == "/" or is_of_kernel(path)):
                    what = "every file" if path == "/" else "the kernel's own files"
                    self._deny(name, f"lists {path!r}", f"can't have {what}; list directories")
        if "*" in self.domains and not ceiling.everything:
            self._deny("domains", "lists '*'", "can't have every host; list hosts or '.suffix'")
        for name in ("processes", "memory_bytes"):
            value, limit = getattr(self, name), getattr(ceiling, name)
            if value > limit:
                self._deny(name, f"is {value:,}", f"has at most {limit:,}; ask for less")

    def _deny(self, name: str, asked: str, rule: str) -> None:
        level = self.level.value
        above = [f"make it {other.value}" for other in SecurityLevel if other > self.level]
        raise RequirementDenied(
            ", or ".join([f"{name} {asked}, and a {level} tool {rule}", *above]),
            requirement=name,
            level=level,
        )


_LISTS: Final[dict[str, Callable[[Any], str]]] = {
    "read_only": normal_path,
    "writable": normal_path,
    "domains": normal_domain,
    "environment": normal_variable,
}


def check_level(level: SecurityLevel, requirements: SecurityRequirements) -> None:
    """Raise unless ``requirements`` are of the level that a tool is declared at, and no other.

    Raises:
        LevelMismatch: they are of another level.
        ConfigError: an argument of another type.
    """
    _require_level("level", level)
    if not isinstance(requirements, SecurityRequirements):
        raise ConfigError(f"requirements must be SecurityRequirements, got {requirements!r}")
    if requirements.level is not level:
        above = "more" if requirements.level > level else "less"
        raise LevelMismatch(
            f"the tool is declared {level.value}, and its requirements are {above}: "
            f"{requirements!r}; build them by SecurityRequirements.{level.value}(), or declare the "
            f"tool {requirements.level.value}",
            declared=level.value,
            required=requirements.level.value,
        )


def _require_level(name: str, value: object) -> None:
    if not isinstance(value, SecurityLevel):
        raise ConfigError(f"{name} must be a SecurityLevel, got {value!r}")


def _require_int(name: str, value: object, low: int, high: int | None) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):  # type: ignore[operator]
        most = "" if high is None else f" and at most {high:,}"
        raise ConfigError(f"{name} must be an int of at least {low:,}{most}, got {value!r}")


def _normal_timeout(value: object) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    # A comparison with NaN is false, whichever way round.
    if not number or not 0 < value <= MAX_TIMEOUT:  # type: ignore[operator]
        raise ConfigError(
            f"timeout_seconds must be a number above 0, at most {MAX_TIMEOUT:,.0f}, got {value!r}"
        )
    return float(value)  # type: ignore[arg-type]
