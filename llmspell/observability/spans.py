"""Spans of OpenTelemetry around what is done, where the program uses it.

llmspell imports nothing of OpenTelemetry: a program that traces has imported its API to set up
where traces go, and is known by that. Otherwise a span costs a look-up in a dict.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeAlias

__all__ = ["Attribute", "OpenSpan", "Span", "span"]

_API: Final = "opentelemetry.trace"
_INSTRUMENT: Final = "llmspell"

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


_NO_SPAN: Final = _NoSpan()


class _Traced:
    """A span of the program's tracer, which is current in the ``with``."""

    __slots__ = ("_current", "_span")

    def __init__(self, api: Any, name: str, attributes: dict[str, Attribute]) -> None:
        tracer = api.get_tracer(_INSTRUMENT)
        self._current = tracer.start_as_current_span(name, attributes=attributes)

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


OpenSpan: TypeAlias = _NoSpan | _Traced
"""What a ``with`` takes."""


def span(name: str, attributes: dict[str, Attribute] | None = None) -> OpenSpan:
    """A span for a ``with``; an exception that leaves it is recorded and marks it as failed.

    One whose class says ``is_failure = False`` just ends it.

    It is current for the code inside, of the same thread or task and of tasks made there.

    Args:
        name: low in variety, such as ``chat MODEL``.
        attributes: by the names of OpenTelemetry's semantic conventions where there is one.
    """
    api = sys.modules.get(_API)
    return _NO_SPAN if api is None else _Traced(api, name, attributes or {})
