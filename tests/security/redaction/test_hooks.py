"""Logs and traces without secrets."""

from __future__ import annotations

import io
import logging
import random
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

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


def test_a_stack_is_redacted_and_an_exception_leaves_no_second_way_to_its_text() -> None:
    try:
        raise ValueError(f"refused sk-{KEY}")
    except ValueError:
        record = logging.makeLogRecord(
            {"exc_info": sys.exc_info(), "stack_info": f"Stack:\n  use('sk-{KEY}')"}
        )
    RedactingFilter().filter(record)
    assert record.stack_info == "Stack:\n  use('sk-***')"
    # A formatter of one's own would make the text of the exception anew.
    assert record.exc_info is None and "refused sk-***" in (record.exc_text or "")


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


def test_name_status_and_links_of_a_span_are_cleaned() -> None:
    link = SimpleNamespace(_attributes={"api_key": KEY})
    event = SimpleNamespace(_name=f"called sk-{KEY}", _attributes={})
    span = SimpleNamespace(
        _name=f"GET https://h/?token={KEY}",
        _attributes={},
        _events=[event],
        _links=(link,),
        _status=SimpleNamespace(_description=f"ValueError: refused sk-{KEY}"),
    )
    RedactingSpanProcessor().on_end(span)
    assert span._name == "GET https://h/?token=***"
    assert span._status._description == "ValueError: refused sk-***"
    assert event._name == "called sk-***"
    assert link._attributes == {"api_key": "***"}


def test_what_the_sdk_of_opentelemetry_exports_is_clean() -> None:
    trace = pytest.importorskip("opentelemetry.sdk.trace", reason="needs opentelemetry-sdk")
    export = pytest.importorskip("opentelemetry.sdk.trace.export")
    spans: list[str] = []

    class Kept(export.SpanExporter):  # type: ignore[misc,name-defined]
        def export(self, batch: Any) -> Any:
            spans.extend(span.to_json() for span in batch)
            return export.SpanExportResult.SUCCESS

    provider = trace.TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(RedactingSpanProcessor())
    provider.add_span_processor(export.SimpleSpanProcessor(Kept()))
    tracer = provider.get_tracer("test")
    with (
        pytest.raises(ValueError, match="refused"),
        tracer.start_as_current_span(f"call sk-{KEY}", attributes={"api_key": KEY}) as span,
    ):
        span.add_event(f"event sk-{KEY}", {"note": f"sk-{KEY}"})
        raise ValueError(f"refused sk-{KEY}")
    assert len(spans) == 1 and "refused sk-***" in spans[0]
    assert KEY not in spans[0]


def test_a_processor_has_each_method_that_the_sdk_calls() -> None:
    processor, span = RedactingSpanProcessor(), SimpleNamespace(attributes={"api_key": KEY})
    processor.on_start(span, parent_context=None)
    processor._on_ending(span)
    processor.on_end(span)
    assert span.attributes == {"api_key": "***"}
    assert processor.force_flush(timeout_millis=1) is True


def test_a_named_password_is_masked_whatever_characters_it_has() -> None:
    for password in ('quo"te9X', "two\nlines9X", "back\\slash9X", "back\\"):
        assert redact_attributes({"password": password, "m": {"db_password": password}}) == {
            "password": "***",
            "m": {"db_password": "***"},
        }
    plain = {"note": 'two "quoted"\nlines', "path": "C:\\x"}
    assert redact_attributes(plain) == plain


def test_names_are_redacted_too() -> None:
    assert redact_attributes({f"sk-{KEY}": {f"sk-{KEY}": 1, 2: 3}}) == {
        "sk-***": {"sk-***": 1, 2: 3}
    }


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError(KEY)

    __repr__ = __str__


def test_what_has_no_text_ends_nothing(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, out = log
    logger.warning(Unspeakable(), extra={"detail": Unspeakable()})
    logger.warning("an argument %s", Unspeakable())
    assert out.getvalue() == (
        "(Unspeakable without a str) (its arguments don't fit) (Unspeakable without a str)\n"
        "an argument %s (its arguments don't fit) \n"
    )


def test_a_message_that_another_handler_has_formatted_is_redacted_too() -> None:
    record = logging.makeLogRecord({"msg": "sk-%s", "args": (KEY,)})
    logging.Formatter().format(record)
    assert KEY in record.message
    RedactingFilter().filter(record)
    assert KEY not in str(vars(record))


def test_the_hooks_import_no_tracing_library() -> None:
    program = "import sys, llmspell.security; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert not {"opentelemetry", "re2"} & set(loaded.split())
