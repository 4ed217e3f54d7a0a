"""Calls of a tenant's handle are spans of OpenTelemetry, where the program uses it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SET_UP = """
import asyncio, contextlib, io, os, sys
import numpy as np
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import llmspell
from llmspell import Document, QuotaLimits, Tenant, TenantConfig, errors
from llmspell.observability import is_traced
from llmspell.rag.embedding import CallableEmbedder

spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
tracer = trace.get_tracer("test")

def lengths(texts, task):
    return np.array([[len(text), 1.0] for text in texts], np.float32)

def told():
    # Of each span: its name, that of the one above, and its status.
    found = {span.context.span_id: span for span in spans.get_finished_spans()}
    spans.clear()
    for span in found.values():
        if span.name.startswith("tenant "):
            assert span.attributes["llmspell.tenant.id"] == "acme"
            above = found[span.parent.span_id].name if span.parent else "-"
            yield f"{span.name} < {above}: {span.status.status_code.name}"

embedder = CallableEmbedder(lengths, model_id="lengths", dim=2)
config = TenantConfig(id="acme", quotas=QuotaLimits.unlimited())
query = np.array([3.0, 1.0], np.float32)
"""

IN_BOTH_FORMS = """
trace.set_tracer_provider(provider)

with llmspell.open(sys.argv[1], embedder=embedder) as db:
    acme = db.create_tenant(config)
    with tracer.start_as_current_span("sync"):
        acme.ingest([Document("leave", "Parental leave lasts 16 weeks.")])
        acme.search("how long?")
        acme.retrieve("leave", mode="hybrid")
        assert acme.search(query).ids
        with contextlib.suppress(errors.InputError):
            acme.search(query, 0)
        with contextlib.suppress(errors.IdNotFound):
            acme.get("nothing")
        with contextlib.suppress(KeyError), acme.operation():
            acme.search(query)
            raise KeyError
        # As if the room closed, and were written to again, between two steps of one search.
        door = acme._door
        acme._residence.evict()
        db.tenant("acme").upsert("new", query)
        acme._door = door
        assert acme.search(query, 1).ids == ["new"]

async def main():
    async with llmspell.open(sys.argv[1], embedder=embedder) as db:
        acme = await db.tenant("acme")
        with tracer.start_as_current_span("async"):
            await acme.retrieve("leave", mode="lexical")
            await acme.search(query)
            async with acme.operation():
                await acme.search(query)
            await acme.close()

asyncio.run(main())
print(*told(), sep="\\n")
"""

EVERY_CALL = """
def operation():
    with acme.operation():
        pass

with llmspell.open(sys.argv[1], embedder=embedder) as db:
    acme = db.create_tenant(config)
    document = Document("c", "Parental leave lasts 16 weeks.")
    file = io.BytesIO()
    calls = {
        "ingest": lambda: acme.ingest([document]),
        "upsert": lambda: acme.upsert("a", query),
        "insert": lambda: acme.insert("b", query),
        "dim": lambda: acme.dim,
        "update_metadata": lambda: acme.update_metadata("a", {}),
        "search": lambda: acme.search(query),
        "calibrate": acme.calibrate,
        "estimated_recall": acme.estimated_recall,
        "get": lambda: acme.get("a"),
        "scan": acme.scan,
        "count": acme.count,
        "document": lambda: acme.document("c"),
        "documents": acme.documents,
        "chunks": lambda: acme.chunks("c"),
        "retrieve": lambda: acme.retrieve("leave", mode="lexical"),
        "operation": operation,
        "state": lambda: acme.state.set("key", 1),
        "export": lambda: acme.export(file),
        "import_from": lambda: acme.import_from(io.BytesIO(file.getvalue()), on_conflict="skip"),
        "snapshot": lambda: acme.snapshot(io.BytesIO()),
        "scrub": acme.scrub,
        "delete": lambda: acme.delete("b"),
        "flush": acme.flush,
        "usage": acme.usage,
        "close": acme.close,
    }
    # The first do nothing but tell; the last makes one of the others.
    others = {"id", "config", "generation", "execute"}
    assert {name for name in dir(Tenant) if name[0] != "_"} == {*calls, *others}
    acme.search(query)
    assert not is_traced() and not [*told()]
    trace.set_tracer_provider(provider)
    for name, call in calls.items():
        call()
        assert [*told()] == [f"tenant {name} < -: UNSET"], name
"""


def run(program: str, *arguments: str, **environment: str) -> list[str]:
    pytest.importorskip("opentelemetry.sdk")
    done = subprocess.run(
        [sys.executable, "-c", SET_UP + program, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_calls_of_a_handle_are_spans_of_what_calls_them(tmp_path: Path) -> None:
    assert run(IN_BOTH_FORMS, str(tmp_path / "data")) == [
        "tenant ingest < sync: UNSET",
        "tenant search < sync: UNSET",
        "tenant retrieve < sync: UNSET",
        "tenant search < sync: UNSET",
        "tenant search < sync: ERROR",
        "tenant get < sync: ERROR",
        "tenant search < tenant operation: UNSET",
        "tenant operation < sync: ERROR",
        "tenant upsert < sync: UNSET",
        "tenant search < sync: UNSET",
        "tenant search < sync: UNSET",
        "tenant retrieve < async: UNSET",
        "tenant search < async: UNSET",
        "tenant search < tenant operation: UNSET",
        "tenant operation < async: UNSET",
        "tenant close < async: UNSET",
    ]


def test_every_call_that_does_work_is_a_span_once_a_tracer_provider_is_set(tmp_path: Path) -> None:
    run(EVERY_CALL, str(tmp_path / "data"))


def test_a_tracer_provider_may_be_named_in_the_environment() -> None:
    named = {"OTEL_PYTHON_TRACER_PROVIDER": "sdk_tracer_provider"}
    assert run("print(is_traced())", **named) == ["True"]
