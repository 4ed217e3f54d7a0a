"""Requests to models are counted, timed and traced."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import llmspell
from llmspell import errors
from llmspell.observability import MODELS, Model, ModelMetrics
from llmspell.providers import Breaker, OpenAIChat, Price, ProviderPool, Retry
from llmspell.testing import Fault, Reply, ScriptedChatServer
from tests.providers.models import ask

PROGRAM = """
import asyncio

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)

from llmspell.errors import ProviderError
from llmspell.observability import model_call
from llmspell.providers import ChatRequest, Message, OpenAIChat
from llmspell.testing import Fault, Reply, ScriptedChatServer

request = ChatRequest(messages=(Message.user("go"),))


async def main(model):
    await model.acomplete(request)
    async for _ in model.astream(request):
        assert not trace.get_current_span().get_span_context().is_valid
    try:
        await model.acomplete(request)
    except ProviderError:
        pass
    with model_call("p", "m"):
        await model.acomplete(request)
    await model.aclose()


reply = Reply("x", input_tokens=7, output_tokens=3)
with ScriptedChatServer([reply, reply, Fault("status", status=503), reply]) as server:
    asyncio.run(main(OpenAIChat("m", api_key="k", provider="p", base_url=server.openai_url)))
for span in spans.get_finished_spans():
    given = span.attributes
    print(
        span.name, span.kind.name, given["gen_ai.provider.name"], given.get("error.type"),
        given.get("gen_ai.usage.input_tokens"), span.status.status_code.name, bool(span.parent),
    )
"""


def test_each_request_is_a_span_that_tells_its_usage_once() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "chat m CLIENT p None 7 UNSET False",
        "chat m CLIENT p None 7 UNSET False",
        "chat m CLIENT p ProviderOverloaded None ERROR False",
        "request m CLIENT p None None UNSET True",
        "chat m INTERNAL p None None UNSET False",
    ], done.stderr


def test_the_metrics_of_a_database_tell_of_calls_tokens_retries_and_circuits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tests before may have used many models, beyond which the rest are summed up.
    monkeypatch.setattr(MODELS, "_max_models", 100_000)
    reply = Reply("x", input_tokens=30, output_tokens=12, cached_tokens=10)
    busy = Fault("status", status=503)
    with ScriptedChatServer([busy, reply, busy, busy]) as server:
        model = OpenAIChat(
            "m-1",
            api_key="k",
            provider="metered",
            base_url=server.openai_url,
            price=Price(input=1e6, output=0),
        )
        given = {"retry": Retry(retries=1, base=0.001), "breaker": Breaker(failures=2)}
        with ProviderPool([model], **given) as pool:  # type: ignore[arg-type]
            pool.complete(ask())
            with pytest.raises(errors.ProviderOverloaded):
                pool.complete(ask())
            with llmspell.open(tmp_path) as database:
                text = database.metrics()
    labels = 'model="m-1",operation="chat"'
    failed = f'{labels},outcome="ProviderOverloaded",provider="metered"'
    for line in (
        f'llmspell_model_calls_total{{{labels},outcome="ok",provider="metered"}} 1.0',
        f"llmspell_model_calls_total{{{failed}}} 3.0",
        f'llmspell_model_tokens_total{{{labels},provider="metered",type="input"}} 30.0',
        f'llmspell_model_tokens_total{{{labels},provider="metered",type="output"}} 12.0',
        f'llmspell_model_tokens_total{{{labels},provider="metered",type="cached"}} 10.0',
        f'llmspell_model_repeats_total{{{labels},provider="metered",reason="retry"}} 2.0',
        f'llmspell_model_cost_total{{{labels},provider="metered"}} 30.0',
        f'llmspell_model_duration_seconds_count{{{labels},provider="metered"}} 4.0',
        f'llmspell_model_circuits{{{labels},provider="metered",state="open"}} 1.0',
        f'llmspell_model_circuits{{{labels},provider="metered",state="closed"}} 0.0',
    ):
        assert line in text, text


def test_models_beyond_the_cap_are_summed_up() -> None:
    metrics = ModelMetrics(max_models=2)
    for name in ("a", "b", "c", "d", "a"):
        metrics.called(Model("chat", "p", name), "ok", 1_000)
    assert {model.model: count for (model, _), count in metrics.calls().items()} == {
        "a": 2,
        "b": 1,
        "_other": 2,
    }
