"""Redaction of what goes to logs and traces."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from llmspell.security.redaction.redactor import Redactor
from llmspell.security.secrets.secret import Secret

__all__ = ["RedactingFilter", "RedactingSpanProcessor", "redact_attributes"]

_DEPTH = 8
# What logging itself puts into a record, and no caller's text.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_FORMATTER = logging.Formatter()


class RedactingFilter(logging.Filter):
    """A filter for handlers and loggers that redacts records and lets all through.

    The message is formatted with its arguments, so that a secret which only the two together show
    is found, and redacted; so are the text of an exception and of a stack, and the strings of extra
    fields, within lists and mappings too. Put it on the handlers: a logger's filters don't see what
    its children log. Safe to share between threads.
    """

    def __init__(self, redactor: Redactor | None = None):
        super().__init__()
        self._redactor = redactor or Redactor()

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact the record; always True."""
        redact = self._redactor.redact
        try:
            text = record.getMessage()
        except Exception:
            # The handler would report it with the arguments; they stay hidden with it.
            text = f"{record.msg} (its arguments don't fit)"
        record.msg, record.args = redact(text), ()
        if record.exc_info and not record.exc_text:
            record.exc_text = _FORMATTER.formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
            # Formatters write exc_text where it is; others would make the text anew.
            record.exc_info = None
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        for name, value in vars(record).items():
            if name not in _OWN:
                record.__dict__[name] = _redacted(value, self._redactor, name)
        return True


def redact_attributes(
    attributes: Mapping[str, Any], redactor: Redactor | None = None
) -> dict[str, Any]:
    """Attributes of a span, an event or a log record, with the secrets in their strings masked.

    A name counts as that of an assignment: ``{"db.password": "…"}`` is masked as ``password=…`` is.
    Lists, tuples and mappings are redacted within, to a depth of 8. Numbers and None stay.
    """
    chosen = redactor or Redactor()
    return {name: _redacted(value, chosen, name) for name, value in attributes.items()}


def _redacted(value: Any, redactor: Redactor, name: str = "", depth: int = _DEPTH) -> Any:
    if isinstance(value, str):
        return _named(value, redactor, name)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Secret) or depth == 0:
        return "***"
    if isinstance(value, Mapping):
        return {
            key: _redacted(inner, redactor, str(key), depth - 1) for key, inner in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [_redacted(inner, redactor, name, depth - 1) for inner in value]
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, (bytes, bytearray)):
        return _named(bytes(value).decode("utf-8", "replace"), redactor, name)
    return _named(str(value), redactor, name)


def _named(value: str, redactor: Redactor, name: str) -> str:
    """The value redacted, as that of its name too."""
    head = f'{name}="'
    if name and '"' not in value and "\n" not in value:
        whole = redactor.redact(f'{head}{value}"')
        if whole.startswith(head):
            return whole[len(head) : -1]
    return redactor.redact(value)


class RedactingSpanProcessor:
    """Redacts the attributes of spans, and of their events, when they end.

    It has the methods of an OpenTelemetry ``SpanProcessor`` and imports nothing of it. Add it
    before the processor that exports: ``provider.add_span_processor(RedactingSpanProcessor())``.
    It replaces the attributes, which the SDK freezes when a span has ended. Safe to share between
    threads.
    """

    def __init__(self, redactor: Redactor | None = None):
        self._redactor = redactor or Redactor()

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        """Nothing: attributes may be set until the span ends."""

    def on_end(self, span: Any) -> None:
        """Replace the attributes of the span and of its events."""
        self._replace(span)
        for event in getattr(span, "_events", None) or getattr(span, "events", None) or ():
            self._replace(event)

    def shutdown(self) -> None:
        """Nothing is held."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is held, so all is flushed."""
        return True

    def _replace(self, holder: Any) -> None:
        attributes = getattr(holder, "attributes", None)
        if not attributes:
            return
        clean = redact_attributes(attributes, self._redactor)
        # A span that has ended refuses set_attribute; the SDK keeps them in this field.
        name = "_attributes" if hasattr(holder, "_attributes") else "attributes"
        setattr(holder, name, clean)
