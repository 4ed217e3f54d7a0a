"""Notes that a model keeps between its runs, in its tenant's state."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

import llmspell
from llmspell import Database, QuotaLimits, Tenant, TenantConfig, errors
from llmspell.agents import Agent
from llmspell.security import SecurityLevel
from llmspell.tools import FaultKind, TenantTools, ToolRegistry
from llmspell.tools.builtin import memory_tools
from tests.agents.script import Script, call, say


def remembering(*notes: tuple[str, str]) -> Script:
    calls = [("remember", {"key": key, "text": text}) for key, text in notes]
    return Script(call(*calls), say("noted"))


def run(model: Script, tools: Any, tenant: Tenant) -> str:
    with Agent(model, tools, "", tenant) as agent:
        asyncio.run(agent.run("go"))
    return model.told(1)[-1]


def test_a_later_run_recalls_what_an_earlier_one_remembered(tmp_path: Path) -> None:
    config = TenantConfig(id="acme", quotas=QuotaLimits.unlimited())
    with llmspell.open(tmp_path / "data") as db:
        tea = ("Ann", "drinks TEA, not coffee")
        run(remembering(tea, ("Bob", "drinks coffee")), memory_tools("a"), db.create_tenant(config))
    with llmspell.open(tmp_path / "data") as db:  # by another process
        acme = db.tenant("acme")
        recall = Script(call(("recall", {"words": "coffee tea"})), say("Ann"))
        told = run(recall, memory_tools("a"), acme)
        assert json.loads(told) == [{"key": "Ann", "text": "drinks TEA, not coffee"}]
        run(Script(call(("forget", {"key": "Ann"})), say("gone")), memory_tools("a"), acme)
        assert acme.state.get(("agents", "memory", "a")) == {"Bob": "drinks coffee"}


def test_notes_are_of_one_tenant_and_one_namespace(db: Database, acme: Tenant) -> None:
    other = db.create_tenant(TenantConfig(id="other"))
    run(remembering(("x", "mine")), memory_tools("a"), acme)
    for tenant, namespace in ((acme, "b"), (other, "a")):
        recall = Script(call(("recall", {})), say("nothing"))
        assert run(recall, memory_tools(namespace), tenant) == "[]"


def test_notes_kept_side_by_side_are_all_kept(acme: Tenant) -> None:
    notes = [(f"key {n}", f"text {n}") for n in range(8)]
    run(remembering(*notes), memory_tools("a"), acme)
    assert acme.state.get(("agents", "memory", "a")) == dict(notes)


@pytest.fixture
def small(acme: Tenant) -> Any:
    with ToolRegistry(memory_tools("a", max_notes=2, max_bytes=20)) as registry:
        yield registry.bind(acme)


def refusal(tools: TenantTools, **given: str) -> str:
    fault = tools.call("remember", given).fault
    assert fault is not None
    assert fault.kind is FaultKind.INVALID_ARGUMENTS
    return fault.message


def test_no_more_is_remembered_than_may_be(small: TenantTools, acme: Tenant) -> None:
    assert small.call("remember", {"key": "a", "text": "é" * 4}).value == {
        "notes": 1,
        "bytes_left": 11,
    }
    assert "full" in refusal(small, key="b", text="x" * 11)
    assert small.call("remember", {"key": "b", "text": "x"}).is_ok
    assert "full" in refusal(small, key="c", text="")
    assert small.call("remember", {"key": "b", "text": "x" * 10}).value["bytes_left"] == 0
    assert small.call("forget", {"key": "a"}).value is True
    assert small.call("forget", {"key": "a"}).value is False
    assert small.call("remember", {"key": "c", "text": ""}).is_ok
    assert acme.state.get(("agents", "memory", "a")) == {"b": "x" * 10, "c": ""}
    assert "key" in refusal(small, key=" ", text="x")


def test_a_model_sees_neither_the_namespace_nor_the_bounds(small: TenantTools) -> None:
    seen = {spec.name: set(spec.parameters["properties"]) for spec in small.specs()}
    assert seen == {"remember": {"key", "text"}, "recall": {"words"}, "forget": {"key"}}
    assert {spec.level for spec in small.specs()} == {SecurityLevel.SAFE}
    assert small.call("recall", {"namespace": "b"}).fault is not None


@pytest.mark.parametrize(
    "given", [{"namespace": ""}, {"namespace": "a\0"}, {"max_notes": 0}, {"max_bytes": 1 << 30}]
)
def test_bounds_out_of_range_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(errors.ConfigError):
        memory_tools(**{"namespace": "a", **given})
