"""One model of a pool: its turns, its circuit, its retries, and what is counted of it."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from llmspell.errors import ProviderError
from llmspell.observability import MODELS, Model
from llmspell.providers.bill import most_usage
from llmspell.providers.breaker import Breaker, Circuit, CircuitState
from llmspell.providers.chat import ChatModel, ChatRequest, ChatResponse, StreamEvent
from llmspell.providers.gate import Gate
from llmspell.providers.retry import Retry
from llmspell.remote import current_deadline

__all__ = ["Member", "ModelStats"]


@dataclass(frozen=True, slots=True)
class ModelStats:
    """What a pool has counted of one model.

    Args:
        provider, model_id: of the model.
        calls: that were made, retries and hedges included.
        retries: of these, made again after a failure.
        hedges: of these, made since the first had no answer yet.
        failures: by the name of the error.
        tokens: that its answers took.
        cost: money of these; 0 where it has no price.
        running: calls under way.
        circuit: whether it is asked.
    """

    provider: str
    model_id: str
    calls: int
    retries: int
    hedges: int
    failures: dict[str, int]
    tokens: int
    cost: float
    running: int
    circuit: CircuitState


class Member:
    """One model of a pool. Thread-safe."""

    def __init__(self, model: ChatModel, *, retry: Retry, breaker: Breaker, gate: Gate) -> None:
        self.model = model
        self.name = f"{model.provider}/{model.model_id}"
        self._retry = retry
        self._circuit = Circuit(breaker, self.name)
        self._counted = Model("chat", model.provider, model.model_id)
        MODELS.watch(self._counted, self._circuit)
        self._gate = gate
        self._running = 0
        # Reentrant: the collector may end a call of a loop that was closed while this is held.
        self._lock = threading.RLock()
        self._counts: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._cost = 0.0

    def stats(self) -> ModelStats:
        """What was counted so far."""
        with self._lock:
            counts = self._counts
            return ModelStats(
                provider=self.model.provider,
                model_id=self.model.model_id,
                calls=counts["calls"],
                retries=counts["retries"],
                hedges=counts["hedges"],
                failures=dict(self._failures),
                tokens=counts["tokens"],
                cost=self._cost,
                running=self._running,
                circuit=self._circuit.state,
            )

    async def acomplete(self, request: ChatRequest, *, is_hedge: bool = False) -> ChatResponse:
        """Ask, and ask again where that is safe."""
        for number in range(self._retry.retries + 1):
            try:
                async with self._call(request, number, is_hedge=is_hedge):
                    response = await self.model.acomplete(request)
                self._answered(response)
                return response
            except ProviderError as error:
                await self._wait(error, number)
        raise AssertionError("the last retry raises")

    async def astream(
        self, request: ChatRequest, *, is_hedge: bool = False
    ) -> AsyncGenerator[StreamEvent, None]:
        """As :meth:`acomplete`, until the first event; what comes later isn't asked for again."""
        for number in range(self._retry.retries + 1):
            has_begun = False
            try:
                async with (
                    self._call(request, number, is_hedge=is_hedge),
                    aclosing(_opened(self.model, request)) as events,
                ):
                    async for event in events:
                        has_begun = True
                        if isinstance(event, ChatResponse):
                            self._answered(event)
                        yield event
                return
            except ProviderError as error:
                if has_begun:
                    raise
                await self._wait(error, number)

    @asynccontextmanager
    async def _call(
        self, request: ChatRequest, number: int, *, is_hedge: bool = False
    ) -> AsyncIterator[None]:
        async with self._gate.turn(most_usage(request).total):
            is_probe = self._circuit.enter()
            with self._lock:
                self._counts.update(calls=1, retries=int(number > 0), hedges=int(is_hedge))
                self._running += 1
            if number:
                MODELS.retried(self._counted)
            if is_hedge:
                MODELS.hedged(self._counted)
            try:
                yield
            except BaseException as error:
                self._circuit.leave(error, is_probe=is_probe)
                with self._lock:
                    self._failures[type(error).__name__] += 1
                raise
            finally:
                with self._lock:
                    self._running -= 1
            self._circuit.leave(None, is_probe=is_probe)

    async def _wait(self, error: ProviderError, number: int) -> None:
        """Wait before the next retry; raises the error where there is none."""
        wait = self._retry.wait(error, number)
        deadline = current_deadline()
        if wait is None or (deadline is not None and wait >= deadline.remaining):
            raise error
        await asyncio.sleep(wait)

    def _answered(self, response: ChatResponse) -> None:
        with self._lock:
            self._counts["tokens"] += response.usage.total
            self._cost += response.cost or 0.0


def _opened(model: ChatModel, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
    """The stream of a model, which may be any async iterator, as one that can be closed."""
    events: Any = model.astream(request)
    if hasattr(events, "aclose"):
        return events  # type: ignore[no-any-return]

    async def closable() -> AsyncGenerator[StreamEvent, None]:
        async for event in events:
            yield event

    return closable()
