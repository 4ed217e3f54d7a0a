"""How connections to a provider are kept."""

from __future__ import annotations

import math
from dataclasses import dataclass

from llmspell.errors import ConfigError

__all__ = ["ConnectionSettings", "check_kind", "check_seconds"]


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
        max_response_bytes: of an answer, or of a stream as a whole, that are read; beyond, the call
            raises ProviderResponseTooLarge. 128,000 tokens are about 45 MB of a stream, by the
            350 bytes that OpenAI's format puts around each.
        max_event_bytes: of one event of a stream.
    """

    size: int = 32
    idle: int = 4
    lifetime: float = 3_600.0
    idle_timeout: float = 300.0
    connect_timeout: float = 5.0
    acquire_timeout: float = 30.0
    timeout: float = 600.0
    max_response_bytes: int = 64 << 20
    max_event_bytes: int = 4 << 20

    def __post_init__(self) -> None:
        least_of = {"size": 1, "idle": 0, "max_response_bytes": 1, "max_event_bytes": 1}
        for name, least in least_of.items():
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


def check_kind(name: str, value: object, kind: type) -> None:
    """Raise ConfigError unless it is None, or of a type."""
    if value is not None and not isinstance(value, kind):
        raise ConfigError(f"{name} must be of {kind.__name__}, got {value!r:.80}")
