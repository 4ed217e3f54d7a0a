"""Texts in which secrets, hidden characters and instructions are looked for.

The first byte says what looks; the rest is the text, surrogates included.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from llmspell.errors import InputError, TextRefused
from llmspell.security import (
    Redactor,
    TextRules,
    TextValidator,
    escape_html,
    find_injection,
    latin_skeleton,
    quote_identifier,
    quote_like,
    quote_literal,
    sanitize_html,
)

MASK = "***"
_REDACTOR = Redactor(mask=MASK)
_VALIDATORS = (
    TextValidator(),
    TextValidator(TextRules(normalization="NFKC", scripts="single", max_lines=20)),
    TextValidator(TextRules(normalization="NFC", scripts="unmistakable", allow={"bidi"})),
)


def run(data: bytes) -> None:
    """Read as what the first byte names."""
    if data:
        text = data[1:].decode("utf-8", "surrogateescape")
        READERS[data[0] % len(READERS)](text)


def _redaction(text: str) -> None:
    found = _REDACTOR.find(text)
    redacted = _REDACTOR.redact(text)
    expected, position = "", 0
    for one in found:
        assert position <= one.start < one.end <= len(text)
        expected += text[position : one.start] + MASK
        position = one.end
    assert redacted == expected + text[position:]
    for size in (1, 7, 64):
        stream = _REDACTOR.stream()
        parts = [stream.feed(text[at : at + size]) for at in range(0, len(text), size)]
        assert "".join(parts) + stream.finish() == redacted


def _validation(text: str) -> None:
    for validator in _VALIDATORS:
        for one in validator.inspect(text):
            assert 0 <= one.start <= one.end <= len(text) and one.kind
        with contextlib.suppress(TextRefused):
            assert validator.validate(text) is text
        with contextlib.suppress(TextRefused):
            clean = validator.sanitize(text).text
            assert validator.inspect(clean) == []


def _injection(text: str) -> None:
    with contextlib.suppress(TextRefused):
        report = find_injection(text)
        assert 0 <= report.score <= 1 and (report.score > 0) == bool(report.findings)
        for one in report.findings:
            assert 0 <= one.start < one.end <= len(text) and 0 <= one.weight <= 1


def _contexts(text: str) -> None:
    assert not set("<>\"'") & set(escape_html(text))
    with contextlib.suppress(TextRefused, InputError):
        clean = sanitize_html(text)
        assert sanitize_html(clean) == clean
    with contextlib.suppress(TextRefused, InputError):
        latin_skeleton(text)
    for dialect in ("sqlite", "postgres", "mysql"):
        for quote in (quote_identifier, quote_literal):
            with contextlib.suppress(TextRefused, InputError):
                assert quote(text, dialect=dialect)  # type: ignore[arg-type]
    with contextlib.suppress(TextRefused, InputError):
        quote_like(text)


READERS: tuple[Callable[[str], None], ...] = (_redaction, _validation, _injection, _contexts)
