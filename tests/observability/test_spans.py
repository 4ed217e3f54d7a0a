"""Calls of a tenant's handle are spans of OpenTelemetry, where the program uses it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
import asyncio, contextlib, sys
import numpy as np
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import llmspell
from llmspell import Document, TenantConfig, errors
from llmspell.rag.embedding import CallableEmbedder

spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("test")

def lengths(texts, task):
    return np.array([[len(text), 1.0] for text in texts], np.float32)

async def asked(tenant):
    with tracer.start_as_current_span("async"):
        await tenant.retrieve("leave", mode="lexical")

embedder = CallableEmbedder(lengths, model_id="lengths", dim=2)
with llmspell.open(sys.argv[1], embedder=embedder) as db:
    acme = db.create_tenant(TenantConfig(id="acme"))
    with tracer.start_as_current_span("sync"):
        acme.ingest([Document("leave", "Parental leave lasts 16 weeks.")])
        acme.search("how long?")
        acme.retrieve("leave", mode="hybrid")
        with contextlib.suppress(errors.IdNotFound):
            acme.get("nothing")

async def main():
    async with llmspell.open(sys.argv[1], embedder=embedder) as db:
        await asked(await db.tenant("acme"))

asyncio.run(main())
found = {span.context.span_id: span for span in spans.get_finished_spans()}
for span in found.values():
    if span.name.startswith("tenant ") and span.parent:
        assert span.attributes["llmspell.tenant.id"] == "acme"
        print(f"{span.name} < {found[span.parent.span_id].name}: {span.status.status_code.name}")
provider.shutdown()
"""


def test_calls_of_a_handle_are_spans_of_what_calls_them(tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.sdk")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "data")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "tenant ingest < sync: UNSET",
        "tenant search < sync: UNSET",
        "tenant retrieve < sync: UNSET",
        "tenant get < sync: ERROR",
        "tenant retrieve < async: UNSET",
    ]
