"""Spans of OpenTelemetry around what is done, where the program uses it.

llmspell imports nothing of OpenTelemetry: a program that traces has imported its API, and has set a
tracer provider, which says where traces go. Otherwise a span costs a look-up in a dict or two.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeAlias

__all__ = [
    "NO_SPAN",
    "Attribute",
    "OpenSpan",
    "Span",
    "is_in_model_call",
    "is_traced",
    "model_call",
    "span",
]

_API: Final = "opentelemetry.trace"
_INSTRUMENT: Final = "llmspell"

#: Names a provider that the API sets when it is first asked for it.
_NAMES_PROVIDER: Final = "OTEL_PYTHON_TRACER_PROVIDER"
_IS_NAMED: Final = bool(os.environ.get(_NAMES_PROVIDER))

Attribute: TypeAlias = str | int | float | bool


class Span(Protocol):
    """What is in the ``with`` of :func:`span`."""

    def set(self, name: str, value: Attribute) -> None:
        """Give it an attribute; does nothing where nobody traces."""


class _NoSpan:
    """Where nobody traces."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        return

    def set(self, name: str, value: Attribute) -> None:
        return


NO_SPAN: Final = _NoSpan()
"""Does nothing."""


class _Traced:
    """A span of the program's tracer, which is current in the ``with``."""

    __slots__ = ("_current", "_span")

    def __init__(self, api: Any, name: str, attributes: dict[str, Attribute], kind: Any) -> None:
        tracer = api.get_tracer(_INSTRUMENT)
        self._current = tracer.start_as_current_span(name, kind=kind, attributes=attributes)

    def __enter__(self) -> Self:
        self._span = self._current.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if getattr(kind, "is_failure", True):
            self._current.__exit__(kind, error, trace)
        else:
            self._current.__exit__(None, None, None)

    def set(self, name: str, value: Attribute) -> None:
        self._span.set_attribute(name, value)


class _Apart:
    """A span that isn't current, so that a generator may hold it while others run."""

    __slots__ = ("_api", "_span")

    def __init__(self, api: Any, name: str, attributes: dict[str, Attribute], kind: Any) -> None:
        self._api = api
        tracer = api.get_tracer(_INSTRUMENT)
        self._span = tracer.start_span(name, kind=kind, attributes=attributes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception) and getattr(kind, "is_failure", True):
            self._span.record_exception(error)
            said = f"{type(error).__name__}: {error}"
            self._span.set_status(self._api.Status(self._api.StatusCode.ERROR, said))
        self._span.end()

    def set(self, name: str, value: Attribute) -> None:
        self._span.set_attribute(name, value)


OpenSpan: TypeAlias = _NoSpan | _Traced | _Apart
"""What a ``with`` takes."""


def _tracing() -> Any:
    """The API, where the program has set a tracer provider, if only just now; else None."""
    api: Any = sys.modules.get(_API)
    if api is None:
        return None
    # The API's own way to it looks into the environment first, which takes a microsecond.
    provider = getattr(api, "_TRACER_PROVIDER", api)
    if provider is None and not _IS_NAMED:
        return None
    if provider is None or provider is api:
        if not hasattr(api, "get_tracer_provider"):  # another thread is importing it now
            return None
        provider = api.get_tracer_provider()
    is_none = isinstance(provider, (api.ProxyTracerProvider, api.NoOpTracerProvider))
    return None if is_none else api


def is_traced() -> bool:
    """Whether the program traces; cheaper than a span, for calls in which that would be seen."""
    return _API in sys.modules and _tracing() is not None


def span(
    name: str,
    attributes: dict[str, Attribute] | None = None,
    *,
    is_current: bool = True,
    is_client: bool = False,
) -> OpenSpan:
    """A span for a ``with``; an exception that leaves it is recorded and marks it as failed.

    One whose class says ``is_failure = False`` just ends it.

    It is current for the code inside, of the same thread or task and of tasks made there, unless
    ``is_current`` is False: a generator that holds it over a ``yield`` must not change what is
    current for others.

    Args:
        name: low in variety, such as ``chat MODEL``.
        attributes: by the names of OpenTelemetry's semantic conventions where there is one.
        is_current: see above.
        is_client: whether it is a request to another service.
    """
    api = _tracing()
    if api is None:
        return NO_SPAN
    kind = api.SpanKind.CLIENT if is_client else api.SpanKind.INTERNAL
    return (_Traced if is_current else _Apart)(api, name, attributes or {}, kind)


_IN_MODEL_CALL: ContextVar[bool] = ContextVar("llmspell_in_model_call", default=False)


def is_in_model_call() -> bool:
    """Whether this runs inside of :func:`model_call`, whose span tells of the usage."""
    return _IN_MODEL_CALL.get()


@contextmanager
def model_call(provider: str, model: str) -> Iterator[Span]:
    """A span of a model's answer, by OpenTelemetry's conventions for generative models.

    What requests are made for it are spans within, which don't tell its usage a second time. Not
    for generators, for it is current.
    """
    token = _IN_MODEL_CALL.set(True)
    try:
        told_of_it: dict[str, Attribute] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": provider,
            "gen_ai.request.model": model,
        }
        with span(f"chat {model}", told_of_it) as told:
            yield told
    finally:
        _IN_MODEL_CALL.reset(token)
