"""What a tenant may do with tools."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final

from llmspell.errors import ConfigError
from llmspell.security import SecurityLevel
from llmspell.tools.definition import Tool

__all__ = ["CallQuota", "ToolPolicy"]

_MAX_CALLS: Final = 100_000
#: Each call writes the times of all that count: 9 bytes for one.
_MAX_SHARED_CALLS: Final = 1_000
_MAX_SECONDS: Final = 31 * 86_400.0
MAX_WAIT: Final = 3_600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class CallQuota:
    """So many calls in any stretch of time, counted exactly.

    Args:
        calls: 1 to 100,000; of a shared one at most 1,000.
        seconds: length of the stretch; at most 31 days.
        shared: count in the tenant's state, durably and for all processes of the data directory, by
            the clock of the wall. Counting makes two or three calls of the state, more where others
            count at the same moment, which the tenant is charged. Otherwise counted in this
            process's memory, of one registry.
        lease: calls of a shared one that a registry takes at a time, and counts at once; None for a
            hundredth of ``calls``, and at least 1. It makes them within a tenth of ``seconds``
            without calls of the state. What is left of it counts until it is given back, or for
            ``seconds`` from its end where its process dies.

    Raises:
        ConfigError: out of range.
    """

    calls: int
    seconds: float
    shared: bool = False
    lease: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.shared, bool):
            raise ConfigError(f"shared must be True or False, got {self.shared!r}")
        whole = isinstance(self.calls, int) and not isinstance(self.calls, bool)
        most = _MAX_SHARED_CALLS if self.shared else _MAX_CALLS
        if not whole or not 1 <= self.calls <= most:
            raise ConfigError(f"calls must be an int of 1 to {most:,}, got {self.calls!r}")
        _require_seconds("seconds", self.seconds, _MAX_SECONDS)
        if not self.seconds:
            raise ConfigError("seconds must be above 0")
        lease: object = self.lease
        if lease is None:
            return
        if not self.shared:
            raise ConfigError("lease is of a quota that is shared=True")
        whole = isinstance(lease, int) and not isinstance(lease, bool)
        if not whole or not 1 <= lease <= self.calls:  # type: ignore[operator]
            raise ConfigError(f"lease must be an int of 1 to {self.calls:,}, got {lease!r}")

    @property
    def leased(self) -> int:
        """Calls that are taken at a time."""
        return self.lease or max(1, self.calls // 100)


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolPolicy:
    """What a tenant may do with the tools of a registry. Immutable; checked when it is made.

    Args:
        allow: names of the tools that it may call, or patterns with ``*`` and ``?``; None for all.
            What isn't allowed isn't told of either.
        max_level: a tool of a higher level isn't allowed, whatever ``allow`` says.
        quotas: by name of a tool, or ``"*"`` for all tools together; both count.
        max_concurrent: calls at one time, of all tools together; None for no limit.
        max_wait: seconds that a call waits for a place, in this limit and in that of its tool.
        approve: names, or patterns, of tools that are asked for at each call, besides those whose
            options say so.

    Raises:
        ConfigError: out of range, or of another type.
    """

    allow: tuple[str, ...] | None = None
    max_level: SecurityLevel = SecurityLevel.PRIVILEGED
    quotas: Mapping[str, CallQuota] = field(default_factory=dict)
    max_concurrent: int | None = None
    max_wait: float = 30.0
    approve: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("allow", "approve"):
            given = getattr(self, name)
            if given is None:
                continue
            is_several = isinstance(given, Collection) and not isinstance(given, str)
            if not is_several or not all(isinstance(one, str) for one in given):
                raise ConfigError(f"{name} must be several names of tools, got {given!r}")
            object.__setattr__(self, name, tuple(given))
        if not isinstance(self.max_level, SecurityLevel):
            raise ConfigError(f"max_level must be a SecurityLevel, got {self.max_level!r}")
        object.__setattr__(self, "quotas", dict(self.quotas))
        for name, quota in self.quotas.items():
            if not isinstance(name, str) or not isinstance(quota, CallQuota):
                raise ConfigError(f"quotas are a CallQuota by name, got {name!r}: {quota!r}")
        most = self.max_concurrent
        if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 1):
            raise ConfigError(f"max_concurrent must be an int of at least 1, got {most!r}")
        _require_seconds("max_wait", self.max_wait, MAX_WAIT)

    def allows(self, tool: Tool) -> bool:
        """Whether the tenant may call it."""
        if tool.spec.level > self.max_level:
            return False
        return self.allow is None or _is_among(tool.spec.name, self.allow)

    def asks(self, tool: Tool) -> bool:
        """Whether each call is to be approved."""
        return tool.spec.needs_approval or _is_among(tool.spec.name, self.approve)


def _is_among(name: str, patterns: tuple[str, ...]) -> bool:
    return bool(patterns) and any(fnmatchcase(name, pattern) for pattern in patterns)


def _require_seconds(name: str, value: object, most: float) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= most:  # type: ignore[operator]
        raise ConfigError(f"{name} must be seconds from 0 to {most:,.0f}, got {value!r}")
