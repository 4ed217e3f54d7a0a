"""What a tool is: where its code is, what may be called, and what it may have."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from llmspell.errors import ConfigError, InputError
from llmspell.security.levels import SecurityLevel
from llmspell.security.requirements import SecurityRequirements, check_level

__all__ = ["READY", "ToolDefinition", "require_function"]

READY: Final = 2
_MAX_READY: Final = 256
_MAX_SOURCE: Final = 16 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolDefinition:
    """A tool of one module. Immutable; checked when it is made.

    Args:
        module: dotted name of the tool's module.
        functions: qualified names of what may be called in it.
        requirements: what the tool may have.
        level: what the tool is declared at; that of its requirements where it isn't given.
        path: directories where the tool's modules are looked for, before the installed ones.
        source: text of the module, instead of a file.
        preload: names of modules that are imported outside of the sandbox, for imports that the
            source doesn't show, and for extension modules of the tool's own. They are looked for
            where libraries are installed, never in ``path``.
        ready: workers that wait for calls; 0 forks one for each call.
        keep_workers: serve a tenant's calls by one worker again and again. The tool must not mind
            what earlier calls of the same tenant left.

    Raises:
        LevelMismatch: the requirements are of another level than the tool is declared at.
        ConfigError: an argument out of range.
    """

    module: str
    functions: tuple[str, ...]
    requirements: SecurityRequirements
    level: SecurityLevel | None = None
    path: tuple[str, ...] = ()
    source: str | None = None
    preload: tuple[str, ...] = ()
    ready: int = READY
    keep_workers: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.requirements, SecurityRequirements):
            raise ConfigError(
                f"requirements must be SecurityRequirements, got {self.requirements!r}"
            )
        level = self.requirements.level if self.level is None else self.level
        check_level(level, self.requirements)
        object.__setattr__(self, "level", level)
        _require_module("module", self.module)
        functions = _names("functions", self.functions)
        if not functions:
            raise ConfigError("functions must name what may be called, got none")
        for function in functions:
            _require_module("functions", function)
        preload = _names("preload", self.preload)
        for name in preload:
            _require_module("preload", name)
        object.__setattr__(self, "functions", functions)
        object.__setattr__(self, "preload", preload)
        object.__setattr__(self, "path", _places(self.path))
        if self.source is not None and (
            not isinstance(self.source, str) or len(self.source) > _MAX_SOURCE
        ):
            raise ConfigError(f"source must be text of at most {_MAX_SOURCE:,} characters")
        whole = isinstance(self.ready, int) and not isinstance(self.ready, bool)
        if not whole or not 0 <= self.ready <= _MAX_READY:
            raise ConfigError(f"ready must be an int of 0 to {_MAX_READY}, got {self.ready!r}")
        if not isinstance(self.keep_workers, bool):
            raise ConfigError(f"keep_workers must be True or False, got {self.keep_workers!r}")


def require_function(definition: ToolDefinition, name: object) -> None:
    """Raise InputError unless it is one of the tool's functions."""
    if name not in definition.functions:
        raise InputError(
            f"{definition.module} has no function {name!r}; it was defined with "
            f"{', '.join(definition.functions)}"
        )


def _require_module(what: str, name: Any) -> None:
    parts = name.split(".") if isinstance(name, str) else []
    if not parts or not all(part.isidentifier() for part in parts):
        raise ConfigError(f"{what} must be a dotted name, got {name!r}")


def _names(what: str, given: Any) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ConfigError(f"{what} must be a list of names, got {given!r}")
    return tuple(given)


def _places(given: Any) -> tuple[str, ...]:
    if isinstance(given, str | os.PathLike) or not isinstance(given, Sequence):
        raise ConfigError(f"path must be a list of directories, got {given!r}")
    try:
        return tuple(os.path.abspath(os.fsdecode(place)) for place in given)
    except TypeError:
        raise ConfigError(f"path must be a list of directories, got {given!r}") from None
