"""Several models as one: retries, fallback, hedging."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Self

from llmspell.errors import ConfigError, ContextTooLong, ProviderError, ProviderRefused
from llmspell.providers.breaker import Breaker
from llmspell.providers.chat import (
    ChatModel,
    ChatRequest,
    ChatResponse,
    StreamEvent,
    require_request,
)
from llmspell.providers.gate import CallLimits, Gate
from llmspell.providers.hedge import hedged, hedged_stream
from llmspell.providers.member import Member, ModelStats
from llmspell.providers.price import Price
from llmspell.providers.retry import Retry
from llmspell.providers.settings import check_kind, check_seconds
from llmspell.remote.background import run_in_background

__all__ = ["ProviderPool"]


class ProviderPool:
    """A chat model that asks others, in their order, and is one itself. Thread-safe.

    Each call is charged by the model that is asked, also where several are for one answer. What a
    provider may have worked on isn't asked for again, of none of them, unless ``retry.sent``.

    Args:
        models: the first is asked; the others where those before them can't answer.
        retry: of each model.
        breaker: of each model.
        limits: of each model; or by ``provider``, of all its models together, those that aren't
            named having none.
        hedge_after: seconds without an answer after which the next model, or the only one, is
            asked too: the first answer counts, the other call is cancelled, and both may be billed.
            None doesn't.
        hedge_streams: whether streams are hedged, too, until the first event of one has come.
    """

    def __init__(
        self,
        models: Sequence[ChatModel],
        *,
        retry: Retry | None = None,
        breaker: Breaker | None = None,
        limits: CallLimits | Mapping[str, CallLimits] | None = None,
        hedge_after: float | None = None,
        hedge_streams: bool = False,
    ) -> None:
        if not isinstance(models, Iterable):
            raise ConfigError(f"models must be several, got {models!r:.80}; put one in a list")
        self._models = tuple(models)
        if not self._models:
            raise ConfigError("a pool needs a model")
        check_kind("retry", retry, Retry)
        check_kind("breaker", breaker, Breaker)
        for model in self._models:
            if not isinstance(model, ChatModel):
                raise ConfigError(f"models must be of ChatModel's protocol, got {model!r:.80}")
        if hedge_streams and hedge_after is None:
            raise ConfigError("hedge_streams needs hedge_after, the seconds that it waits")
        if hedge_after is not None:
            check_seconds("hedge_after", hedge_after)
        by_name: Mapping[str, CallLimits] = limits if isinstance(limits, Mapping) else {}
        given = by_name.values() if limits is by_name else [limits or CallLimits()]
        if not all(isinstance(one, CallLimits) for one in given):
            raise ConfigError(
                f"limits must be CallLimits, or these by provider, got {limits!r:.80}"
            )
        strangers = set(by_name) - {model.provider for model in self._models}
        if strangers:
            raise ConfigError(f"limits name providers that the pool hasn't: {sorted(strangers)}")
        default = limits if isinstance(limits, CallLimits) else CallLimits()
        gates = {name: Gate(shared, name) for name, shared in by_name.items()}
        self._members = [
            Member(
                model,
                retry=retry or Retry(),
                breaker=breaker or Breaker(),
                gate=gates.get(model.provider)
                or Gate(default, f"{model.provider}/{model.model_id}"),
            )
            for model in self._models
        ]
        self._repeats_sent = (retry or Retry()).sent
        self._hedge_after = hedge_after
        self._hedges_streams = hedge_streams

    def __repr__(self) -> str:
        return f"ProviderPool({[member.name for member in self._members]})"

    @property
    def provider(self) -> str:
        """That of the first model."""
        return self._models[0].provider

    @property
    def model_id(self) -> str:
        """That of the first model."""
        return self._models[0].model_id

    @property
    def price(self) -> Price | None:
        """That of the first model."""
        return self._models[0].price

    def stats(self) -> list[ModelStats]:
        """What was counted of each model, in their order."""
        return [member.stats() for member in self._members]

    def complete(self, request: ChatRequest) -> ChatResponse:
        """See :meth:`ChatModel.complete`."""
        return run_in_background(self.acomplete(request))

    async def acomplete(self, request: ChatRequest) -> ChatResponse:
        """See :meth:`ChatModel.acomplete`.

        Raises:
            ProviderError: of the last model that was asked, with a note on each before it.
        """
        require_request(request)
        failures: list[tuple[Member, ProviderError]] = []
        for place, member in enumerate(self._members):
            try:
                if self._hedge_after is None:
                    return await member.acomplete(request)
                others = self._members[place + 1 :] or [member]
                return await hedged(
                    member.acomplete(request),
                    partial(others[0].acomplete, request, is_hedge=True),
                    self._hedge_after,
                )
            except ProviderError as error:
                failures.append((member, error))
                if not self._falls_back(error):
                    break
        raise _last(failures)

    async def astream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """See :meth:`ChatModel.astream`; another model is asked until the first event came."""
        require_request(request)
        failures: list[tuple[Member, ProviderError]] = []
        for place, member in enumerate(self._members):
            has_begun = False
            try:
                async with aclosing(self._streamed(place, request)) as events:
                    async for event in events:
                        has_begun = True
                        yield event
                return
            except ProviderError as error:
                failures.append((member, error))
                if has_begun or not self._falls_back(error):
                    break
        raise _last(failures)

    async def aclose(self) -> None:
        """Close all models that can be closed."""
        for model in self._models:
            close = getattr(model, "aclose", None)
            if close is not None:
                await close()

    def close(self) -> None:
        """As :meth:`aclose`, where no event loop runs."""
        run_in_background(self.aclose())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _falls_back(self, error: ProviderError) -> bool:
        if isinstance(error, ProviderRefused) and not isinstance(error, ContextTooLong):
            return False  # the request is at fault
        return self._repeats_sent or not error.is_sent

    def _streamed(self, place: int, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        first = self._members[place]
        if self._hedge_after is None or not self._hedges_streams:
            return first.astream(request)
        others = self._members[place + 1 :] or [first]
        return hedged_stream(
            first.astream(request),
            partial(others[0].astream, request, is_hedge=True),
            self._hedge_after,
        )


def _last(failures: Sequence[tuple[Member, ProviderError]]) -> ProviderError:
    *before, (_, error) = failures
    for member, other in before:
        error.add_note(f"before it, {member.name}: {type(other).__name__}: {other}")
    return error
