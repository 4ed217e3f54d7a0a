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
    ProviderError,
    ProviderInterrupted,
    ProviderOverloaded,
    ProviderTimeout,
    ProviderUnreachable,
)
from llmspell.providers.settings import check_seconds

__all__ = ["Breaker", "Circuit", "CircuitState"]

CircuitState: TypeAlias = Literal["closed", "open", "half-open"]
"""Calls are made; none are; one is, to see whether it works again."""

# What says that a provider doesn't work. A rate, a key or a request that it refuses doesn't.
_FAILURES = (
    BadProviderResponse,
    ProviderInterrupted,
    ProviderOverloaded,
    ProviderTimeout,
    ProviderUnreachable,
)


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
        self._lock = threading.Lock()
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

    def enter(self) -> None:
        """Let a call begin, which ends with :meth:`leave`; raises CircuitOpen."""
        with self._lock:
            if self._opened_at is None:
                return
            left = self._left()
            if left > 0 or self._is_probing:
                raise CircuitOpen(
                    f"{self._name}: {self._failures} calls failed one after another; the next is "
                    f"made in {max(left, 0):.3g} s" + (", by another call" if left <= 0 else ""),
                    retry_after=max(left, 0.1),
                )
            self._is_probing = True

    def leave(self, error: BaseException | None) -> None:
        """End a call; what was cancelled, or the tenant can't pay, says nothing."""
        with self._lock:
            was_probing, self._is_probing = self._is_probing, False
            if isinstance(error, _FAILURES):
                self._failures += 1
                if was_probing or self._failures >= self._settings.failures:
                    self._opened_at = self._clock()
            elif error is None or isinstance(error, ProviderError):
                self._failures = 0
                self._opened_at = None

    def _left(self) -> float:
        assert self._opened_at is not None
        return self._opened_at + self._settings.rest - self._clock()
