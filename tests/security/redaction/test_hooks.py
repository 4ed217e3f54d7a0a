"""Logs and traces without secrets."""

from __future__ import annotations

import io
import logging
import random
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from llmspell.security import RedactingFilter, RedactingSpanProcessor, Secret, redact_attributes
from tests.security.redaction.random_text import text_of

KEY = text_of("[a-zA-Z0-9]{48}", random.Random(11))


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logging.Formatter("%(message)s %(detail)s", defaults={"detail": ""}))
    handler.addFilter(RedactingFilter())
    logger = logging.getLogger("redaction-test")
    logger.addHandler(handler)
    logger.propagate = False
    yield logger, out
    logger.removeHandler(handler)


def test_a_secret_that_message_and_argument_make_together_is_hidden(
    log: tuple[logging.Logger, io.StringIO],
) -> None:
    logger, out = log
    logger.warning("password=%s user=%s", "opensesame9", "ada")
    logger.warning("the key is %(key)s", {"key": f"sk-{KEY}"})
    assert out.getvalue() == "password=*** user=ada \nthe key is sk-*** \n"


def test_exceptions_stacks_and_extra_fields_are_redacted(
    log: tuple[logging.Logger, io.StringIO],
) -> None:
    logger, out = log
    try:
        raise ValueError(f"refused sk-{KEY}")
    except ValueError:
        logger.exception("failed", extra={"detail": {"api_key": KEY, "n": [1, f"sk-{KEY}"]}})
    shown = out.getvalue()
    assert KEY not in shown and "ValueError: refused sk-***" in shown
    assert "{'api_key': '***', 'n': [1, 'sk-***']}" in shown


def test_arguments_that_do_not_fit_stay_hidden(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, out = log
    logger.warning("one %s two %s", KEY)
    assert out.getvalue() == "one %s two %s (its arguments don't fit) \n"


def test_attributes_are_redacted_by_name_and_by_value_to_any_depth() -> None:
    clean = redact_attributes(
        {
            "db.password": "opensesame9",
            "http.url": f"https://h/?token={KEY}", "n": 3, "none": None,
            "list": [f"sk-{KEY}", True], "map": {"a": ("b", f"sk-{KEY}")},
            "raw": f"sk-{KEY}".encode(),
            "secret": Secret(KEY), "http.method": "GET",
        }
    )  # fmt: skip
    assert clean == {
        "db.password": "***", "http.url": "https://h/?token=***", "n": 3, "none": None,
        "list": ["sk-***", True], "map": {"a": ("b", "sk-***")}, "raw": "sk-***", "secret": "***",
        "http.method": "GET",
    }  # fmt: skip


def test_a_span_processor_cleans_spans_and_events_when_they_end() -> None:
    event = SimpleNamespace(_attributes={"exception.message": f"sk-{KEY}"})
    event.attributes = event._attributes
    span = SimpleNamespace(attributes={"llm.note": f"sk-{KEY}"}, events=[event])
    processor = RedactingSpanProcessor()
    processor.on_start(span)
    processor.on_end(span)
    assert span.attributes == {"llm.note": "sk-***"}
    assert event._attributes == {"exception.message": "sk-***"}
    assert processor.force_flush() and processor.shutdown() is None


def test_the_hooks_import_no_tracing_library() -> None:
    program = "import sys, llmspell.security; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert not {"opentelemetry", "re2"} & set(loaded.split())
