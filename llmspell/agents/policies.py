"""What a workflow does where a step fails."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from llmspell.errors import ConfigError

__all__ = ["FAIL", "Fail", "FailurePolicy", "Fallback", "Retry", "Skip", "StepCall", "called"]

#: Takes a value, sync or async, and gives the next one.
StepCall: TypeAlias = Callable[[Any], Any]

MAX_RETRIES: Final = 100
MAX_WAIT: Final = 60.0


@dataclass(frozen=True, slots=True)
class Fail:
    """The workflow fails with the step's exception."""


@dataclass(frozen=True, slots=True)
class Skip:
    """Go on without the step.

    Args:
        errors: exceptions that it is for; others fail.
    """

    errors: tuple[type[Exception], ...] = (Exception,)


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again, and do what another policy says where the last try fails too.

    Args:
        times: further tries, from 1 to 100.
        wait: seconds before the first of them at most; doubled each time, up to a minute, and a
            random part of it is waited.
        errors: exceptions that are worth another try; others fail at once.
        then: for the last.

    Raises:
        ConfigError: one is out of range.
    """

    times: int = 2
    wait: float = 0.1
    errors: tuple[type[Exception], ...] = (Exception,)
    then: Fail | Skip | Fallback = Fail()

    def __post_init__(self) -> None:
        is_count = isinstance(self.times, int) and not isinstance(self.times, bool)
        if not is_count or not 1 <= self.times <= MAX_RETRIES:
            raise ConfigError(f"times must be from 1 to {MAX_RETRIES}, got {self.times!r}")
        if not 0 <= self.wait <= MAX_WAIT:
            raise ConfigError(f"wait must be from 0 to {MAX_WAIT:g} seconds, got {self.wait!r}")
        if isinstance(self.then, Retry):
            raise ConfigError("then is what to do when no try is left: Fail, Skip or Fallback")


@dataclass(frozen=True, slots=True)
class Fallback:
    """Give the value to another step instead.

    Args:
        to: the step, which fails the workflow where it fails.
        errors: exceptions that it is for; others fail.
    """

    to: StepCall
    errors: tuple[type[Exception], ...] = (Exception,)

    def __post_init__(self) -> None:
        if not callable(self.to):
            raise ConfigError(f"a fallback is called with the value, got {self.to!r}")


FailurePolicy: TypeAlias = Fail | Skip | Retry | Fallback

FAIL: Final = Fail()


async def called(call: StepCall, value: Any, policy: FailurePolicy, skipped: Any) -> Any:
    """Call a step as its policy says; ``skipped`` is what is given where it is passed over."""
    if isinstance(policy, Retry):
        for tried in range(policy.times):
            try:
                return await _result(call, value)
            except policy.errors:
                await asyncio.sleep(min(policy.wait * 2**tried, MAX_WAIT) * random.random())
        return await called(call, value, policy.then, skipped)
    try:
        return await _result(call, value)
    except Exception as error:
        if isinstance(policy, Fail) or not isinstance(error, policy.errors):
            raise
        if isinstance(policy, Skip):
            return skipped
        return await _result(policy.to, value)


async def _result(call: StepCall, value: Any) -> Any:
    found = call(value)
    if inspect.isawaitable(found):
        waiting: Awaitable[Any] = found
        return await waiting
    return found
