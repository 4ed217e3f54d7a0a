"""How connections to a provider are kept."""

from __future__ import annotations

import math
from dataclasses import dataclass

from llmspell.errors import ConfigError

__all__ = ["ConnectionSettings", "check_seconds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """Connections of one model, of each event loop that uses it.

    Args:
        size: connections at most; further calls wait for one.
        idle: of these, kept open while nobody uses them.
        lifetime: seconds after which new calls take new connections, so that changes of a host's
            addresses are seen.
        idle_timeout: seconds that an unused one is kept.
        connect_timeout: seconds for a new one.
        acquire_timeout: seconds that a call waits for one of ``size``.
        timeout: seconds for a call as a whole where no deadline says less.
    """

    size: int = 32
    idle: int = 4
    lifetime: float = 3_600.0
    idle_timeout: float = 300.0
    connect_timeout: float = 5.0
    acquire_timeout: float = 30.0
    timeout: float = 600.0

    def __post_init__(self) -> None:
        for name, least in {"size": 1, "idle": 0}.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigError(f"{name} must be an int of {least} or more, got {value!r}")
        if self.idle > self.size:
            raise ConfigError(f"idle must be at most size, {self.size}, got {self.idle}")
        for name in ("lifetime", "idle_timeout", "connect_timeout", "acquire_timeout", "timeout"):
            check_seconds(name, getattr(self, name))


def check_seconds(name: str, value: object) -> None:
    """Raise ConfigError unless it is a finite number above 0."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 < value < math.inf:  # type: ignore[operator]
        raise ConfigError(f"{name} must be a number of seconds above 0, got {value!r}")
