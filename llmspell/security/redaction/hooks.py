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
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"asctime", "taskName"}
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
            text = f"{_text(record.msg)} (its arguments don't fit)"
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
    Lists, tuples and mappings are redacted within, names too, to a depth of 8. Numbers and None
    stay; what else there is becomes its ``str``.
    """
    chosen = redactor or Redactor()
    return _redacted_mapping(attributes, chosen, _DEPTH)


def _redacted(value: Any, redactor: Redactor, name: str = "", depth: int = _DEPTH) -> Any:
    if isinstance(value, str):
        return _named(value, redactor, name)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Secret) or depth == 0:
        return "***"
    if isinstance(value, Mapping):
        return _redacted_mapping(value, redactor, depth - 1)
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [_redacted(inner, redactor, name, depth - 1) for inner in value]
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, (bytes, bytearray)):
        return _named(bytes(value).decode("utf-8", "replace"), redactor, name)
    return _named(_text(value), redactor, name)


def _redacted_mapping(value: Mapping[Any, Any], redactor: Redactor, depth: int) -> dict[Any, Any]:
    return {
        redactor.redact(key) if isinstance(key, str) else key: _redacted(
            inner, redactor, _text(key), depth
        )
        for key, inner in value.items()
    }


def _text(value: object) -> str:
    """Its ``str``; a program doesn't end because what it logs has none."""
    try:
        return str(value)
    except Exception:
        return f"({type(value).__name__} without a str)"


# What would end a value that stands in quotes, by what stands for it there.
_WITHIN_QUOTES = str.maketrans({'"': "'", "\\": "/", "\n": " ", "\r": " "})


def _named(value: str, redactor: Redactor, name: str) -> str:
    """The value redacted, as that of its name too."""
    if not name:
        return redactor.redact(value)
    head = f'{name}="'
    within = value.translate(_WITHIN_QUOTES)
    assignment = f'{head}{within}"'
    end = len(head) + len(value)
    if within == value or any(
        found.start <= len(head) and found.end >= end for found in redactor.find(assignment)
    ):
        whole = redactor.redact(assignment)
        if whole.startswith(head):
            return whole[len(head) : -1]
    return redactor.redact(value)


class RedactingSpanProcessor:
    """Redacts spans when they end: name, attributes, status, and what events and links hold.

    It has the methods of an OpenTelemetry ``SpanProcessor`` and imports nothing of it. Add it
    before the processor that exports: ``provider.add_span_processor(RedactingSpanProcessor())``.
    It replaces what the SDK keeps in private fields of a span that has ended. Safe to share between
    threads.
    """

    def __init__(self, redactor: Redactor | None = None):
        self._redactor = redactor or Redactor()

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        """Nothing: a span may be changed until it ends."""

    def _on_ending(self, span: Any) -> None:
        """Nothing; the SDK, as of 1.45, calls it of each processor by this name."""

    def on_end(self, span: Any) -> None:
        """Replace what of the span, its events and its links is text."""
        self._replace(span)
        for several in ("events", "links"):
            for one in _field(span, several) or ():
                self._replace(one)
        # The SDK puts the message of an exception there.
        status = _field(span, "status")
        description = _field(status, "description")
        if isinstance(description, str):
            _set_field(status, "description", self._redactor.redact(description))

    def shutdown(self) -> None:
        """Nothing is held."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is held, so all is flushed."""
        return True

    def _replace(self, holder: Any) -> None:
        name, attributes = _field(holder, "name"), _field(holder, "attributes")
        if isinstance(name, str):
            _set_field(holder, "name", self._redactor.redact(name))
        if attributes:
            _set_field(holder, "attributes", redact_attributes(attributes, self._redactor))


def _field(holder: Any, name: str) -> Any:
    """A field of a span or a part of it; the SDK's property of that name may be a copy."""
    return getattr(holder, f"_{name}", None) or getattr(holder, name, None)


def _set_field(holder: Any, name: str, value: Any) -> None:
    # A span that has ended refuses to be changed; the SDK keeps what it is in this field.
    setattr(holder, f"_{name}" if hasattr(holder, f"_{name}") else name, value)
