"""What a tool's owner says of it, besides what it does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Self, TypedDict, Unpack

from llmspell.errors import ConfigError
from llmspell.security import SecurityLevel, SecurityRequirements

__all__ = ["OptionValues", "ToolOptions", "options_of"]

MIB: Final = 1 << 20
MAX_RESULT: Final = 64 * MIB
MAX_TIMEOUT: Final = 86_400.0
_MAX_COST: Final = 1e12
_LEAST: Final = {
    SecurityLevel.SAFE: SecurityRequirements.safe,
    SecurityLevel.RESTRICTED: SecurityRequirements.restricted,
    SecurityLevel.PRIVILEGED: SecurityRequirements.privileged,
}


class OptionValues(TypedDict, total=False):
    """Some fields of :class:`ToolOptions`, for type checkers to see which there are."""

    trusted: bool
    level: SecurityLevel | str | None
    requirements: SecurityRequirements | None
    timeout: float | None
    cost: float
    max_concurrent: int | None
    needs_approval: bool
    idempotent: bool
    max_result_bytes: int
    preload: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolOptions:
    """Where a tool runs, what it may have, take and cost. Immutable; checked when it is made.

    A tool is confined by the kernel, in a process of its own, unless it is trusted.

    Args:
        trusted: run it in this process, with all that this process may do.
        level: of a confined tool the level of its requirements, and that is what it is where none
            is given; of a trusted one what its owner answers for, PRIVILEGED where none is given.
            A str is the level of that value.
        requirements: what a confined tool may have; the least of its level, SAFE if none is given.
        timeout: seconds of one call. None is what the requirements say, and no limit for a trusted
            tool. A trusted function that isn't async can't be ended: its caller goes on, and its
            place among ``max_concurrent`` is free when it ends.
        cost: money of one call, in the unit of ``max_cost_per_month``; charged to the tenant before
            it runs.
        max_concurrent: calls at one time, of all tenants together; None for no limit.
        needs_approval: ask the tenant's approval hook before each call.
        idempotent: a call that failed may be made again without harm.
        max_result_bytes: of the result as JSON; at most 64 MiB.
        preload: names of modules that a confined tool needs and its source doesn't show; see
            :class:`llmspell.security.ToolDefinition`.

    Raises:
        ConfigError: an option out of range, or options that disagree.
        LevelMismatch: the requirements are of another level.
    """

    trusted: bool = False
    level: SecurityLevel | str | None = None
    requirements: SecurityRequirements | None = None
    timeout: float | None = None
    cost: float = 0.0
    max_concurrent: int | None = None
    needs_approval: bool = False
    idempotent: bool = False
    max_result_bytes: int = MIB
    preload: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("trusted", "needs_approval", "idempotent"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} must be True or False, got {getattr(self, name)!r}")
        if isinstance(self.level, str):
            object.__setattr__(self, "level", _level_of(self.level))
        if self.trusted:
            self._check_trusted()
        else:
            self._check_confined()
        number = isinstance(self.cost, int | float) and not isinstance(self.cost, bool)
        if not number or not 0 <= self.cost <= _MAX_COST:
            raise ConfigError(
                f"cost must be a number from 0 to {_MAX_COST:,.0f}, got {self.cost!r}"
            )
        if self.max_concurrent is not None:
            _require_int("max_concurrent", self.max_concurrent, 1, None)
        _require_int("max_result_bytes", self.max_result_bytes, 0, MAX_RESULT)
        preload: object = self.preload
        if isinstance(preload, str):
            raise ConfigError("preload is one str; give several, or a tuple of one")
        object.__setattr__(self, "preload", tuple(self.preload))

    def with_changes(self, **changes: Unpack[OptionValues]) -> Self:
        """Options with some of them changed.

        Raises:
            ConfigError: as when they are made, or an option that there is none of.
        """
        values: dict[str, Any] = dict(_known(changes))
        if {"trusted", "level", "requirements"} & values.keys():
            # What was derived from the ones is derived anew from the others.
            values = {"trusted": self.trusted, "level": None, "requirements": None} | values
        return replace(self, **values)

    def _check_trusted(self) -> None:
        if self.requirements is not None:
            raise ConfigError(
                "a trusted tool runs in this process, where no requirements are enforced; leave "
                "them out, or trusted"
            )
        if self.level is None:
            object.__setattr__(self, "level", SecurityLevel.PRIVILEGED)
        if not isinstance(self.level, SecurityLevel):
            raise ConfigError(f"level must be a SecurityLevel, got {self.level!r}")
        _require_timeout(self.timeout, None)

    def _check_confined(self) -> None:
        from llmspell.security import check_level

        if self.requirements is None:
            level = SecurityLevel.SAFE if self.level is None else self.level
            if not isinstance(level, SecurityLevel):
                raise ConfigError(f"level must be a SecurityLevel, got {level!r}")
            object.__setattr__(self, "requirements", _LEAST[level]())
        if not isinstance(self.requirements, SecurityRequirements):
            raise ConfigError(
                f"requirements must be SecurityRequirements, got {self.requirements!r}"
            )
        if self.level is None:
            object.__setattr__(self, "level", self.requirements.level)
        check_level(self.level, self.requirements)  # type: ignore[arg-type]
        _require_timeout(self.timeout, self.requirements.timeout_seconds)


def options_of(values: OptionValues) -> ToolOptions:
    """The options that were given by name.

    Raises:
        ConfigError: as when they are made, or an option that there is none of.
    """
    return ToolOptions(**_known(values))


def _known(values: OptionValues) -> OptionValues:
    unknown = values.keys() - OptionValues.__annotations__.keys()
    if unknown:
        names = ", ".join(sorted(OptionValues.__annotations__))
        raise ConfigError(f"there is no option {min(unknown)!r} of a tool; there are {names}")
    return values


def _level_of(value: str) -> SecurityLevel:
    try:
        return SecurityLevel(value)
    except ValueError:
        levels = ", ".join(level.value for level in SecurityLevel)
        raise ConfigError(f"there is no level {value!r}; these are: {levels}") from None


def _require_timeout(value: object, most: float | None) -> None:
    if value is None:
        return
    number = isinstance(value, int | float) and not isinstance(value, bool)
    bound = MAX_TIMEOUT if most is None else most
    if not number or not 0 < value <= bound:  # type: ignore[operator]
        whose = "" if most is None else ", as the requirements say"
        raise ConfigError(
            f"timeout must be seconds above 0 and at most {bound:g}{whose}; got {value!r}"
        )


def _require_int(name: str, value: object, low: int, high: int | None) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):  # type: ignore[operator]
        most = "" if high is None else f" and at most {high:,}"
        raise ConfigError(f"{name} must be an int of at least {low}{most}, got {value!r}")
