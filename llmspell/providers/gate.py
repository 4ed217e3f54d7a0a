"""How many calls of a model run side by side, and how many begin in a minute."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from llmspell.errors import ConfigError, ProviderBusy
from llmspell.providers.settings import check_seconds
from llmspell.quota import Places
from llmspell.remote import current_deadline

__all__ = ["CallLimits", "Gate"]

# A tenth of a minute's calls may begin at once.
_BURST_S: Final = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """What a model is asked at most, by all threads and event loops of a pool.

    Args:
        concurrency: calls side by side; None for as many as there are connections.
        requests_per_minute: calls that begin; None for any number. They are spread evenly, with a
            tenth of the minute's at once.
        tokens_per_minute: that they may take at most, so counted; None for any number.
        max_wait: seconds that a call waits for its turn.
    """

    concurrency: int | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    max_wait: float = 30.0

    def __post_init__(self) -> None:
        count = self.concurrency
        if count is not None and (
            not isinstance(count, int) or isinstance(count, bool) or count < 1
        ):
            raise ConfigError(f"concurrency must be an int of 1 or more, got {count!r}")
        for name in ("requests_per_minute", "tokens_per_minute"):
            value = getattr(self, name)
            if value is not None and (
                isinstance(value, bool)
                or not isinstance(value, (int, float))
                or not 0 < value < math.inf
            ):
                raise ConfigError(f"{name} must be a number above 0, got {value!r}")
        check_seconds("max_wait", self.max_wait)


class _Rate:
    """A generic cell rate: a call moves a time ahead, which may lead the clock by a burst.

    A call that is larger than the burst begins when those before it are paid for, and delays those
    that come next by all that it takes.
    """

    __slots__ = ("_at", "_burst", "_per_unit")

    def __init__(self, per_minute: float) -> None:
        self._per_unit = 60.0 / per_minute
        self._burst = _BURST_S
        self._at = -math.inf

    def wait(self, amount: float, now: float, ahead: float) -> float:
        """Seconds before so much may begin, behind so much that waits already."""
        own = min(amount * self._per_unit, self._burst)
        ready = max(self._at, now) + ahead * self._per_unit
        return max(0.0, ready + own - now - self._burst)

    def take(self, amount: float, now: float) -> None:
        """Let it begin."""
        self._at = max(self._at, now) + amount * self._per_unit


class Gate:
    """Lets calls begin, in their order. Thread-safe, for any number of event loops.

    Args:
        limits: of the model, or of all models of a provider.
        name: whose limits these are, for the error.
        clock: seconds that go on evenly.
    """

    def __init__(
        self, limits: CallLimits, name: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = limits
        self._name = name
        self._clock = clock
        # Reentrant: the collector may end a call of a loop that was closed while this is held.
        self._lock = threading.RLock()
        self._places = Places(limits.concurrency)
        self._requests = _rate(limits.requests_per_minute)
        self._tokens = _rate(limits.tokens_per_minute)
        # Of those who wait for the rates one looks at them, and the others wait for it: where one
        # is cancelled, all behind it move up.
        self._first = Places(1)
        self._waiting: dict[object, int] = {}  # the tokens of each of them

    @asynccontextmanager
    async def turn(self, tokens: int) -> AsyncIterator[None]:
        """Wait for the turn of a call, and hold it; raises ProviderBusy where that takes too long.

        Args:
            tokens: that the call may take at most.
        """
        deadline = current_deadline()
        most = self._limits.max_wait
        ends_at = self._clock() + (most if deadline is None else min(most, deadline.remaining))
        place = await self._places.atake(max(0.0, ends_at - self._clock()))
        if place is None:
            raise self._busy(f"{self._limits.concurrency} calls are under way")
        try:
            await self._pace(tokens, ends_at)
            yield
        finally:
            place.give_back()

    async def _pace(self, tokens: int, ends_at: float) -> None:
        """Wait until the rates let it begin; who comes later comes behind that."""
        mine = object()
        with self._lock:
            ahead = list(self._waiting.values())
            if not self._wait(tokens, ends_at, ahead) and not ahead:
                return
            self._waiting[mine] = tokens
        first = None
        try:
            first = await self._first.atake(max(0.0, ends_at - self._clock()))
            if first is None:
                raise self._busy("its rate is used up")
            while wait := self._wait(tokens, ends_at):
                await asyncio.sleep(wait)
        finally:
            self._waiting.pop(mine, None)
            if first is not None:
                first.give_back()

    def _wait(self, tokens: int, ends_at: float, ahead: Sequence[int] = ()) -> float:
        """Seconds before it may begin; it has begun where there are none, and nobody is ahead."""
        with self._lock:
            now = self._clock()
            wait = 0.0
            due: list[tuple[_Rate, int]] = []
            for rate, amount, before in (
                (self._requests, 1, len(ahead)),
                (self._tokens, tokens, sum(ahead)),
            ):
                if rate is not None:
                    due.append((rate, amount))
                    wait = max(wait, rate.wait(amount, now, before))
            if wait > 0 and now + wait > ends_at:
                raise self._busy("its rate is used up", wait)
            if wait <= 0 and not ahead:
                for rate, amount in due:
                    rate.take(amount, now)
            return wait

    def _busy(self, why: str, wait: float | None = None) -> ProviderBusy:
        return ProviderBusy(
            f"{self._name}: {why}, and there is no place for this one within max_wait, "
            f"{self._limits.max_wait:.3g} s, or its deadline; nothing was sent",
            retry_after=wait,
        )


def _rate(per_minute: float | None) -> _Rate | None:
    return None if per_minute is None else _Rate(per_minute)
