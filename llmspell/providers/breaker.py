"""A model that fails again and again isn't asked for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from llmspell.errors import (
    BadProviderResponse,
    CircuitOpen,
    ConfigError,
    ProviderDenied,
    ProviderInterrupted,
    ProviderOverloaded,
    ProviderRateLimited,
    ProviderRefused,
    ProviderTimeout,
    ProviderUnreachable,
)
from llmspell.providers.settings import check_seconds

__all__ = ["Breaker", "Circuit", "CircuitState"]

CircuitState: TypeAlias = Literal["closed", "open", "half-open"]
"""Calls are made; none are; one is, to see whether it works again."""

# What says that a provider doesn't work, and what says that it does, as an answer would. Others,
# such as a quota of our own or a cancelled call, say neither.
_FAILURES = (
    BadProviderResponse,
    ProviderInterrupted,
    ProviderOverloaded,
    ProviderTimeout,
    ProviderUnreachable,
)
_REFUSALS = (ProviderDenied, ProviderRateLimited, ProviderRefused)


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """When a model isn't asked any more (Nygard, Release It!).

    Args:
        failures: calls that fail one after another.
        rest: seconds without a call then, after which one is made to see.
    """

    failures: int = 5
    rest: float = 30.0

    def __post_init__(self) -> None:
        count = self.failures
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ConfigError(f"failures must be an int of 1 or more, got {count!r}")
        check_seconds("rest", self.rest)


class Circuit:
    """The state of one model. Thread-safe.

    Args:
        settings: of it.
        name: of the model, for the error.
        clock: seconds that go on evenly.
    """

    def __init__(
        self, settings: Breaker, name: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._name = name
        self._clock = clock
        # Reentrant: the collector may end a call of a loop that was closed while this is held.
        self._lock = threading.RLock()
        self._failures = 0
        self._opened_at: float | None = None
        self._is_probing = False

    @property
    def state(self) -> CircuitState:
        """What it does with the next call."""
        with self._lock:
            if self._opened_at is None:
                return "closed"
            return "half-open" if self._left() <= 0 else "open"

    def enter(self) -> bool:
        """Let a call begin, which ends with :meth:`leave`; raises CircuitOpen.

        Returns:
            Whether it is the one that sees whether the provider works again.
        """
        with self._lock:
            if self._opened_at is None:
                return False
            left = self._left()
            if left > 0 or self._is_probing:
                raise CircuitOpen(
                    f"{self._name}: {self._failures} calls failed one after another; the next is "
                    f"made in {max(left, 0):.3g} s" + (", by another call" if left <= 0 else ""),
                    retry_after=max(left, 0.1),
                )
            self._is_probing = True
            return True

    def leave(self, error: BaseException | None, *, is_probe: bool) -> None:
        """End a call.

        Args:
            error: with which it ended.
            is_probe: what :meth:`enter` gave.
        """
        with self._lock:
            if is_probe:
                self._is_probing = False
            elif self._opened_at is not None:
                return  # begun before it opened: the probe decides
            if isinstance(error, _FAILURES):
                self._failures += 1
                if is_probe or self._failures >= self._settings.failures:
                    self._opened_at = self._clock()
            elif error is None or isinstance(error, _REFUSALS):
                self._failures = 0
                self._opened_at = None

    def _left(self) -> float:
        assert self._opened_at is not None
        return self._opened_at + self._settings.rest - self._clock()
