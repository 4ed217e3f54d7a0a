"""Every step is a span of OpenTelemetry, where the program uses it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
import asyncio, sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)

import llmspell
from llmspell import TenantConfig
from llmspell.agents import Agent, sequence
from llmspell.tools import ToolRegistry, tool
from tests.agents.script import Script, call, say

@tool(trusted=True)
def add(a: int, b: int) -> int:
    "Add two numbers."
    return a + b

@tool(trusted=True, needs_approval=True)
def remove(name: str) -> str:
    "Remove something."
    return "gone"

async def main(acme):
    helper = Agent(Script(call(("remove", {"name": "x"})), say("helped")), [remove], name="helper")
    first = call(("add", {"a": 1, "b": 2}), ("nothing", {}))
    second = call(("helper", {"task": "help"}))
    model = Script(first, second, say("3"))
    tools = [add, helper.as_tool(description="Helps.")]
    with Agent(model, tools, "", acme, name="adder", approve=lambda asked: True) as agent:
        await sequence(agent)("go")
    with Agent(Script(call(("remove", {"name": "x"}))), [remove], "", acme, name="waits") as agent:
        await agent.run("go")

with llmspell.open(sys.argv[1]) as db:
    acme = db.create_tenant(TenantConfig(id="acme"))
    asyncio.run(main(acme))
    with ToolRegistry([add, remove]) as registry:
        registry.bind(acme).call("add", {"a": 1, "b": 2}, call_id="c1")
        registry.bind(acme).call("remove", {"name": "x"})
found = {span.context.span_id: span for span in spans.get_finished_spans()}
for span in found.values():
    if span.name.startswith("tenant "):  # operations, and calls for the transcripts
        continue
    above = found[span.parent.span_id] if span.parent else None
    while above and above.name.startswith("tenant "):
        above = found[above.parent.span_id] if above.parent else None
    above = above.name if above else "-"
    assert span.status.is_ok or span.status.status_code.name == "UNSET", span.name
    print(span.name, "<", above, span.attributes.get("error.type", ""))
given = [s.attributes.get("llmspell.approval.given") for s in found.values() if "approve" in s.name]
assert sorted(given, key=str) == [False, None, True], given
added = [s.attributes for s in found.values() if s.name == "execute_tool add"]
ids = {one.get("gen_ai.tool.call.id") for one in added}
assert ids == {"id0", "c1"}, ids
chat = next(span for span in found.values() if span.name == "chat script")
assert chat.attributes["gen_ai.usage.input_tokens"] == 10
provider.shutdown()
"""


def test_the_steps_of_a_run_are_spans_of_the_run(tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.sdk")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "data")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert sorted(lines) == [
        "approve_tool remove < execute_tool remove",
        "approve_tool remove < execute_tool remove",
        "approve_tool remove < execute_tool remove",
        "chat script < invoke_agent adder",
        "chat script < invoke_agent adder",
        "chat script < invoke_agent adder",
        "chat script < invoke_agent helper",
        "chat script < invoke_agent helper",
        "chat script < invoke_agent waits",
        "execute_tool add < -",
        "execute_tool add < invoke_agent adder",
        "execute_tool helper < invoke_agent adder",
        "execute_tool nothing < invoke_agent adder unknown_tool",
        "execute_tool remove < - denied",
        "execute_tool remove < invoke_agent helper",
        "execute_tool remove < invoke_agent waits",
        "invoke_agent adder < workflow.step adder",
        "invoke_agent helper < execute_tool helper",
        "invoke_agent waits < -",
        "workflow.step adder < -",
    ]


def test_an_agent_is_made_and_nothing_is_imported_that_it_does_not_use() -> None:
    program = """
import sys
from llmspell.agents import Agent
class Model:
    def acomplete(self, request): ...
Agent(Model(), (), "x")
heavy = ("pydantic", "openai", "anthropic", "opentelemetry", "jsonschema", "llmspell.rag",
         "llmspell.agents.workflows", "llmspell.agents.run")
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
