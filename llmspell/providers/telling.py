"""What is counted and traced of a request to a chat model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from llmspell.observability import (
    MODELS,
    Attribute,
    Model,
    Span,
    is_in_model_call,
    now_ns,
    span,
)
from llmspell.providers.chat import ChatRequest, ChatResponse

__all__ = ["Told", "telling"]


class Told:
    """One request, of which is told; takes its answer."""

    __slots__ = ("_model", "_span", "_tells_usage")

    def __init__(self, model: Model, span: Span, *, tells_usage: bool) -> None:
        self._model = model
        self._span = span
        self._tells_usage = tells_usage

    def answered(self, response: ChatResponse) -> None:
        """Tell what came."""
        usage = response.usage
        MODELS.used(
            self._model,
            input=usage.input_tokens,
            output=usage.output_tokens,
            cached=usage.cached_tokens,
            cost=response.cost or 0.0,
        )
        self._span.set("gen_ai.response.model", response.model)
        if self._tells_usage:
            self._span.set("gen_ai.usage.input_tokens", usage.input_tokens)
            self._span.set("gen_ai.usage.output_tokens", usage.output_tokens)


@contextmanager
def telling(
    provider: str, model_id: str, request: ChatRequest, *, is_stream: bool = False
) -> Iterator[Told]:
    """Count, time and trace what is inside as a request to a model.

    Args:
        provider, model_id: of the model.
        request: that it is asked.
        is_stream: whether it is a generator that holds this.
    """
    model = Model("chat", provider, model_id)
    is_part = is_in_model_call()
    attributes: dict[str, Attribute] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": provider,
        "gen_ai.request.model": model_id,
        "gen_ai.request.max_tokens": request.max_tokens,
    }
    name = f"{'request' if is_part else 'chat'} {model_id}"
    began, outcome = now_ns(), "ok"
    try:
        with span(name, attributes, is_current=not is_stream, is_client=True) as told:
            try:
                yield Told(model, told, tells_usage=not is_part)
            except BaseException as error:
                is_left = isinstance(error, (asyncio.CancelledError, GeneratorExit))
                outcome = "cancelled" if is_left else type(error).__name__
                told.set("error.type", outcome)
                raise
    finally:
        MODELS.called(model, outcome, now_ns() - began)
